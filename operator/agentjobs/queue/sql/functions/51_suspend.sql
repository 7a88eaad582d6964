-- suspend_job: a waiting job stands still, a running one is asked to stop. The due time survives; a starting deadline
-- and the longest wait stand still, an active one starts over with resume (H19, H20). A job that never started gives up its session.
-- answer, key, looking again, indexes and lock order: as cancel_job().
create or replace function suspend_job(p_id bigint, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid;
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state in ('s', 'h') then answer := 'Suspended'; return; end if;
      update waiting set state = 's', since = clock_timestamp(), reason = 'Suspended', message = case when state <> 'm' then message end,
             wait_since = wait_since + paused_between(queue, greatest(counts_from, wait_since), clock_timestamp()),
             deadline_left = case when started_at is null
                                  then deadline - greatest(clock_timestamp(), run_at)
                                       + paused_between(queue, greatest(counts_from, run_at), clock_timestamp()) end,
             deadline = null
        where id = p_id;
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and w.started_at is null and w.state in ('r', 'q', 'm') then key := w.session; end if;
      answer := 'Suspended'; return;
    end if;
    update running set control = coalesce(control, 's') where id = p_id returning worker into v_worker;
    if found then perform pg_notify('agentjobs_control', v_worker::text); answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then
      return;
    end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;
