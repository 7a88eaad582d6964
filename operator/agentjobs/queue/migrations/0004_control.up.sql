-- What people ask for. Each looks where the job is now; if it moved between two looks, it looks again.
-- The first four return the session that lost its holder; session_next() is the caller's, once, last.

-- cancel: a waiting job ends at once, a running one is asked (H15).
create function cancel_job(p_id bigint, p_message text, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid; v_mirrored boolean;
begin
  for i in 1..5 loop
    delete from waiting where id = p_id returning * into w;
    if found then
      insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
      values (p_id, 'k', 'Cancelled', p_message, w.queue, w.attempt, w.run, w.started_at, clock_timestamp(), w.spent);
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and (w.started_at is not null or w.state in ('r', 'q')) then key := w.session; end if;
      answer := 'Cancelled'; return;
    end if;
    update running set control = 'k' where id = p_id returning worker, mirrored into v_worker, v_mirrored;
    if found then
      perform pg_notify('agentjobs_control', v_worker::text);
      answer := 'Running'; return;
    end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- how long the pause that is on has held up a due job
create function paused_for(p_queue text, p_since timestamptz, p_run_at timestamptz) returns interval language sql stable as $$
  select greatest(interval '0', clock_timestamp() - greatest(coalesce((select paused_at from queue where name = p_queue), 'infinity'), p_since, p_run_at)) $$;

-- suspend: the due time survives; a starting deadline stands still, an active one starts over (H19, H20).
create function suspend_job(p_id bigint, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid;
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state in ('s', 'h') then answer := 'Suspended'; return; end if;
      update waiting set state = 's', since = clock_timestamp(), reason = 'Suspended',
             deadline_left = case when started_at is null then deadline - greatest(clock_timestamp(), run_at) + paused_for(queue, since, run_at) end,
             deadline = null
        where id = p_id;
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and w.started_at is null and w.state in ('r', 'q') then key := w.session; end if;
      answer := 'Suspended'; return;
    end if;
    update running set control = coalesce(control, 's') where id = p_id returning worker into v_worker;
    if found then perform pg_notify('agentjobs_control', v_worker::text); answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- resume: also accepts a job that was held. A job that never started takes its place in line now.
create function resume_job(p_id bigint, out answer text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; j job; v_now timestamptz := clock_timestamp(); v_state "char";
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state not in ('s', 'h') then answer := 'Queued'; return; end if;
      select * into j from job where id = p_id;
      v_state := case when w.run_at > v_now then 'l'::"char"
                      when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end;
      update waiting set state = v_state, since = v_now, deadline_left = null,
             pos = case when started_at is null then pos(priority(pos), nextval('position')) else pos end,
             reason = case when v_state <> 'l' then '' when started_at is null then 'Scheduled' else 'Backoff' end,
             message = case when v_state = 'l' and started_at is not null then message end,
             deadline = case when started_at is null then greatest(v_now, run_at) + deadline_left
                             else v_now + make_interval(secs => j.active_deadline) end
        where id = p_id;
      update job set resumed_at = v_now where id = p_id and w.state = 's';
      if w.mirrored then perform touch(array[p_id]); end if;
      if v_state = 'n' then perform pg_notify('agentjobs_admit', '');
      elsif v_state = 'l' then perform pg_notify('agentjobs_due', extract(epoch from w.run_at)::text);
      else perform notify_ready(array[w.queue]); end if;
      answer := case when v_state = 'l' then 'Scheduled' else 'Queued' end; return;
    end if;
    update running set control = null where id = p_id and control = 's';
    if found or exists (select from running where id = p_id) then answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- reprioritise: job, waiting and running rows together; the place in line is kept (H22). False: the job has ended.
create function reprioritise_job(p_id bigint, p_priority smallint) returns boolean language plpgsql as $$ #variable_conflict use_column
declare v_queue text;
begin
  update job set priority = p_priority where id = p_id;
  for i in 1..5 loop
    update waiting set pos = pos(p_priority, place(pos)) where id = p_id returning queue into v_queue;
    if found then perform notify_ready(array[v_queue]); return true; end if;
    update running set pos = pos(p_priority, place(pos)) where id = p_id;
    if found then return true; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return false; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- max attempts: a waiting job that has used them up has no further attempt (H22). Of a running job the ack judges by it:
-- the run is locked until this commits, and ack() looks at the job after it has locked the run.
create function set_max_attempts_job(p_id bigint, p_n int, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting;
begin
  update job set max_attempts = p_n where id = p_id;
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.started_at is null or w.attempt < p_n then return; end if;
      delete from waiting where id = p_id;
      insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
      values (p_id, 'f', 'AttemptsExhausted', 'maxAttempts was set to ' || p_n || ' after attempt ' || w.attempt || coalesce('; the last reason: ' || nullif(w.reason, ''), '')
                || coalesce(': ' || w.message, ''), w.queue, w.attempt, w.run, w.started_at, clock_timestamp(), w.spent);
      if w.mirrored then perform touch(array[p_id]); end if;
      key := w.session; return;
    end if;
    perform 1 from running where id = p_id for update;
    if found or exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- retry: a finished job starts its next round (H21); null: refused, with why in p_refused.
create function retry_job(p_id bigint, out refused text) language plpgsql as $$ #variable_conflict use_column
declare o outcome; j job; v_now timestamptz := clock_timestamp();
begin
  select * into j from job where id = p_id;
  if not found then refused := 'the job is not known'; return; end if;
  if j.cancel_wanted then refused := 'spec.cancel is true; create a new object instead'; return; end if;
  if j.object_gone then refused := 'its object is deleted'; return; end if;
  if j.payload is null then refused := 'its payload is past retention; create a new object instead'; return; end if;
  delete from outcome where id = p_id and state in ('f', 'k') returning * into o;
  if not found then
    refused := case when exists (select from outcome where id = p_id and state = 'c') then 'it is Complete; create a new object instead'
                    when exists (select from outcome where id = p_id) then 'it was never accepted' else 'it has not finished' end;
    return;
  end if;
  if o.worker is not null then
    insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message, charged, usage, event_count, log_tail)
    values (p_id, o.run, o.attempt, j.round, o.worker, o.worker_name, o.token, o.run_started_at, o.finished_at, 'fail', o.reason, o.message, true, o.usage, o.event_count, o.log_tail)
    on conflict (id, run) do nothing;
  end if;
  update job set round = round + 1, round_at = v_now, due_at = v_now, resumed_at = null where id = p_id;
  insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, run, deadline, reason)
  values (p_id, j.queue, pos(j.priority, nextval('position')), case when j.session is null then 'r'::"char" else 'n' end,
          j.cluster_id is not null, j.session, j.bytes, v_now, v_now, o.run, v_now + make_interval(secs => j.starting_deadline), '');
  if j.cluster_id is not null then perform touch(array[p_id]); end if;
  if j.session is null then perform notify_ready(array[j.queue]); else perform pg_notify('agentjobs_admit', ''); end if;
end $$;

-- control: one request by uid. p_what: cancel, suspend, resume, retry, priority, maxAttempts.
create function control(p_uid uuid, p_what text, p_value int default null, out answer text) language plpgsql as $$ #variable_conflict use_column
declare v_id bigint; v_key text;
begin
  -- its job row first, as apply and prune take it
  select id into v_id from job where uid = p_uid for update;
  if not found then return; end if;
  case p_what
    when 'cancel' then select c.answer, c.key into answer, v_key from cancel_job(v_id, 'cancelled on request') c;
    when 'suspend' then select c.answer, c.key into answer, v_key from suspend_job(v_id) c;
    when 'resume' then answer := resume_job(v_id);
    when 'retry' then answer := coalesce('refused: ' || retry_job(v_id), 'Queued');
    when 'priority' then answer := case when reprioritise_job(v_id, p_value::smallint) then 'ok' end;
    when 'maxAttempts' then v_key := set_max_attempts_job(v_id, p_value); answer := 'ok';
  end case;
  if p_what in ('priority', 'maxAttempts') then perform touch(array[v_id]) from job where id = v_id and cluster_id is not null; end if;
  if v_key is not null then perform session_next(array[v_key]); end if;
end $$;

-- apply: what intake saw of objects (H4). New ones are enqueued, known ones changed, in one statement;
-- only what is newer than the row counts. Answer: [[uid, outcome, detail]].
create function apply(p_changes json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_new uuid[]; v_keys text[]; v_key text; c record; v_state "char"; v_touched boolean; v_refused text; v_answers jsonb := '[]';
begin
  v_new := enqueue(p_changes);
  for c in
    select j.id, j.uid, j.generation as known, j.priority as old_priority, j.max_attempts as old_max, j.retry_handled as handled,
           j.object_gone, j.cluster_id, j.tombstone, w.state as waiting_state, n.*
    from json_to_recordset(p_changes) as n(uid uuid, generation bigint, priority smallint, max_attempts int, suspend boolean,
                                           cancel_wanted boolean, gone boolean, hold text, message text, retry_handled text, "end" "char")
    join job j on j.uid = n.uid left join waiting w on w.id = j.id
    where n.uid <> all (coalesce(v_new, '{}'))
      and (n.generation > j.generation or (n.gone and not j.object_gone)
           or (n.retry_handled is not null and n.retry_handled is distinct from j.retry_handled)
           or (w.state = 'h' and n.hold is null))
    order by j.id
  loop
    v_key := null; v_refused := null;
    if c.gone then
      update job set object_gone = true, generation = greatest(generation, c.generation) where id = c.id;
      select x.key into v_key from cancel_job(c.id, 'the object was deleted') x;
      delete from outbox where id = c.id;
    elsif c.priority is not null then         -- a job came along; "end" is only for those that are new here
      -- its own lock first: of two operators that saw different generations the newer one stays, and changes what the older one set
      select priority, max_attempts into c.old_priority, c.old_max from job where id = c.id for update;
      if c.generation > c.known then
        update job set generation = c.generation, cancel_wanted = cancel_wanted or coalesce(c.cancel_wanted, false)
          where id = c.id and generation < c.generation;
        if found then
          if c.max_attempts <> c.old_max then
            v_key := set_max_attempts_job(c.id, c.max_attempts);
            if v_key is not null then v_keys := v_keys || v_key; v_key := null; end if;
          end if;
          if c.priority <> c.old_priority then perform reprioritise_job(c.id, c.priority); end if;
          if c.cancel_wanted then select x.key into v_key from cancel_job(c.id, 'spec.cancel was set') x;
          elsif c.suspend then
            update waiting set state = 's', reason = 'Suspended', message = null, since = clock_timestamp() where id = c.id and state = 'h' and c.hold is null;
            select x.key into v_key from suspend_job(c.id) x;
          elsif c.hold is null then perform resume_job(c.id); end if;
        end if;
      elsif c.waiting_state = 'h' and c.hold is null then
        if c.suspend then update waiting set state = 's', reason = 'Suspended', message = null, since = clock_timestamp() where id = c.id and state = 'h';
        else perform resume_job(c.id); end if;
      end if;
      if c.retry_handled is not null and c.retry_handled is distinct from c.handled then
        update job set retry_handled = c.retry_handled where id = c.id and retry_handled is distinct from c.retry_handled;
        if found then
          v_refused := retry_job(c.id);
          if v_refused is null and c.suspend then perform suspend_job(c.id); end if;     -- the new round begins as the object says
        end if;
      end if;
      perform touch(array[c.id]) where c.cluster_id is not null and c.tombstone is null;     -- observedGeneration moves on
    elsif c.generation > c.known then                -- rejected: nothing to change but what was observed
      update job set generation = c.generation where id = c.id;
      perform touch(array[c.id]) where c.tombstone is null;
    end if;
    if v_key is not null then v_keys := v_keys || v_key; end if;
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(c.uid, case when v_refused is null then 'changed' else 'retry_refused' end, v_refused));
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return (select json_agg(x) from (select jsonb_build_array(u, 'inserted', null) x from unnest(v_new) u
                                   union all select jsonb_array_elements(v_answers)) y);
end $$;

-- set_queue: pause or unpause, and limit. Unpausing gives back the starting time that the pause took (H20).
create function set_queue(p_name text, p_pause boolean, p_by text, p_reason text, p_set_limit boolean, p_max_running int) returns void
  language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_since timestamptz;
begin
  if p_pause = false then
    select paused_at into v_since from queue where name = p_name;
    if v_since is not null then
      update waiting set deadline = deadline + (v_now - greatest(v_since, since, run_at))
        where queue = p_name and deadline is not null and started_at is null and run_at <= v_now;
    end if;
  end if;
  if p_set_limit then
    -- claims in flight end first, and count; later ones see the limit
    lock table running in share row exclusive mode;
    update running set limited = p_max_running is not null where queue = p_name;
  end if;
  insert into queue as q (name, paused_at, paused_by, paused_reason, max_running)
  values (p_name, case when p_pause then v_now end, case when p_pause then p_by end, case when p_pause then p_reason end,
          case when p_set_limit then p_max_running end)
  on conflict (name) do update set
    paused_at = case when p_pause is null then q.paused_at when p_pause then coalesce(q.paused_at, v_now) end,
    paused_by = case when p_pause is null then q.paused_by when p_pause then p_by end,
    paused_reason = case when p_pause is null then q.paused_reason when p_pause then p_reason end,
    max_running = case when p_set_limit then p_max_running else q.max_running end;
  perform notify_ready(array[p_name]);
  perform pg_notify('agentjobs_admit', '');
end $$;

create function paused_message(p_name text, p_by text, p_reason text) returns text language sql immutable as $$
  select 'queue ' || p_name || ' is paused' || coalesce(' by ' || nullif(p_by, ''), '') || coalesce(': ' || nullif(p_reason, ''), '') $$;

-- yield_paused: a job that never started holds nothing while its queue is paused (H17).
create function yield_paused(p_queue text) returns int language plpgsql as $$ #variable_conflict use_column
declare v_keys text[]; n int; v_mirrored bigint[]; v_message text;
begin
  select paused_message(name, paused_by, paused_reason) into v_message from queue where name = p_queue and paused_at is not null;
  if not found then return 0; end if;
  with mine as materialized (
      select id, state, session, mirrored from waiting where queue = p_queue and session is not null and started_at is null and state in ('r', 'q', 'b')
      order by id for update skip locked),
    u as (update waiting w set state = 'n', reason = 'QueuePaused', message = v_message from mine where w.id = mine.id)
  select count(*), array_agg(session) filter (where state <> 'b'), array_agg(id) filter (where mirrored) into n, v_keys, v_mirrored from mine;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_keys is not null then perform session_next(v_keys); end if;
  return n;
end $$;
