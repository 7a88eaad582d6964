-- retry_job: a finished job starts its next round (H21), due after p_delay. refused: why not; null: it waits again.
-- The outcome moves to attempt. Indexes: primary keys. Lock order: the outcome row; the caller has the job's row.
create or replace function retry_job(p_id bigint, p_delay interval default '0', out refused text) language plpgsql
  as $$ #variable_conflict use_column
declare o outcome; j job; v_now timestamptz := clock_timestamp(); v_due timestamptz := v_now + p_delay; v_state "char";
begin
  select * into j from job where id = p_id;
  if not found then refused := 'the job is not known'; return; end if;
  if j.cancel_wanted then refused := 'spec.cancel is true; submit another job instead'; return; end if;
  if j.object_gone then refused := 'its object is deleted'; return; end if;
  if j.payload is null then refused := 'its payload is past retention; submit another job instead'; return; end if;
  if j.erased then refused := 'its payload was erased'; return; end if;
  delete from outcome where id = p_id and state in ('f', 'k') returning * into o;
  if not found then
    refused := case when exists (select from outcome where id = p_id and state = 'c') then 'it is Complete; submit another job instead'
                    when exists (select from outcome where id = p_id) then 'it was never accepted' else 'it has not finished' end;
    return;
  end if;
  if o.worker is not null then
    insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message, charged, usage,
                         event_count, log_tail, log_skipped, trace_id)
    values (p_id, o.run, o.attempt, j.round, o.worker, o.worker_name, o.token, o.run_started_at, o.finished_at, 'fail', o.reason,
            o.message, true, o.usage, o.event_count, o.log_tail, o.log_skipped, o.trace_id)
    on conflict (id, run) do nothing;
  end if;
  update job set round = round + 1, round_at = v_now, due_at = v_due, resumed_at = null where id = p_id;
  v_state := case when v_due > v_now then 'l'::"char" when j.session is null then 'r' else 'n' end;
  insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, run, deadline, reason)
  values (p_id, j.facet, j.queue, pos(j.priority, nextval('position')), v_state, j.cluster_id is not null, j.session, j.bytes, v_due,
          v_now, o.run, v_due + make_interval(secs => j.starting_deadline), case when v_state = 'l' then 'Scheduled' else '' end);
  if j.cluster_id is not null then perform touch(array[p_id]); end if;
  if v_state = 'l' then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text);
  elsif v_state = 'r' then perform notify_ready(array[j.queue]); else perform pg_notify('agentjobs_admit', ''); end if;
end $$;

-- undelete_job: the object of a job that was cancelled only because its object was deleted is there again (etcd was restored). One
-- that never started waits again as it did; one that did begins its next round; a run that is not stopped yet runs on.
-- Indexes: primary keys. Lock order: the outcome or running row; the caller has the job's row.
create or replace function undelete_job(p_id bigint) returns void language plpgsql as $$ #variable_conflict use_column
declare j job; v_now timestamptz := clock_timestamp(); v_state "char";
begin
  update running set control = null where id = p_id and control = 'k';
  if exists (select from outcome o join job j using (id) where o.id = p_id and o.state = 'k' and o.message = 'the object was deleted'
               and (o.started_at is not null or j.round > 1)) then
    perform retry_job(p_id);
    return;
  end if;
  select * into j from job where id = p_id and payload is not null and not erased;
  if not found then return; end if;
  delete from outcome where id = p_id and state = 'k' and message = 'the object was deleted';
  if not found then return; end if;
  v_state := case when j.due_at > v_now then 'l'::"char" when j.session is not null then 'n' else 'r' end;
  insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, deadline, reason)
  values (p_id, j.facet, j.queue, pos(j.priority, nextval('position')), v_state, j.cluster_id is not null, j.session, j.bytes, j.due_at,
          v_now, greatest(j.due_at, v_now) + make_interval(secs => j.starting_deadline),
          case when v_state = 'l' then 'Scheduled' else '' end);
  if v_state = 'n' then perform pg_notify('agentjobs_admit', '');
  elsif v_state = 'l' then perform pg_notify('agentjobs_due', extract(epoch from j.due_at)::text);
  else perform notify_ready(array[j.queue]); end if;
end $$;
