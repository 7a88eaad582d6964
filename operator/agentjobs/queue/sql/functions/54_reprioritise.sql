-- reprioritise_job: another priority, in job and in waiting or running; the place in line is kept (H22). False: it has ended.
-- Indexes: primary keys. Lock order: the waiting or running row; the caller has the job's row.
create or replace function reprioritise_job(p_id bigint,
                                            p_priority smallint) returns boolean language plpgsql as $$ #variable_conflict use_column
declare v_queue text; v_mirrored boolean; v_known boolean;
begin
  update waiting set pos = pos(p_priority, place(pos)) where id = p_id returning queue, mirrored into v_queue, v_mirrored;
  v_known := found;
  if not v_known then
    update running set pos = pos(p_priority, place(pos)) where id = p_id returning mirrored into v_mirrored;
    v_known := found;
  end if;
  update job set priority = p_priority where id = p_id;
  if v_queue is not null then perform notify_ready(array[v_queue]); end if;
  return v_known;
end $$;

-- set_max_attempts_job: an ack judges a running job by the new number; a waiting one that has used it up fails now (H22).
-- key: the session that lost its holder. Indexes and lock order: as above.
create or replace function set_max_attempts_job(p_id bigint, p_n int, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting;
begin
  update job set max_attempts = p_n where id = p_id;
  delete from waiting where id = p_id and started_at is not null and attempt >= p_n returning * into w;
  if found then
    insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
    values (p_id, 'f', 'AttemptsExhausted',
            'maxAttempts was set to ' || p_n || ' after attempt ' || w.attempt
              || coalesce('; the last reason: ' || nullif(w.reason, ''), '') || coalesce(': ' || w.message, ''),
            w.queue, w.attempt, w.run, w.started_at, clock_timestamp(), w.spent);
    if w.mirrored then perform touch(array[p_id]); end if;
    key := w.session;
  end if;
end $$;
