-- Reading. Nothing here locks anything.

-- view: everything that is known of jobs, one JSON object each. p_log: how many of the runs that have ended come along, the newest
-- ones, none where it is 0; p_tails: whether with the tails of their logs; p_end: of these the last so many characters; null: all.
-- Indexes: primary keys only.
create or replace function view(p_ids bigint[], p_log int, p_tails boolean, p_end int default null)
  returns table (id bigint, job json) language sql stable
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
  select j.id, json_build_object(
    'id', j.id, 'uid', j.uid, 'ref', case when j.cluster_id is not null then json_build_array(j.cluster_id, j.namespace, j.name) end,
    'queue', j.queue, 'priority', j.priority, 'session', j.session,
    'place', case when w.id is not null then w.state when r.id is not null then '@' else coalesce(o.state, j.tombstone) end,
    'reason', coalesce(w.reason, o.reason, ''), 'message', coalesce(w.message, o.message, ''),
    'exhausted', coalesce(o.exhausted, false), 'generation', j.generation, 'round', j.round, 'run', coalesce(w.run, r.run, o.run, 0),
    'attempts', coalesce(w.attempt, r.attempt, o.attempt, 0), 'max_attempts', j.max_attempts,
    'created_at', j.created_at, 'accepted_at', j.accepted_at, 'round_at', j.round_at, 'due_at', coalesce(w.run_at, r.run_at, j.due_at),
    'started_at', coalesce(w.started_at, r.started_at, o.started_at), 'finished_at', o.finished_at,
    'since', coalesce(w.since, r.since, o.finished_at, j.accepted_at), 'resumed_at', j.resumed_at, 'run_started_at', r.since,
    'refused', coalesce(j.refused, ''), 'refused_changed', coalesce(j.refused_changed, j.accepted_at),
    'worker', coalesce(k.name, o.worker_name, ''), 'control', r.control, 'step', coalesce(r.step, ''),
    'event_count', coalesce(r.event_count, o.event_count, 0),
    'usage', plus(coalesce(w.spent, r.spent, o.spent), coalesce(r.usage, o.usage)),
    'result', o.result, 'result_truncated', coalesce(o.result_truncated, false),
    'session_id', coalesce(o.session_id, ''),
    'trace_id', coalesce(o.trace_id, (select a.trace_id from attempt a where a.id = j.id and a.trace_id is not null
                                      order by a.run desc limit 1), ''),
    'next_at', w.next_at, 'asked', w.asked, 'asked_until', w.asked_until,
    'files', (select json_build_object(
                'count', (select count(*) from jsonb_each(s.files) f where jsonb_typeof(f.value) = 'array'),
                'first', (select json_agg(jsonb_build_array(f.key) || f.value order by f.key collate "C")
                          from (select f.key, f.value from jsonb_each(s.files) f where jsonb_typeof(f.value) = 'array'
                                order by f.key collate "C" limit 20) f)) from saved_file s where s.id = j.id),
    'posted_run', j.posted_run, 'imported', o.imported,
    -- of a large payload without the files: they would travel with each status
    'payload', case when j.bytes <= 131072 then j.payload when j.payload is not null then json_build_object(
                 'v', j.payload->'v', 'namespace', j.payload->'namespace', 'name', j.payload->'name', 'agent', j.payload->'agent',
                 'message', j.payload->'message', 'state', j.payload->'state', 'userID', j.payload->'userID',
                 'appName', j.payload->'appName', 'sessionID', j.payload->'sessionID', 'budget', j.payload->'budget',
                 'schedule', j.payload->'schedule') end,
    'log', (select json_agg(l order by (l->>'run')::int) from (
              select json_build_object('run', a.run, 'attempt', a.attempt, 'round', a.round, 'worker', coalesce(a.worker_name, ''),
                                       'started_at', a.started_at,
                       'ended_at', a.ended_at, 'outcome', a.kind, 'reason', a.reason, 'message', coalesce(a.message, ''), 'charged',
                         a.charged,
                       'next_at', a.next_at, 'usage', a.usage, 'event_count', coalesce(a.event_count, 0),
                       'log_tail', case when not p_tails or a.log_tail is null then '' when p_end is null then a.log_tail
                                        else right(a.log_tail, p_end) end,
                       'log_skipped', coalesce(a.log_skipped, 0)) as l
              from (select * from attempt a where a.id = j.id order by a.run desc limit p_log) a
              union all
              select json_build_object('run', o.run, 'attempt', o.attempt, 'round', j.round, 'worker', coalesce(o.worker_name, ''),
                                       'started_at', o.run_started_at,
                       'ended_at', o.finished_at, 'outcome', case o.state when 'c' then 'complete' when 'k' then 'cancel' else 'fail' end,
                       'reason', o.reason, 'message', coalesce(o.message, ''), 'charged', true, 'next_at', null, 'usage', o.usage,
                       'event_count', coalesce(o.event_count, 0),
                       'log_tail', case when not p_tails or o.log_tail is null then '' when p_end is null then o.log_tail
                                        else right(o.log_tail, p_end) end,
                       'log_skipped', coalesce(o.log_skipped, 0))
              where p_log > 0 and o.worker is not null
                and not exists (select from attempt a where a.id = j.id and a.run = o.run)) ended))
  from unnest(p_ids) i join job j on j.id = i
  left join waiting w on w.id = j.id left join running r on r.id = j.id left join outcome o on o.id = j.id
  left join worker k on k.id = r.worker
$$;

-- show: one job as view() tells it. Index: job's unique uid.
create or replace function show(p_uid uuid, p_log int, p_tails boolean) returns table (job json) language sql stable as $$
  select v.job from view(array(select j.id from job j where j.uid = p_uid), p_log, p_tails) v $$;

-- timeline: when these jobs, as far as they have ended, waited and ran in their last round; no texts. For traces.
-- acked: an ack ended the round, not a tick, a person or a lost worker. Indexes: job's unique uid, then primary keys.
create or replace function timeline(p_uids uuid[]) returns table (job json) language sql stable
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
  select json_build_object(
    'uid', j.uid, 'namespace', j.payload->>'namespace', 'name', j.payload->>'name', 'queue', o.queue,
    'traceparent', j.payload->>'traceparent', 'round', j.round, 'state', state_name(o.state, false), 'reason', o.reason,
    'attempts', o.attempt, 'max_attempts', j.max_attempts, 'begun_at', j.round_at, 'due_at', j.due_at, 'finished_at', o.finished_at,
    'acked', o.worker is not null and not exists (select from attempt a where a.id = j.id and a.run = o.run and a.kind = 'lost'),
    'runs', (select coalesce(json_agg(json_build_array(r.run, r.attempt, r.worker_name, r.started_at, r.ended_at, r.kind, r.reason,
                                                       r.next_at) order by r.run), '[]')
             from (select a.run, a.attempt, a.worker_name, a.started_at, a.ended_at, a.kind, a.reason, a.next_at
                   from attempt a where a.id = j.id and a.round = j.round
                   union all
                   select o.run, o.attempt, o.worker_name, o.run_started_at, o.finished_at, '', o.reason, null
                   where o.worker is not null and not exists (select from attempt a where a.id = j.id and a.run = o.run)) r))
  from unnest(p_uids) u join job j on j.uid = u join outcome o on o.id = j.id
$$;

-- queues: those that were ever paused or limited. The whole table is read: it has a row for each of them.
create or replace function queues() returns table (name text, paused boolean, paused_at timestamptz, paused_by text, reason text,
                                                   max_running int) language sql stable as $$
  select q.name, q.paused_at is not null, q.paused_at, coalesce(q.paused_by, ''), coalesce(q.paused_reason, ''), q.max_running
  from queue q order by q.name $$;
