-- The stages of tick(). Each takes only rows that nobody has locked, and returns the sessions that lost
-- their holder; tick() lets the next jobs go once, last (one lock order).

-- promote: due jobs become ready; one of a shared session that never started is admitted first, and takes
-- its place in line now (H17). Index: waiting_later.
create function promote(p_limit int) returns int language plpgsql as $$ #variable_conflict use_column
declare n int; v_ready text[]; v_new boolean; v_mirrored bigint[];
begin
  with due as materialized (                            -- the new places in line in the order of becoming due
      select id, nextval('position') as line from (select id from waiting where state = 'l' and run_at <= clock_timestamp()
                                                   order by run_at, place(pos) limit p_limit for update skip locked) d),
    moved as (update waiting w set since = clock_timestamp(), reason = '', message = null,
                state = case when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end,
                pos = case when w.started_at is null then pos(priority(w.pos), due.line) else w.pos end
              from due where w.id = due.id returning w.id, w.queue, w.mirrored, w.state)
  select count(*), array_agg(distinct queue) filter (where state <> 'n'), bool_or(state = 'n'), array_agg(id) filter (where mirrored)
    into n, v_ready, v_new, v_mirrored from moved;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  return n;
end $$;

-- expire: waiting jobs past their deadline fail, running ones are asked to stop (H20).
-- Indexes: waiting_deadline, running_deadline.
create function expire(p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_mirrored bigint[]; v_workers uuid[]; m int;
begin
  with late as materialized (
      select w.id from waiting w where w.deadline < clock_timestamp()
        and (w.started_at is not null or not exists (select from queue q where q.name = w.queue and q.paused_at is not null))
      order by w.id limit p_limit for update of w skip locked),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f', case when started_at is null then 'StartingDeadlineExceeded' else 'DeadlineExceeded' end,
                     case when started_at is null then 'not started by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (startingDeadlineSeconds)'
                          else 'not finished by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (activeDeadlineSeconds)'
                               || case when reason <> '' then '; it waited: ' || reason || coalesce(': ' || message, '') else '' end end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select count(*), array_agg(session) filter (where session is not null and (started_at is not null or state in ('r', 'q'))),
         array_agg(id) filter (where mirrored) into n, keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (select id from running where deadline < clock_timestamp() and control is distinct from 'k' and control is distinct from 'd'
                             order by id limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;

-- rescue: jobs of workers that have expired go back (H14). Only a caller that has itself beaten without a
-- gap for the expiry may judge others (H11); so an outage of the database rescues nobody.
-- The losses decide: 1 ready at once, 2 after a random part of the backoff, 3 and 4 in quarantine, 5 failed.
create function rescue(p_caller uuid, p_expiry interval, p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_dead uuid[]; v_names json; v_mirrored bigint[]; v_ready text[]; v_due timestamptz; v_now timestamptz := clock_timestamp();
begin
  n := 0;
  if not exists (select from worker where id = p_caller and beat_at > v_now - p_expiry and steady_since <= v_now - p_expiry) then return; end if;
  with dead as (select id from worker where beat_at < v_now - p_expiry for update skip locked),
    gone as (delete from worker w using dead where w.id = dead.id returning w.id, w.name)
  select json_object_agg(id, name) into v_names from gone;
  -- ids first, in a statement of their own: a recheck must not see a job that was claimed anew since
  select array_agg(distinct r.worker) into v_dead from running r where not exists (select from worker w where w.id = r.worker);
  if v_dead is null then return; end if;
  with lost as materialized (select id from running where worker = any (v_dead) order by id limit p_limit for update skip locked),
    run as (delete from running r using lost where r.id = lost.id returning r.*),
    judged as materialized (
      select run.*, job.round, job.retry, (coalesce(run.losses, 0) + 1)::smallint as lost,
             coalesce(v_names->>run.worker::text, run.worker::text) as worker_name,
             case when control = 'k' then 'cancelled' when control = 'd' then 'deadline'
                  when coalesce(run.losses, 0) + 1 >= 5 then 'lost' when control = 's' then 'suspend' else 'again' end as verdict,
             case when coalesce(run.losses, 0) + 1 = 2
                  then v_now + random() * make_interval(secs => least(coalesce(job.retry[3], 3600), coalesce(job.retry[1], 15) * coalesce(job.retry[2], 2)))
                  else v_now end as next_at
      from run join job on job.id = run.id),
    logged as (insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message, charged, next_at, usage, event_count)
               select id, run, attempt, round, worker, worker_name, token, since, v_now, 'lost', 'WorkerLost',
                      'worker ' || worker_name || ' sent no heartbeat' || coalesce('; the run was last at ' || step, ''), false,
                      case when verdict = 'again' and next_at > v_now then next_at end, usage, event_count from judged),     -- H28
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, worker, worker_name, token, started_at, run_started_at, finished_at, spent, usage, event_count)
              select id, case when verdict = 'cancelled' then 'k'::"char" else 'f' end,
                     case verdict when 'cancelled' then 'Cancelled' when 'deadline' then 'DeadlineExceeded' else 'WorkerLost' end,
                     case verdict when 'lost' then 'its worker was lost ' || lost || ' times while it ran, the last: ' || worker_name || '; it may be what kills them'
                                  else 'its worker ' || worker_name || ' was lost while it was asked to stop' end,
                     queue, attempt - 1, run, worker, worker_name, token, started_at, since, v_now, spent, usage, event_count
              from judged where verdict not in ('again', 'suspend')),
    back as (insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline, reason, message, snoozes, wait_since, drains, losses, spent)
             select id, queue, pos, case when verdict = 'suspend' then 's'::"char" when next_at > v_now then 'l' else ready_state(lost) end, mirrored, session, bytes,
                    next_at, v_now, attempt - 1, run, started_at, case when verdict <> 'suspend' then deadline end,
                    case when verdict = 'suspend' then 'Suspended' when lost >= 3 then 'Quarantined' else 'WorkerLost' end,
                    'worker ' || worker_name || ' was lost while it ran', snoozes, wait_since, drains, lost, plus(spent, usage)
             from judged where verdict in ('again', 'suspend') order by id returning queue, state, run_at)
  select count(*), array_agg(session) filter (where session is not null and verdict not in ('again', 'suspend')), array_agg(id) filter (where mirrored),
         (select array_agg(distinct queue) from back where state in ('r', 'q')), (select min(run_at) from back where state = 'l')
    into n, keys, v_mirrored, v_ready, v_due from judged;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
end $$;

-- prune: retention, oldest first. A job without an object goes whole; one with an object leaves its row (uid,
-- final state) until the object is known to be gone, so that it can never run again (H1).
create function prune(p_age interval, p_limit int) returns int language plpgsql as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  -- job rows first, as control and apply take them; then what a retry has left of the outcomes
  select array_agg(id) into v_ids
  from (select j.id from outcome o join job j on j.id = o.id where o.finished_at < clock_timestamp() - p_age
        order by o.finished_at limit p_limit for update of j skip locked) j;
  if v_ids is null then return 0; end if;
  select array_agg(id) into v_ids
  from (select id from outcome where id = any (v_ids) and finished_at < clock_timestamp() - p_age for update) o;
  if v_ids is null then return 0; end if;
  delete from attempt where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  update job set payload = null, bytes = 0, tombstone = o.state from outcome o where o.id = job.id and job.id = any (v_ids);
  delete from outcome where id = any (v_ids);
  delete from job where id = any (v_ids) and (cluster_id is null or object_gone);
  return cardinality(v_ids);
end $$;

-- tick: everything that time does, in one round trip, one process at a time (H26); by workers and operators.
create function tick(p_caller uuid, p_expiry interval, p_retention interval, p_limit int default 1000,
                     out held_elsewhere boolean, out promoted int, out expired int, out rescued int, out pruned int,
                     out admit boolean, out paused text[], out next_due double precision) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_keys text[]; v_more text[];
begin
  held_elsewhere := not pg_try_advisory_xact_lock(hashtext('agentjobs tick'));
  if not held_elsewhere then
    promoted := promote(p_limit);
    select e.n, e.keys into expired, v_keys from expire(p_limit) e;
    select r.n, r.keys into rescued, v_more from rescue(p_caller, p_expiry, p_limit) r;
    v_keys := v_keys || v_more;
    if cardinality(v_keys) > 0 then perform session_next(v_keys); end if;
    update upkeep set pruned_at = clock_timestamp() where pruned_at < clock_timestamp() - interval '1 minute';
    if found then
      pruned := prune(p_retention, p_limit);
      if pruned = p_limit then update upkeep set pruned_at = '-infinity'; end if;      -- there is more: with the next tick
    end if;
  end if;
  admit := exists (select from waiting w where w.state = 'n'
                     and not exists (select from queue q where q.name = w.queue and q.paused_at is not null));
  if exists (select from queue where paused_at is not null) then
    select array_agg(name) into paused from queue q where paused_at is not null
      and exists (select from waiting w where w.queue = q.name and w.session is not null and w.started_at is null and w.state in ('r', 'q', 'b'));
  end if;
  select extract(epoch from min(run_at) - clock_timestamp()) into next_due from waiting where state = 'l';
end $$;
