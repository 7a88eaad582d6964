drop function respond(json);
drop function answer(uuid, json);
drop function answer_job(bigint, json);
drop function step(uuid, bigint, json, json, text[], int[], int, boolean, bigint[], interval, json, json);
drop function park(uuid, json);
-- jobs that wait for an answer go back to be run: that version fails them at their question
update waiting set state = ready_state(losses), reason = '', message = null where state = 'i';
update job set payload = ((payload::jsonb - 'answers') || '{"v": 1}')::json where payload->'answers' is not null;

create or replace function state_name(p_place "char", p_run int, p_started boolean) returns text language sql immutable as $$
  select case p_place when '@' then 'Running' when 'c' then 'Complete' when 'f' then 'Failed' when 'k' then 'Cancelled'
                      when 's' then 'Suspended' when 'h' then 'Suspended' when 'l' then case when p_started then 'Retrying' else 'Scheduled' end
                      when 'n' then 'Queued' when 'r' then 'Queued' when 'b' then 'Queued' when 'q' then 'Queued'
                      when 'm' then case when p_started then 'Retrying' else 'Queued' end else 'Rejected' end $$;

create or replace function resume_job(p_id bigint, out answer text) language plpgsql as $$ #variable_conflict use_column
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

create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_mirrored bigint[]; v_workers uuid[]; m int;
begin
  with late as materialized (
      select w.id from waiting w where w.deadline < clock_timestamp()
        and (w.started_at is not null or not exists (select from queue q where q.name = w.queue and q.paused_at is not null))
      order by w.id limit p_limit for update of w skip locked),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f', case when started_at is null then 'StartingDeadlineExceeded' else 'DeadlineExceeded' end,
                     case when started_at is null then 'not started by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (startingDeadlineSeconds)'
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

alter table waiting drop column asked, drop column asked_until;
alter table job drop column input_handled;
