-- What 0010 replaced, as it was.
create or replace function claim(p_worker uuid, p_token bigint, p_queues text[], p_slots int[], p_total int, p_idle boolean,
                      p_low bigint[], p_expiry interval, out alive boolean, out jobs text) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_limited text[]; v_paused text[]; v_slots int[] := p_slots; v_total int := p_total; v_solo "char" := 'r'; v_mirrored bigint[];
begin
  -- set_queue waits for this transaction, or this one for it: no claim is half before a new limit (H22)
  lock table running in row exclusive mode;
  -- key share: a rescue cannot declare this worker dead before this claim has committed; a beat is not held up
  select beat_at > v_now - p_expiry into alive from worker where id = p_worker for key share;
  alive := coalesce(alive, false);
  if not alive then return; end if;

  select array_agg(name) filter (where max_running is not null), array_agg(name) filter (where paused_at is not null)
    into v_limited, v_paused from queue where name = any(p_queues);
  if v_limited is not null then
    perform 1 from queue where name = any(v_limited) order by name for update;
    select array_agg(case when x.max_running is null then s.n
                          else greatest(0, least(s.n, x.max_running - (select count(*) from running r where r.queue = s.name and r.limited)))::int end order by s.i),
           array_agg(x.name) filter (where x.paused_at is not null)
      into v_slots, v_paused
    from unnest(p_queues, p_slots) with ordinality s(name, n, i) left join queue x on x.name = s.name;
  end if;

  if exists (select from waiting w where w.state = 'q' and w.queue = any(p_queues)) then
    if p_idle then
      v_solo := 'q'; v_total := 1;                     -- H14: alone in its worker
    elsif exists (select from waiting w where w.state = 'q' and w.queue = any(p_queues) and w.since < v_now - 4 * p_expiry)
      and not exists (select from worker k where k.id < p_worker and k.beat_at > v_now - p_expiry
                      and exists (select from unnest(p_queues) q where (k.queues->q) is not null)) then
      return;                                          -- nobody fell idle for long: one worker makes room by claiming nothing
    end if;
  end if;

  loop
    with lane as materialized (
        select q.name, q.n, p, case when p_low is null or q.name = any(v_limited) or v_solo = 'q' then p::bigint << 56
                                    else greatest(p_low[p * cardinality(p_queues) + q.i], p::bigint << 56) end as low,
               case when cardinality(p_queues) = 1 and p_low is null then 9223372036854775807 else (p + 1)::bigint << 56 end as high
        from unnest(p_queues, v_slots) with ordinality q(name, n, i)
        cross join generate_series(0, case when cardinality(p_queues) = 1 and p_low is null then 0 else 9 end) p
        where q.n > 0 and q.name <> all (coalesce(v_paused, '{}'))),
      candidate as materialized (
        select c.tid, c.pos, c.bytes
        from (select distinct name, n from lane) q
        cross join lateral (
          select r.tid, r.pos, r.bytes
          from (select low, high from lane where lane.name = q.name order by p offset 0) l
          cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w
                              where w.state = 'r' and w.queue = q.name and w.pos > l.low and w.pos < l.high
                              order by w.pos limit least(q.n, v_total) for update skip locked) r
          where v_solo = 'r'
          limit least(q.n, v_total)) c
        union all
        select c.tid, c.pos, c.bytes from (select distinct name from lane) q
        cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w where w.state = 'q' and w.queue = q.name
                            order by w.pos limit 1 for update skip locked) c
        where v_solo = 'q'),
      light as materialized (select coalesce(sum(bytes), 0) <= 8388608 as yes from candidate),
      picked as materialized (
        select tid from (select tid from candidate order by pos limit v_total) c where (select yes from light)
        union all                                      -- the running sum is dear, and hardly ever needed
        select tid from (select tid, sum(bytes) over (order by pos) - bytes as before from candidate order by pos limit v_total) c
        where not (select yes from light) and before < 8388608),
      taken as (delete from waiting w where w.ctid = any (array(select tid from picked))
                returning w.id, w.queue, w.pos, w.mirrored, w.session, w.bytes, w.run_at, w.attempt, w.run, w.started_at,
                          w.deadline, w.snoozes, w.wait_since, w.drains, w.losses, w.spent),
      started as materialized (
        select t.id, t.queue, t.pos, t.mirrored, t.session, t.bytes, t.run_at, t.attempt + 1 as attempt, t.run + 1 as run,
               coalesce(t.started_at, v_now) as started_at, t.snoozes, t.wait_since, t.drains, t.losses, t.spent,
               case when t.started_at is not null then t.deadline else v_now + make_interval(secs => j.active_deadline) end as deadline,
               j.uid, j.payload, j.max_attempts, j.round, j.retry, j.attempt_timeout
        from taken t cross join lateral (select * from job where job.id = t.id offset 0) j),
      placed as (
        insert into running (id, worker, token, queue, pos, mirrored, session, bytes, run_at, since, attempt, run, started_at,
                             deadline, solo, limited, snoozes, wait_since, drains, losses, spent)
        select id, p_worker, p_token, queue, pos, mirrored, session, bytes, run_at, v_now, attempt, run, started_at,
               deadline, v_solo = 'q', queue = any (coalesce(v_limited, '{}')), snoozes, wait_since, drains, losses, spent from started)
    select json_agg(json_build_array(id, uid, queue, pos, run, attempt, payload,
             case when num_nonnulls(retry, deadline, snoozes, losses, spent) > 0 or max_attempts <> 3 or round <> 1 or attempt_timeout <> 1800
                  then json_build_array(max_attempts, round, attempt_timeout, retry, deadline, snoozes, losses, v_solo = 'q', spent) end))::text,
           array_agg(id) filter (where mirrored)
      into jobs, v_mirrored from started;
    exit when jobs is not null or v_solo = 'r';
    v_solo := 'r'; v_total := p_total;                 -- somebody else took it
  end loop;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;

create or replace function tick(p_caller uuid, p_expiry interval, p_retention interval, p_limit int default 1000,
                     out held_elsewhere boolean, out promoted int, out expired int, out rescued int, out pruned int,
                     out admit boolean, out paused text[], out next_due double precision) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_keys text[]; v_more text[];
begin
  held_elsewhere := not pg_try_advisory_xact_lock(hashtext('agentjobs tick'));
  if not held_elsewhere then
    promoted := promote(p_limit);
    select e.n, e.keys into expired, v_keys from expire(p_limit) e;
    select r.n, r.keys into rescued, v_more from rescue(p_caller, p_expiry, p_limit) r;
    v_keys := v_keys || v_more;
    if cardinality(v_keys) > 0 then perform session_next(v_keys); end if;
    update upkeep set pruned_at = clock_timestamp() where pruned_at < clock_timestamp() - interval '1 minute';
    if found then
      pruned := prune(p_retention, p_limit);
      if pruned = p_limit then update upkeep set pruned_at = '-infinity'; end if;      -- there is more: with the next tick
    end if;
  end if;
  admit := exists (select from waiting w where w.state = 'n'
                     and not exists (select from queue q where q.name = w.queue and q.paused_at is not null));
  if exists (select from queue where paused_at is not null) then
    select array_agg(name) into paused from queue q where paused_at is not null
      and exists (select from waiting w where w.queue = q.name and w.session is not null and w.started_at is null and w.state in ('r', 'q', 'b'));
  end if;
  select extract(epoch from min(run_at) - clock_timestamp()) into next_due from waiting where state = 'l';
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
  select count(*), array_agg(session) filter (where session is not null and (started_at is not null or state in ('r', 'q'))),
         array_agg(id) filter (where mirrored) into n, keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (select id from running where deadline < clock_timestamp() and control is distinct from 'k' and control is distinct from 'd'
                             order by id limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;

create or replace function yield_paused(p_queue text) returns int language plpgsql as $$ #variable_conflict use_column
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

create or replace function suspend_job(p_id bigint, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
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

create or replace function cancel_job(p_id bigint, p_message text, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
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

create or replace function register(p_worker uuid, p_name text, p_pool text, p_queues json, p_version text) returns void language sql as $$
  insert into worker (id, name, pool, queues, version, started_at, beat_at, steady_since)
  values (p_worker, p_name, p_pool, p_queues, p_version, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (id) do nothing;
$$;

create or replace function enqueue(p_jobs json) returns uuid[] language plpgsql
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

create or replace function state_name(p_place "char", p_run int, p_started boolean) returns text language sql immutable as $$
  select case p_place when '@' then 'Running' when 'c' then 'Complete' when 'f' then 'Failed' when 'k' then 'Cancelled'
                      when 's' then 'Suspended' when 'h' then 'Suspended' when 'l' then case when p_started then 'Retrying' else 'Scheduled' end
                      when 'n' then 'Queued' when 'r' then 'Queued' when 'b' then 'Queued' when 'q' then 'Queued' else 'Rejected' end $$;

drop function step(uuid, bigint, json, json, text[], int[], int, boolean, bigint[], interval, json);
drop function reset_model(text, text);
drop function model_health();
drop function tend_models(int);
drop function put_suspects_aside(text, text[]);
drop function pick(uuid, text, text[], int[], text[], int, bigint[]);
drop function put_aside(bigint[]);
drop function keep_acked(bigint[]);
drop function hear_models(uuid, json);
drop function kept(text, text);
drop function breaker_message(model_breaker);
drop function counted(int, text);
drop function kept_reason("char");
drop function iso_time(timestamptz);
drop function breaker_after(model_breaker, "char", text, bigint, int, boolean, double precision, int, int, timestamptz, double precision);
drop function counts_alone(model_breaker, "char", bigint);
drop table model_target;
drop table model_breaker;
drop function target_of(json);
update waiting set state = ready_state(losses), reason = '', message = null where state = 'm';
alter table running drop column breaker;
alter table waiting drop column target, drop column held_until;
alter table job drop column target;
