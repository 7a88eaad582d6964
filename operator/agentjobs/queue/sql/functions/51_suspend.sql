-- paused_for: how long the pause that is on now has held up a job, of which nothing counts before p_from.
create or replace function paused_for(p_queue text, p_from timestamptz) returns interval language sql stable as $$
  select greatest(interval '0', (select clock_timestamp() - greatest(paused_at, p_from) from queue
                                 where name = p_queue and paused_at is not null)) $$;

-- shift_clocks: the clocks that end these waiting jobs (deadlines, and maxWaitSeconds) have stood still since p_paused_at, or since
-- they began to count. Suspended jobs have none that runs. Index: the primary key. Lock order: waiting rows by id.
create or replace function shift_clocks(p_ids bigint[], p_paused_at timestamptz) returns void language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_mirrored bigint[];
begin
  with mine as materialized (select id, v_now - greatest(p_paused_at, counts_from) as paused from waiting
                             where id = any (p_ids) and state not in ('s', 'h') order by id for update),
    shifted as (update waiting w set wait_since = wait_since + paused, held_until = held_until + paused,
                       asked_until = asked_until + paused,
                       deadline = deadline + case when started_at is not null then paused            -- before the first start: from due
                                                  else greatest(interval '0', least(paused, v_now - run_at)) end
                from mine where w.id = mine.id returning w.id, w.mirrored and w.asked_until is not null as shown)
  select array_agg(id) filter (where shown) into v_mirrored from shifted;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;

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
             wait_since = wait_since + paused_for(queue, counts_from),
             deadline_left = case when started_at is null
                                  then deadline - greatest(clock_timestamp(), run_at)
                                       + paused_for(queue, greatest(counts_from, run_at)) end,
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
