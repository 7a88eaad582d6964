-- tick: everything that is due, in one round trip, by workers and operators; one process at a time, by an advisory lock (H26).
-- Retention is not: it has a transaction and a lock of its own (retention()), so that it can hold up nobody's work.
-- A stage that fails, for whatever one row made of it, is undone alone and told in failed: the other stages do their work.
-- held_elsewhere: another process ticks now. admit: some job waits to be admitted: call admit(). paused: queues whose jobs should
-- yield: call yield_paused() for each. next_due: seconds until the next job is due.
-- Indexes: those of the stages; waiting_later, waiting_yields. Lock order: breakers by model are passed by where locked; job, waiting
-- and running rows, those that nobody has locked; sessions by key, once, last.
create or replace function tick(p_caller uuid, p_expiry interval, p_limit int default 1000,
                     out held_elsewhere boolean, out promoted int, out expired int, out rescued int,
                     out admit boolean, out paused text[], out next_due double precision, out failed text[]) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_keys text[]; v_more text[];
begin
  held_elsewhere := not pg_try_advisory_xact_lock(hashtext('agentjobs tick'));
  if not held_elsewhere then
    begin
      promoted := promote(p_limit);
    exception
      when deadlock_detected or serialization_failure then raise;
      when others then failed := failed || ('promote: ' || sqlerrm);
    end;
    begin
      select e.n, e.keys into expired, v_more from expire(p_limit) e;
      v_keys := v_keys || v_more;
    exception
      when deadlock_detected or serialization_failure then raise;
      when others then failed := failed || ('expire: ' || sqlerrm);
    end;
    begin
      select r.n, r.keys into rescued, v_more from rescue(p_caller, p_expiry, p_limit) r;
      v_keys := v_keys || v_more;
    exception
      when deadlock_detected or serialization_failure then raise;
      when others then failed := failed || ('rescue: ' || sqlerrm);
    end;
    if exists (select from model_breaker) or exists (select from waiting where state = 'm') then
      begin
        v_keys := v_keys || tend_models(p_limit);
      exception
      when deadlock_detected or serialization_failure then raise;
      when others then failed := failed || ('tend_models: ' || sqlerrm);
      end;
    end if;
    if cardinality(v_keys) > 0 then perform session_next(v_keys); end if;
  end if;
  admit := admittable();
  if exists (select from queue where paused_at is not null) then
    select array_agg(name) into paused from queue q where paused_at is not null
      and exists (select from waiting w
                  where w.queue = q.name and w.session is not null and w.started_at is null and w.state in ('r', 'q', 'm', 'b'));
  end if;
  select extract(epoch from min(run_at) - clock_timestamp()) into next_due from waiting where state = 'l';
end $$;
