-- resume_job: a suspended job goes on, and with p_held one that was held. One that never started takes its place in line now; one
-- that was asked a question is asked again, with the whole time to answer. A running job that was asked to suspend runs on.
-- answer, looking again, indexes and lock order: as cancel_job().
create or replace function resume_job(p_id bigint, p_held boolean, out answer text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; j job; v_now timestamptz := clock_timestamp(); v_state "char";
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state = 'h' and not p_held then answer := 'Suspended'; return; end if;
      if w.state not in ('s', 'h') then answer := case w.state when 'i' then 'InputRequired' else 'Queued' end; return; end if;
      select * into j from job where id = p_id;
      v_state := case when w.asked is not null then 'i'::"char" when w.run_at > v_now then 'l'
                      when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end;
      update waiting set state = v_state, since = v_now, counts_from = v_now, deadline_left = null,
             wait_since = wait_since + (v_now - since),
             pos = case when started_at is null then pos(priority(pos), nextval('position')) else pos end,
             reason = case when v_state = 'i' then 'InputRequired' when v_state <> 'l' then ''
                           when started_at is null then 'Scheduled' else 'Backoff' end,
             message = case when v_state in ('l', 'i') and started_at is not null then message end,
             asked_until = v_now + make_interval(secs => (asked->>'seconds')::int),
             deadline = case when started_at is null then greatest(v_now, run_at) + deadline_left
                             else v_now + make_interval(secs => j.active_deadline) end
        where id = p_id;
      update job set resumed_at = v_now where id = p_id and (w.state = 's' or w.reason = 'Restored');
      if w.mirrored then perform touch(array[p_id]); end if;
      if v_state = 'n' then perform pg_notify('agentjobs_admit', '');
      elsif v_state = 'i' then null;                    -- it goes on with the answer
      elsif v_state = 'l' then perform pg_notify('agentjobs_due', extract(epoch from w.run_at)::text);
      else perform notify_ready(array[w.queue]); end if;
      answer := case v_state when 'l' then 'Scheduled' when 'i' then 'InputRequired' else 'Queued' end; return;
    end if;
    update running set control = null where id = p_id and control = 's';
    if found or exists (select from running where id = p_id) then answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then
      return;
    end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;
