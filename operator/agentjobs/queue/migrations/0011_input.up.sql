-- Human approval: a tool's question parks the job in a waiting state of its own, i, until a person answers. It holds its
-- session and no slot, no attempt is charged, its active deadline runs on (H17, H20).
--
-- waiting.asked: {requests: [{id, tool, arguments, hint, payload, answer}], seconds}: what one model answer asked, in
-- order; the first request without an answer is the present one. It stays while the job is suspended, and goes with the
-- last answer, which moves all of them into the job's payload: the next claim brings them to the agent.
alter table waiting add column asked json, add column asked_until timestamptz;      -- of inputDeadlineSeconds
alter table job add column input_handled text;       -- value of the response annotation, as last applied
create index waiting_asked on waiting (asked_until) where state = 'i';

-- park: runs that ended with a question. Matched like an ack; returns the ids that it took. Runs that were asked to
-- cancel, or are out of time, it leaves to ack().
-- p_asks: [{i id, t token, y reason, m message, q requests, n inputDeadlineSeconds, u usage, e events, l log, c trace}]
-- Indexes: primary keys. Lock order: running rows by id.
create function park(p_worker uuid, p_asks json) returns bigint[] language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_name text; v_ids bigint[]; v_mirrored bigint[];
begin
  select name into v_name from worker where id = p_worker;
  with said as materialized (
      select * from json_to_recordset(p_asks) as t(i bigint, t bigint, y text, m text, q json, n int, u bigint[], e int, l text, c text) order by i),
    run as materialized (
      select r.*, job.round, coalesce(said.y, '') as y, said.m, said.q, said.n, coalesce(said.u, r.usage) as u, coalesce(said.e, r.event_count) as e, said.l, said.c
      from said cross join lateral (
        select x.* from running x where x.id = said.i and x.token = said.t and x.worker = p_worker
          and x.control is distinct from 'k' and x.control is distinct from 'd' for update) r
      cross join lateral (select j.round from job j where j.id = r.id offset 0) job),
    logged as (
      insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message,
                           charged, usage, event_count, log_tail, trace_id)
      select id, run, attempt, round, p_worker, v_name, token, since, v_now, 'ask', y, m, false, u, e, l, c from run),
    parked as (
      insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline,
                           reason, message, losses, spent, asked, asked_until)
      select id, queue, pos, case when control = 's' then 's'::"char" else 'i' end, mirrored, session, bytes, run_at, v_now,
             attempt - 1, run, started_at, case when control is distinct from 's' then deadline end,
             case when control = 's' then 'Suspended' else y end, m, losses, plus(spent, u),
             json_build_object('requests', q, 'seconds', n), v_now + make_interval(secs => n)
      from run order by id)
  select array_agg(id), array_agg(id) filter (where mirrored) into v_ids, v_mirrored from run;
  delete from running where id = any (v_ids);
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  return v_ids;
end $$;

-- step, with the questions; workers that know of none call the one above it. What park() leaves goes to ack(), which
-- cancels it, or says that it is lost.
create function step(p_worker uuid, p_token bigint, p_done json, p_back json, p_queues text[], p_slots int[], p_total int,
                     p_idle boolean, p_low bigint[], p_expiry interval, p_models json, p_asks json,
                     out missed json, out alive boolean, out jobs text, out held bigint[])
  language plpgsql as $$
declare v_parked bigint[]; v_back json := p_back;
begin
  if p_asks is not null then
    v_parked := park(p_worker, p_asks);
    select json_agg(x.row) into v_back from (
      select (a::jsonb || '{"k": "release"}')::json as row
      from json_array_elements(p_asks) a where (a->>'i')::bigint <> all (coalesce(v_parked, '{}'))
      union all select json_array_elements(p_back)) x;
  end if;
  select s.missed, s.alive, s.jobs, s.held into missed, alive, jobs, held
  from step(p_worker, p_token, p_done, v_back, p_queues, p_slots, p_total, p_idle, p_low, p_expiry, p_models) s;
end $$;

-- answer_job: one answer to the present question; with the last one the job goes on. Any other question is refused, so
-- an answer that comes late, or again, answers nothing. p_answer: {id, approved, reason, payload, by}
create function answer_job(p_id bigint, p_answer json, out refused text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_number int; v_id text; v_asked jsonb; v_bytes int; v_now timestamptz := clock_timestamp();
begin
  select * into w from waiting where id = p_id and asked is not null for update;
  if not found then refused := 'it does not wait for input'; return; end if;
  select n - 1, q->>'id' into v_number, v_id from json_array_elements(w.asked->'requests') with ordinality as x(q, n)
    where q->'answer' is null order by n limit 1;
  if v_id is distinct from p_answer->>'id' then
    refused := 'it waits for an answer to the question ' || v_id || ', not ' || coalesce(p_answer->>'id', 'none'); return;
  end if;
  v_asked := jsonb_set(w.asked::jsonb, array['requests', v_number::text, 'answer'],
                       jsonb_strip_nulls(p_answer::jsonb - 'id') || jsonb_build_object('at', v_now));
  if v_number + 1 < jsonb_array_length(v_asked->'requests') then
    update waiting set asked = v_asked::json where id = p_id;
  else
    -- a payload with answers is not for workers that know of none (H30)
    update job set payload = (payload::jsonb || jsonb_build_object('v', 2, 'answers', (
             select jsonb_object_agg(q->>'id', q->'answer' || jsonb_build_object('tool', q->'tool'))
             from jsonb_array_elements(v_asked->'requests') q)))::json where id = p_id;
    update job set bytes = octet_length(payload::text) where id = p_id returning bytes into v_bytes;
    update waiting set asked = null, asked_until = null, bytes = v_bytes,
           state = case when state = 's' then state else ready_state(losses) end,
           since = case when state = 's' then since else v_now end,
           reason = case when state = 's' then reason else '' end, message = null where id = p_id;
    if w.state <> 's' then perform notify_ready(array[w.queue]); end if;
  end if;
  if w.mirrored then perform touch(array[p_id]); end if;
end $$;

-- answer: of one job by uid; null: taken.
create function answer(p_uid uuid, p_answer json, out refused text) language plpgsql as $$ #variable_conflict use_column
declare v_id bigint;
begin
  -- its job row first, as control and apply take it
  select id into v_id from job where uid = p_uid for update;
  if not found then refused := 'the job is not known'; return; end if;
  refused := answer_job(v_id, p_answer);
end $$;

-- respond: the response annotations of objects, each value once (H4): a relist does not fire it again.
-- p_responses: [{uid, handled the annotation's value, answer, why it cannot be read}]. Answer: [[uid, refused]] of those
-- handled now. Lock order: job rows by id.
create function respond(p_responses json) returns json language plpgsql as $$ #variable_conflict use_column
declare c record; v_answers jsonb := '[]';
begin
  for c in
    select j.id, n.* from json_to_recordset(p_responses) as n(uid uuid, handled text, answer json, why text)
    join job j on j.uid = n.uid where j.input_handled is distinct from n.handled and j.tombstone is null
      and not exists (select from outcome o where o.id = j.id and o.imported is not null) order by j.id
  loop
    update job set input_handled = c.handled where id = c.id and input_handled is distinct from c.handled;
    continue when not found;
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(c.uid, case when c.answer is null then c.why else answer_job(c.id, c.answer) end));
  end loop;
  return v_answers::json;
end $$;

-- changed: the new state has its name, survives a suspend, and has a deadline of its own; a view shows what is asked.

create or replace function state_name(p_place "char", p_run int, p_started boolean) returns text language sql immutable as $$
  select case p_place when '@' then 'Running' when 'c' then 'Complete' when 'f' then 'Failed' when 'k' then 'Cancelled'
                      when 'i' then 'InputRequired' when 's' then 'Suspended' when 'h' then 'Suspended' when 'l' then case when p_started then 'Retrying' else 'Scheduled' end
                      when 'n' then 'Queued' when 'r' then 'Queued' when 'b' then 'Queued' when 'q' then 'Queued'
                      when 'm' then case when p_started then 'Retrying' else 'Queued' end else 'Rejected' end $$;

-- resume: also accepts a job that was held. A job that never started takes its place in line now; one that was asked is
-- asked again, with the whole time to answer.
create or replace function resume_job(p_id bigint, out answer text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; j job; v_now timestamptz := clock_timestamp(); v_state "char";
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state not in ('s', 'h') then answer := case w.state when 'i' then 'InputRequired' else 'Queued' end; return; end if;
      select * into j from job where id = p_id;
      v_state := case when w.asked is not null then 'i'::"char" when w.run_at > v_now then 'l'
                      when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end;
      update waiting set state = v_state, since = v_now, deadline_left = null,
             pos = case when started_at is null then pos(priority(pos), nextval('position')) else pos end,
             reason = case when v_state = 'i' then 'InputRequired' when v_state <> 'l' then '' when started_at is null then 'Scheduled' else 'Backoff' end,
             message = case when v_state in ('l', 'i') and started_at is not null then message end,
             asked_until = v_now + make_interval(secs => (asked->>'seconds')::int),
             deadline = case when started_at is null then greatest(v_now, run_at) + deadline_left
                             else v_now + make_interval(secs => j.active_deadline) end
        where id = p_id;
      update job set resumed_at = v_now where id = p_id and w.state = 's';
      if w.mirrored then perform touch(array[p_id]); end if;
      if v_state = 'n' then perform pg_notify('agentjobs_admit', '');
      elsif v_state = 'i' then null;                    -- it goes on with the answer
      elsif v_state = 'l' then perform pg_notify('agentjobs_due', extract(epoch from w.run_at)::text);
      else perform notify_ready(array[w.queue]); end if;
      answer := case v_state when 'l' then 'Scheduled' when 'i' then 'InputRequired' else 'Queued' end; return;
    end if;
    update running set control = null where id = p_id and control = 's';
    if found or exists (select from running where id = p_id) then answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- expire: waiting jobs past their deadline fail, running ones are asked to stop (H20).
-- Indexes: waiting_deadline, waiting_asked, running_deadline.
create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_mirrored bigint[]; v_workers uuid[]; m int;
begin
  with late as materialized (
      select w.id from waiting w
      where (w.deadline < clock_timestamp() or (w.state = 'i' and w.asked_until < clock_timestamp()))
        and (w.started_at is not null or not exists (select from queue q where q.name = w.queue and q.paused_at is not null))
      order by w.id limit p_limit for update of w skip locked),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f', case when started_at is null then 'StartingDeadlineExceeded'
                              when state = 'i' and asked_until <= coalesce(deadline, 'infinity') then 'InputDeadlineExceeded' else 'DeadlineExceeded' end,
                     case when started_at is null then 'not started by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (startingDeadlineSeconds)'
                          when state = 'i' and asked_until <= coalesce(deadline, 'infinity')
                          then 'not answered by ' || to_char(asked_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (inputDeadlineSeconds)'
                               || coalesce(': ' || message, '')
                          else 'not finished by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (activeDeadlineSeconds)'
                               || case when reason <> '' then '; it waited: ' || reason || coalesce(': ' || message, '') else '' end end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select count(*), array_agg(session) filter (where session is not null and (started_at is not null or state in ('r', 'q', 'm'))),
         array_agg(id) filter (where mirrored) into n, keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (select id from running where deadline < clock_timestamp() and control is distinct from 'k' and control is distinct from 'd'
                             order by id limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;

create or replace function view(p_ids bigint[], p_log int, p_tails boolean) returns table (id bigint, job json) language sql stable
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
  select j.id, json_build_object(
    'id', j.id, 'uid', j.uid, 'ref', case when j.cluster_id is not null then json_build_array(j.cluster_id, j.namespace, j.name) end,
    'queue', j.queue, 'priority', j.priority, 'session', j.session,
    'place', case when w.id is not null then w.state when r.id is not null then '@' else coalesce(o.state, j.tombstone) end,
    'reason', coalesce(w.reason, o.reason, ''), 'message', coalesce(w.message, o.message, ''),
    'generation', j.generation, 'round', j.round, 'run', coalesce(w.run, r.run, o.run, 0),
    'attempts', coalesce(w.attempt, r.attempt, o.attempt, 0), 'max_attempts', j.max_attempts,
    'created_at', j.created_at, 'accepted_at', j.accepted_at, 'round_at', j.round_at, 'due_at', coalesce(w.run_at, r.run_at, j.due_at),
    'started_at', coalesce(w.started_at, r.started_at, o.started_at), 'finished_at', o.finished_at,
    'since', coalesce(w.since, r.since, o.finished_at, j.accepted_at), 'resumed_at', j.resumed_at, 'run_started_at', r.since,
    'worker', coalesce(k.name, o.worker_name, ''), 'control', r.control, 'step', coalesce(r.step, ''),
    'event_count', coalesce(r.event_count, o.event_count, 0),
    'usage', plus(coalesce(w.spent, r.spent, o.spent), coalesce(r.usage, o.usage)),
    'result', o.result, 'result_truncated', coalesce(o.result_truncated, false),
    'session_id', coalesce(o.session_id, ''),
    'trace_id', coalesce(o.trace_id, (select a.trace_id from attempt a where a.id = j.id and a.trace_id is not null order by a.run desc limit 1), ''),
    'asked', w.asked, 'asked_until', w.asked_until,
    'posted_run', j.posted_run, 'imported', o.imported, 'payload', j.payload,
    'log', (select json_agg(l order by (l->>'run')::int) from (
              select json_build_object('run', a.run, 'attempt', a.attempt, 'round', a.round, 'worker', coalesce(a.worker_name, ''), 'started_at', a.started_at,
                       'ended_at', a.ended_at, 'outcome', a.kind, 'reason', a.reason, 'message', coalesce(a.message, ''), 'charged', a.charged,
                       'next_at', a.next_at, 'usage', a.usage, 'event_count', coalesce(a.event_count, 0),
                       'log_tail', case when p_tails then coalesce(a.log_tail, '') else '' end) as l
              from (select * from attempt a where a.id = j.id order by a.run desc limit p_log) a
              union all
              select json_build_object('run', o.run, 'attempt', o.attempt, 'round', j.round, 'worker', coalesce(o.worker_name, ''), 'started_at', o.run_started_at,
                       'ended_at', o.finished_at, 'outcome', case o.state when 'c' then 'complete' when 'k' then 'cancel' else 'fail' end,
                       'reason', o.reason, 'message', coalesce(o.message, ''), 'charged', true, 'next_at', null, 'usage', o.usage,
                       'event_count', coalesce(o.event_count, 0), 'log_tail', case when p_tails then coalesce(o.log_tail, '') else '' end)
              where o.worker is not null and not exists (select from attempt a where a.id = j.id and a.run = o.run)) ended))
  from unnest(p_ids) i join job j on j.id = i
  left join waiting w on w.id = j.id left join running r on r.id = j.id left join outcome o on o.id = j.id
  left join worker k on k.id = r.worker
$$;
