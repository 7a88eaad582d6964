-- cancel_job: a waiting job ends at once; a running one is asked to stop, before all else that it may be asked (H15).
-- answer: the state that people see next; null: the job has finished, or is not known. key: the session that lost its holder;
-- session_next() is the caller's, once, as its last step.
-- It looks where the job is now. If the job moved between two looks it looks again, five times at most.
-- Indexes: primary keys. Lock order: one waiting or running row; the caller has the job's row.
create or replace function cancel_job(p_id bigint, p_message text, out answer text,
                                      out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid; v_mirrored boolean; v_now timestamptz := clock_timestamp();
begin
  for i in 1..5 loop
    delete from waiting where id = p_id returning * into w;
    if found then
      insert into outcome (id, facet, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
      values (p_id, w.facet, 'k', 'Cancelled', p_message, w.queue, w.attempt, w.run, w.started_at, v_now, w.spent);
      perform count_ended(array[p_id]);
      update job set resumed_at = v_now where id = p_id and (w.state = 's' or w.reason = 'Restored');
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and (w.started_at is not null or w.state in ('r', 'q', 'm')) then key := w.session; end if;
      answer := 'Cancelled'; return;
    end if;
    update running set control = 'k' where id = p_id returning worker, mirrored into v_worker, v_mirrored;
    if found then
      perform pg_notify('agentjobs_control', v_worker::text);
      answer := 'Running'; return;
    end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then
      return;
    end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;
