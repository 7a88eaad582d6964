-- enqueue: idempotent by uid, any number at once, takes no shared lock (H12): no session row, no queue
-- row. A job of a shared session enters as new, and admit() takes it from there.
-- `end` makes a job that never waits: cancelled before it was known, rejected, or finished elsewhere.
create function enqueue(p_jobs json) returns uuid[] language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_uids uuid[]; v_ready text[]; v_new boolean; v_due timestamptz; v_mirrored bigint[];
begin
  with source as materialized (
      select nextval('position') as id, t.uid, coalesce(t.queue, 'agents') as queue, coalesce(t.priority, 2::smallint) as priority, t.session,
             coalesce(t.run_at, v_now) as run_at, coalesce(t.max_attempts, 3) as max_attempts, t.retry,
             coalesce(t.attempt_timeout, 1800) as attempt_timeout, t.starting_deadline, t.active_deadline, t.payload,
             coalesce(octet_length(t.payload::text), 0) as bytes, t.cluster_id, t.namespace, t.name, coalesce(t.generation, 0) as generation,
             t.retry_handled, coalesce(t.cancel_wanted, false) as cancel_wanted, coalesce(t.gone, false) as gone,
             coalesce(t.created_at, v_now) as created_at, coalesce(t.suspend, false) as suspend,
             t.hold, t.message, t."end", t.reason, t.finished_at, t.imported
      from json_to_recordset(p_jobs) as t(
        uid uuid, queue text, priority smallint, session text, run_at timestamptz, max_attempts int, retry int[],
        attempt_timeout int, starting_deadline int, active_deadline int, payload json, cluster_id text, namespace text,
        name text, generation bigint, retry_handled text, cancel_wanted boolean, gone boolean, created_at timestamptz,
        suspend boolean, hold text, message text, "end" "char", reason text, finished_at timestamptz, imported json)),
    inserted as (
      insert into job (id, uid, queue, priority, session, due_at, max_attempts, retry, attempt_timeout, starting_deadline,
                       active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
                       object_gone, round_at, created_at, accepted_at)
      select id, uid, queue, priority, session, run_at, max_attempts, retry, attempt_timeout, starting_deadline,
             active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
             gone, v_now, created_at, v_now
      from source order by uid          -- by uid: two upserts of the same jobs cannot deadlock
      on conflict (uid) do nothing returning id),
    placed as (
      insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, deadline, deadline_left, reason, message)
      select id, queue, pos(priority, id),
             case when hold is not null then 'h'::"char" when suspend then 's' when run_at > v_now then 'l'
                  when session is not null then 'n' else 'r' end,
             cluster_id is not null, session, bytes, run_at, v_now,
             case when hold is null and not suspend then greatest(run_at, v_now) + make_interval(secs => starting_deadline) end,
             case when hold is not null or suspend then make_interval(secs => starting_deadline) end,
             coalesce(hold, case when suspend then 'Suspended' when run_at > v_now then 'Scheduled' else '' end), message
      from inserted join source using (id) where "end" is null order by id
      returning id, queue, state, run_at, mirrored),
    ended as (
      insert into outcome (id, state, reason, message, queue, attempt, run, finished_at, imported)
      select id, "end", coalesce(reason, ''), message, queue, 0, 0, coalesce(finished_at, v_now), imported
      from inserted join source using (id) where "end" is not null
      returning id)
  select (select array_agg(uid) from inserted join source using (id)),
         (select array_agg(distinct queue) from placed where state = 'r'),
         (select bool_or(state = 'n') from placed),
         (select min(run_at) from placed where state = 'l'),
         (select array_agg(id) from (select id from placed where mirrored
                                     union all select id from ended join source using (id) where cluster_id is not null and not gone) m)
    into v_uids, v_ready, v_new, v_due, v_mirrored;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_ready is not null then perform notify_ready(v_ready); end if;
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
  return v_uids;
end $$;

-- admit: jobs of shared sessions that became due take their session, or their place behind it (H12, H17).
-- A short transaction of ours; one at a time. Index: waiting_new.
create function admit(p_limit int default 1000) returns int language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[]; v_heads bigint[]; v_ready text[]; v_mirrored bigint[];
begin
  if not exists (select from waiting where state = 'n') then return 0; end if;
  perform pg_advisory_xact_lock(hashtext('agentjobs admit'));
  select array_agg(id order by place) into v_ids
  from (select w.id, place(w.pos) as place from waiting w where w.state = 'n'
          and not exists (select from queue q where q.name = w.queue and q.paused_at is not null)
        order by place(w.pos) limit p_limit for update of w skip locked) n;
  if v_ids is null then return 0; end if;
  -- opens the sessions that nobody holds; locks the others until commit (the conflict arm writes nothing)
  with first as (select distinct on (w.session) w.session, w.id from waiting w where w.id = any(v_ids) order by w.session, place(w.pos)),
    opened as (insert into session (key, holder) select session, id from first order by session
               on conflict (key) do update set key = excluded.key where false returning holder)
  select array_agg(holder) into v_heads from opened;
  with moved as (
      update waiting w set state = case when w.id = any(v_heads) then ready_state(w.losses) else 'b' end,
             reason = case when w.id = any(v_heads) then '' else 'BehindSession' end, message = null
      where w.id = any(v_ids) returning w.id, w.queue, w.state, w.mirrored)
  select array_agg(distinct queue) filter (where state <> 'b'), array_agg(id) filter (where mirrored)
    into v_ready, v_mirrored from moved;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  return cardinality(v_ids);
end $$;
