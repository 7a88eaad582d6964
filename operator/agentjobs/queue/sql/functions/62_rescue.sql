-- rescue: jobs of workers that have expired go back (H14). Only a caller that has itself beaten without a gap for the expiry may
-- judge others (H11), so an outage of the database rescues nobody. A beat in the future is from before the clock was set back: who
-- lives has beaten since.
-- The losses of a job decide: after the 1st it is ready at once, after the 2nd it waits a random part of its backoff, after the
-- 3rd and 4th it is in quarantine, the 5th fails it. What was asked of a run comes before that (H15).
-- The dead workers are found in a statement of their own: a recheck within one statement must not see a job that was claimed
-- anew meanwhile. A run that somebody has locked waits for the next tick; lost_worker has the name of its worker until then.
-- Indexes: primary keys. Lock order: worker rows, running rows by id; both only those that nobody has locked.
create or replace function rescue(p_caller uuid, p_expiry interval, p_limit int, out n int,
                                  out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_dead uuid[]; v_ended bigint[]; v_mirrored bigint[]; v_ready text[]; v_due timestamptz; v_now timestamptz := clock_timestamp();
begin
  n := 0;
  if not exists (select from worker where id = p_caller and beat_at > v_now - p_expiry and beat_at <= v_now
                   and steady_since <= v_now - p_expiry) then
    return;
  end if;
  with dead as (select id from worker where beat_at < v_now - p_expiry or beat_at > v_now + p_expiry for update skip locked),
    gone as (delete from worker w using dead where w.id = dead.id returning w.id, w.name),
    seats as (delete from lookout l using gone where l.worker = gone.id)
  insert into lost_worker (id, name) select id, name from gone on conflict do nothing;
  -- ids first, in a statement of their own: a recheck must not see a job that was claimed anew since
  select array_agg(distinct r.worker) into v_dead from running r where not exists (select from worker w where w.id = r.worker);
  if v_dead is null then
    delete from lost_worker l where not exists (select from running r where r.worker = l.id);
    return;
  end if;
  with lost as materialized (select id from running where worker = any (v_dead) order by id limit p_limit for update skip locked),
    run as (delete from running r using lost where r.id = lost.id returning r.*),
    judged as materialized (
      select run.*, job.round, job.retry, (coalesce(run.losses, 0) + 1)::smallint as lost,
             coalesce((select name from lost_worker l where l.id = run.worker), run.worker::text) as worker_name,
             case when control = 'k' then 'cancelled' when control = 'd' then 'deadline'
                  when coalesce(run.losses, 0) + 1 >= 5 then 'lost' when control = 's' then 'suspend' else 'again' end as verdict,
             case when coalesce(run.losses, 0) + 1 = 2
                  then v_now + random() * make_interval(secs => least(coalesce(job.retry[3], 3600),
                                                                      coalesce(job.retry[1], 15)::float8 * coalesce(job.retry[2], 2)))
                  else v_now end as next_at
      from run join job on job.id = run.id),
    logged as (insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message,
                                    charged, next_at, usage, event_count)
               select id, run, attempt, round, worker, worker_name, token, since, v_now, 'lost', 'WorkerLost',
                      'worker ' || worker_name || ' sent no heartbeat' || coalesce('; the run was last at ' || nullif(step, ''), ''), false,
                      case when verdict = 'again' and next_at > v_now then next_at end, usage, event_count from judged),     -- H28
    ended as (insert into outcome (id, facet, state, reason, message, queue, attempt, run, worker, worker_name, token, started_at,
                                   run_started_at, finished_at, spent, usage, event_count)
              select id, facet, case when verdict = 'cancelled' then 'k'::"char" else 'f' end,
                     case verdict when 'cancelled' then 'Cancelled' when 'deadline' then 'DeadlineExceeded' else 'WorkerLost' end,
                     case verdict
                       when 'lost' then 'its worker was lost ' || lost || ' times while it ran, the last: ' || worker_name
                                        || '; it may be what kills them'
                       else 'its worker ' || worker_name || ' was lost while it was asked to stop' end,
                     queue, attempt - 1, run, worker, worker_name, token, started_at, since, v_now, spent, usage, event_count
              from judged where verdict not in ('again', 'suspend')),
    back as (insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline,
                                  reason, message, snoozes, wait_since, drains, losses, spent)
             select id, facet, queue, pos,
                    case when verdict = 'suspend' then 's'::"char" when next_at > v_now then 'l' else ready_state(lost) end,
                    mirrored, session, bytes, next_at, v_now, attempt - 1, run, started_at,
                    case when verdict <> 'suspend' then deadline end,
                    case when verdict = 'suspend' then 'Suspended' when lost >= 3 then 'Quarantined' else 'WorkerLost' end,
                    'worker ' || worker_name || ' was lost while it ran', snoozes, wait_since + (v_now - since), drains, lost,
                    plus(spent, usage)
             from judged where verdict in ('again', 'suspend') order by id returning queue, state, run_at)
  select count(*), array_agg(session) filter (where session is not null and verdict not in ('again', 'suspend')),
         array_agg(id) filter (where mirrored),
         (select array_agg(queue) from back where state in ('r', 'q')), (select min(run_at) from back where state = 'l'),
         array_agg(id) filter (where verdict not in ('again', 'suspend'))
    into n, keys, v_mirrored, v_ready, v_due, v_ended from judged;
  if v_ended is not null then perform count_ended(v_ended); end if;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
  delete from lost_worker l where not exists (select from running r where r.worker = l.id);
end $$;
