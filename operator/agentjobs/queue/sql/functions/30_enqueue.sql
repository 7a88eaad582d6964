-- enqueue: stores jobs; answers the uids that were new. Idempotent by uid, any number at once. It takes no lock that anybody
-- shares: no session row, no queue row. So a caller's transaction may stay open for hours and holds up nobody (H12). A job
-- of a shared session enters as new (n), and admit() takes it from there.
-- A job with `end` never waits: it was cancelled before it was known, was rejected, or had finished elsewhere. With `hold` it
-- is not accepted yet; the text is the reason, and `bar` says it to people.
-- Lists know a job by namespace, queue, model (target), `agent` and `user_id`.
-- Indexes: job's unique uid; rows in the order of the uids, so that two upserts of the same jobs cannot deadlock; facet_by_namespace.
create or replace function enqueue(p_jobs json) returns uuid[] language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp(); v_week timestamptz := v_now - interval '7 days'; v_ended bigint[];
  v_uids uuid[]; v_ready text[]; v_new boolean; v_due timestamptz; v_mirrored bigint[];
begin
  with said as materialized (
      select nextval('position') as id, t.uid, coalesce(t.queue, 'agents') as queue, coalesce(t.priority, 2::smallint) as priority,
             t.session, coalesce(t.run_at, v_now) as run_at, coalesce(t.max_attempts, 3) as max_attempts, t.retry,
             coalesce(t.attempt_timeout, 1800) as attempt_timeout, t.starting_deadline, t.active_deadline, t.payload,
             coalesce(octet_length(t.payload::text), 0) as bytes, t.cluster_id, t.namespace, t.name,
             coalesce(t.generation, 0) as generation, t.retry_handled,
             coalesce(t.cancel_wanted, false) as cancel_wanted, coalesce(t.gone, false) as gone,
             coalesce(t.created_at, v_now) as created_at, coalesce(t.suspend, false) as suspend,
             t.hold, t.bar, t.message, t."end", t.reason, t.finished_at, t.imported, t.target,
             t.user_id, case when t.cluster_id is null then '' else coalesce(t.namespace, '') end as facet_namespace,
             left(coalesce(t.agent, case when t.target like 'module:%' then substr(t.target, 8) end, ''), 253) as facet_agent,
             case when t.target like 'module:%' then '' else coalesce(t.target, '') end as facet_model
      from json_to_recordset(p_jobs) as t(
        uid uuid, queue text, priority smallint, session text, run_at timestamptz, max_attempts int, retry int[],
        attempt_timeout int, starting_deadline int, active_deadline int, payload json, cluster_id text, namespace text,
        name text, generation bigint, retry_handled text, cancel_wanted boolean, gone boolean, created_at timestamptz,
        suspend boolean, hold text, bar text, message text, "end" "char", reason text, finished_at timestamptz, imported json,
        target text, agent text, user_id text)),
    known as materialized (
      select s.*, (select max(f.id) from facet f where f.namespace = s.facet_namespace and f.queue = s.queue
                     and f.agent = s.facet_agent and f.model = s.facet_model and f.made_at > v_week) as facet
      from (select distinct facet_namespace, queue, facet_agent, facet_model from said) s),
    made as (
      insert into facet (namespace, queue, agent, model, made_at)
      select facet_namespace, queue, facet_agent, facet_model, v_now from known where facet is null
      returning namespace as facet_namespace, queue, agent as facet_agent, model as facet_model, id as facet),
    inserted as (
      insert into job (id, uid, queue, priority, session, due_at, max_attempts, retry, attempt_timeout, starting_deadline,
                       active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
                       object_gone, round_at, created_at, accepted_at, refused, target, facet, user_id)
      select id, uid, queue, priority, session, run_at, max_attempts, retry, attempt_timeout, starting_deadline,
             active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
             gone, v_now, created_at, v_now, case when hold = 'QueueNotAllowed' and "end" is null then bar end,
             target, facet, user_id
      from said join (select * from known where facet is not null union all select * from made) f
        using (facet_namespace, queue, facet_agent, facet_model)
      order by uid                      -- by uid: two upserts of the same jobs cannot deadlock
      on conflict (uid) do nothing returning id, uid, facet),
    placed as (
      insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, deadline, deadline_left, reason,
                           message)
      select id, inserted.facet, said.queue, pos(priority, id),
             case when hold is not null then 'h'::"char" when suspend then 's' when run_at > v_now then 'l'
                  when session is not null then 'n' else 'r' end,
             cluster_id is not null, session, bytes, run_at, v_now,
             case when hold is null and not suspend then greatest(run_at, v_now) + make_interval(secs => starting_deadline) end,
             case when hold is not null or suspend then make_interval(secs => starting_deadline) end,
             coalesce(hold, case when suspend then 'Suspended' when run_at > v_now then 'Scheduled' else '' end), coalesce(bar, message)
      from inserted join said using (id) where "end" is null order by id
      returning id, queue, state, run_at, mirrored),
    ended as (
      insert into outcome (id, facet, state, reason, message, queue, attempt, run, finished_at, imported)
      select id, facet, "end", coalesce(reason, ''), message, queue, 0, 0, coalesce(finished_at, v_now), imported
      from inserted join said using (id) where "end" is not null
      returning id)
  select (select array_agg(uid) from inserted),
         (select array_agg(queue) from placed where state = 'r'),
         (select bool_or(state = 'n') from placed),
         (select min(run_at) from placed where state = 'l'),
         (select array_agg(id) from (select id from placed where mirrored
                                     union all select id from ended join said using (id) where cluster_id is not null and not gone) m),
         (select array_agg(id) from ended)
    into v_uids, v_ready, v_new, v_due, v_mirrored, v_ended;
  if v_ended is not null then perform count_ended(v_ended); end if;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_ready is not null then perform notify_ready(v_ready); end if;
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
  return v_uids;
end $$;
