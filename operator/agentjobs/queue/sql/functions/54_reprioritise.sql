-- reprioritise_job: another priority, in job and in waiting or running; the place in line is kept (H22). False: it has ended.
-- Where a claim, an ack or a rescue moves the job between the two looks, both are repeated.
-- Indexes: primary keys. Lock order: the waiting or running row; the caller has the job's row.
create or replace function reprioritise_job(p_id bigint,
                                            p_priority smallint) returns boolean language plpgsql as $$ #variable_conflict use_column
declare v_queue text;
begin
  update job set priority = p_priority where id = p_id;
  for i in 1..5 loop
    update waiting set pos = pos(p_priority, place(pos)) where id = p_id returning queue into v_queue;
    if found then perform notify_ready(array[v_queue]); return true; end if;
    update running set pos = pos(p_priority, place(pos)) where id = p_id;
    if found then return true; end if;
    if exists (select from outcome where id = p_id)
       or not exists (select from job where id = p_id and tombstone is null) then return false; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- set_max_attempts_job: a waiting job that has used up the new number fails now. A running one is judged by its ack (H22):
-- the run is locked until this commits, and ack() looks at the job after it has locked the run.
-- key: the session that lost its holder. Indexes and lock order: as above.
create or replace function set_max_attempts_job(p_id bigint, p_n int, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; a attempt; v_now timestamptz := clock_timestamp();
begin
  update job set max_attempts = p_n where id = p_id;
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.started_at is null or w.attempt < p_n then return; end if;
      delete from waiting where id = p_id;
      select * into a from attempt where id = p_id and charged order by run desc limit 1;
      insert into outcome (id, facet, state, reason, message, exhausted, queue, attempt, run, started_at, finished_at, spent)
      values (p_id, w.facet, 'f', coalesce(nullif(a.reason, ''), 'AttemptsExhausted'),
              coalesce(a.message || '; ', '') || 'maxAttempts was set to ' || p_n || ' after attempt ' || w.attempt, true,
              w.queue, w.attempt, w.run, w.started_at, v_now, w.spent);
      perform count_ended(array[p_id]);
      update job set resumed_at = v_now where id = p_id and (w.state = 's' or w.reason = 'Restored');
      if w.mirrored then perform touch(array[p_id]); end if;
      key := w.session; return;
    end if;
    perform 1 from running where id = p_id for update;
    if found or exists (select from outcome where id = p_id)
       or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;
