-- ack: p_done ends jobs with an answer or a permanent failure; p_back is all the rest, where SQL decides
-- what follows (H15, H16, H19, H22). Each is matched by id, worker and token. Answers: ids that were not
-- matched, each with whether this very ack had been applied before (H9).
-- p_done: [{i id, t token, s 'c'|'f', y reason, m message, r result, x truncated, u usage, e events, l log, d session, c trace}]
-- p_back: [{i, t, k 'retry'|'snooze'|'release'|'cancel'|'lost', w delay in seconds, y, m, u, e, l, c}]
-- Indexes: primary keys. Returns the sessions that lost their holder in p_keys.
create function ack(p_worker uuid, p_done json, p_back json, out missed json, out keys text[]) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_name text; v_ok bigint[]; v_ok_back bigint[]; v_mirrored bigint[]; v_ready text[]; v_due timestamptz; v_keys text[]; v_gone int;
begin
  select name into v_name from worker where id = p_worker;
  if p_done is not null then
    with ended as materialized (
        select * from json_to_recordset(p_done) as t(i bigint, t bigint, s "char", y text, m text, r text, x boolean,
                                                     u bigint[], e int, l text, d text, c text) order by i),
      run as materialized (                              -- row by row on the primary key, in the order of the ids, whatever the statistics say
        select a.*, r.* from ended a cross join lateral (
          select x.ctid as tid, x.id, x.queue, x.attempt, x.run, x.token, x.started_at, x.since, x.spent, x.session, x.mirrored
          from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r),
      gone as (delete from running where ctid = any (array(select tid from run)) returning 1),
      done as (insert into outcome (id, state, reason, message, queue, attempt, run, worker, worker_name, token, started_at,
                                    run_started_at, finished_at, result, result_truncated, spent, usage, event_count, log_tail, session_id, trace_id)
               select id, s, coalesce(y, ''), m, queue, attempt, run, p_worker, v_name, token, started_at, since, v_now,
                      r, x, spent, u, e, l, d, c from run)
    select array_agg(id), array_agg(session) filter (where session is not null), array_agg(id) filter (where mirrored),
           (select count(*) from gone)
      into v_ok, keys, v_mirrored, v_gone from run;
    -- a row that changed while its lock was waited for (cancel, progress) has a ctid that the delete could not see yet
    if v_gone < cardinality(v_ok) then delete from running where id = any (v_ok); end if;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
  end if;

  if p_back is not null then
    -- a statement of its own: the next one must see what committed while the locks were waited for (maxAttempts, H22)
    perform 1 from (select * from json_to_recordset(p_back) as t(i bigint, t bigint) order by i offset 0) a
      cross join lateral (select from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r;
    with ended as materialized (
        select * from json_to_recordset(p_back) as t(i bigint, t bigint, k text, w double precision, y text, m text,
                                                     u bigint[], e int, l text, c text) order by i),
      run as materialized (
        select r.*, a.k, coalesce(a.w, 0) as delay, coalesce(a.y, '') as why, a.m,
               coalesce(a.u, r.usage) as u, coalesce(a.e, r.event_count) as e, a.l, a.c
        from ended a cross join lateral (
          select x.ctid as tid, x.* from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r),
      gone as (delete from running where ctid = any (array(select tid from run)) returning 1),
      judged as materialized (
        select run.*, job.round, job.max_attempts,
               run.k = 'retry' or (run.k = 'release' and run.control is distinct from 's' and coalesce(run.drains, 0) >= 5) as charged,
               case when run.control = 'k' then 'cancelled'
                    when run.control = 'd' then 'deadline'
                    when (run.k = 'retry' or (run.k = 'release' and run.control is distinct from 's' and coalesce(run.drains, 0) >= 5))
                         and run.attempt >= job.max_attempts then 'exhausted'
                    when run.k = 'snooze' and v_now + make_interval(secs => run.delay)
                         > coalesce(run.wait_since, v_now) + make_interval(secs => coalesce(job.retry[4], 86400)) then 'waited'
                    when run.control = 's' then 'suspend' else 'again' end as verdict,
               v_now + make_interval(secs => run.delay) as next_at
        from run cross join lateral (select * from job where job.id = run.id offset 0) job),
      logged as (
        insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message,
                             charged, next_at, usage, event_count, log_tail, trace_id)
        select id, run, attempt, round, p_worker, v_name, token, since, v_now, k, why, m, charged,
               case when verdict = 'again' and delay > 0 then next_at end, u, e, l, c from judged),
      ended_job as (
        insert into outcome (id, state, reason, message, queue, attempt, run, worker, worker_name, token, started_at,
                             run_started_at, finished_at, spent, usage, event_count, trace_id)
        select id, case when verdict = 'cancelled' then 'k'::"char" else 'f' end,
               case verdict when 'cancelled' then 'Cancelled' when 'deadline' then 'DeadlineExceeded'
                            when 'exhausted' then 'AttemptsExhausted' else 'WaitExceeded' end,
               case verdict when 'cancelled' then 'stopped on request during attempt ' || attempt
                            when 'deadline' then 'activeDeadlineSeconds ran out during attempt ' || attempt
                            when 'exhausted' then 'attempt ' || attempt || ' of ' || max_attempts || ' failed, the last: ' || why || coalesce(': ' || m, '')
                            else 'waited ' || extract(epoch from v_now - coalesce(wait_since, v_now))::int
                                 || ' s in a row, next in ' || delay::int || ' s; the last reason: ' || why || coalesce(': ' || m, '') end,
               queue, attempt - (not charged and verdict not in ('cancelled', 'deadline'))::int, run, p_worker, v_name, token, started_at, since, v_now, spent, u, e, c
        from judged where verdict not in ('again', 'suspend')),
      back as (
        insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline,
                             reason, message, snoozes, wait_since, drains, losses, spent)
        select id, queue, pos, case when verdict = 'suspend' then 's'::"char" when delay > 0 then 'l' else ready_state(losses) end,
               mirrored, session, bytes, next_at, v_now, attempt - (not charged)::int, run, started_at,
               case when verdict <> 'suspend' then deadline end,
               case when verdict = 'suspend' then 'Suspended' when delay > 0 and k = 'retry' then 'Backoff' when delay > 0 then why else '' end, m,
               case when k = 'snooze' then coalesce(snoozes, 0) + 1 when not charged then snoozes end,
               case when k = 'snooze' then coalesce(wait_since, v_now) when not charged then wait_since end,
               case when charged then null when k = 'release' and control is distinct from 's' then coalesce(drains, 0) + 1 else drains end,
               losses, plus(spent, u)
        from judged where verdict in ('again', 'suspend') order by id
        returning id, queue, state, run_at)
    select array_agg(id), array_agg(session) filter (where session is not null and verdict not in ('again', 'suspend')),
           array_agg(id) filter (where mirrored),
           (select array_agg(distinct queue) from back where state = 'r'), (select min(run_at) from back where state = 'l'),
           (select count(*) from gone)
      into v_ok_back, v_keys, v_mirrored, v_ready, v_due, v_gone from judged;
    if v_gone < cardinality(v_ok_back) then delete from running where id = any (v_ok_back); end if;
    keys := keys || v_keys;
    v_ok := v_ok || v_ok_back;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
    perform notify_ready(v_ready);
    if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
  end if;

  if coalesce(cardinality(v_ok), 0) < coalesce(json_array_length(p_done), 0) + coalesce(json_array_length(p_back), 0) then
    select json_agg(json_build_array(a.id,
             (exists (select from outcome o where o.id = a.id and o.token = a.token and o.worker = p_worker)
              or exists (select from attempt o where o.id = a.id and o.token = a.token and o.worker = p_worker))
             -- a rescue or a disowning ended this run, not its ack
             and not exists (select from attempt o where o.id = a.id and o.token = a.token and o.worker = p_worker and o.kind = 'lost')))
      into missed
    from (select (x->>'i')::bigint as id, (x->>'t')::bigint as token
          from (select json_array_elements(p_done) x union all select json_array_elements(p_back)) y) a
    where a.id <> all (coalesce(v_ok, '{}'));
  end if;
end $$;

-- claim: only for a live worker (H10). Lanes (queue x priority) are walked by waiting_ready in claim order;
-- strict priority, then first come. p_slots[i] bounds what queue p_queues[i] gives (H23), p_total all.
-- p_low[priority * queues + i]: watermark, places up to it are skipped (H25); null: a full rescan.
-- Limited queues are locked first and counted in a statement of their own. The reply stops at 8 MiB (H7).
-- One job: [id, uid, queue, pos, run, attempt, payload, rare]; rare is null where all of it is as usual, else
-- [max_attempts, round, attempt_timeout, retry, deadline, snoozes, losses, solo, spent]
create function claim(p_worker uuid, p_token bigint, p_queues text[], p_slots int[], p_total int, p_idle boolean,
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

-- step: what ended and what comes next, in one commit.
create function step(p_worker uuid, p_token bigint, p_done json, p_back json, p_queues text[], p_slots int[], p_total int,
                     p_idle boolean, p_low bigint[], p_expiry interval, out missed json, out alive boolean, out jobs text)
  language plpgsql as $$
declare v_keys text[];
begin
  if p_done is not null or p_back is not null then
    select a.missed, a.keys into missed, v_keys from ack(p_worker, p_done, p_back) a;
    if v_keys is not null then perform session_next(v_keys); end if;
  end if;
  if p_total > 0 then
    select c.alive, c.jobs into alive, jobs
    from claim(p_worker, p_token, p_queues, p_slots, p_total, p_idle, p_low, p_expiry) c;
  end if;
end $$;

-- beat: the heartbeat, alone (H12). A row that is gone means that this worker has expired. A gap starts
-- the steady time anew (H11): of half the expiry, for the others may have beaten almost a beat earlier.
create function beat(p_worker uuid, p_held json, p_in_flight bigint[], p_expiry interval,
                     out alive boolean, out schema_version int, out controls json, out disowned json) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  update worker set steady_since = case when beat_at < v_now - p_expiry / 2 then v_now else steady_since end, beat_at = v_now
    where id = p_worker;
  alive := found;
  select max(version) into schema_version from migration;
  if not alive then return; end if;
  select json_agg(json_build_array(id, token, control)) into controls from running where worker = p_worker and control is not null;
  -- claimed, but the reply was lost: neither held nor in flight, and older than a beat, for a claim may have
  -- been sent after this beat was composed (H8)
  select json_agg(json_build_array(r.id, r.token)) into disowned
  from running r where r.worker = p_worker and r.token <> all (p_in_flight) and r.since < v_now - p_expiry / 3
    and not exists (select from json_to_recordset(p_held) as h(i bigint, t bigint) where h.i = r.id and h.t = r.token);
end $$;

-- disown: gives back runs whose claim never arrived; the attempt is refunded (H8).
create function disown(p_worker uuid, p_runs json) returns int language plpgsql as $$ #variable_conflict use_column
declare v_back json; v_missed json; v_keys text[];
begin
  select json_agg(json_build_object('i', r.id, 't', r.token, 'k', 'lost', 'y', 'ClaimLost',
                                    'm', 'the reply to the claim was lost; given back unharmed')) into v_back
  from json_to_recordset(p_runs) as t(i bigint, t bigint) join running r on r.id = t.i and r.token = t.t and r.worker = p_worker;
  if v_back is null then return 0; end if;
  select a.missed, a.keys into v_missed, v_keys from ack(p_worker, null, v_back) a;
  if v_keys is not null then perform session_next(v_keys); end if;
  return json_array_length(v_back) - coalesce(json_array_length(v_missed), 0);
end $$;

-- progress: changed rows only, never waits for a lock (H12).
create function progress(p_worker uuid, p_rows json) returns int language plpgsql as $$ #variable_conflict use_column
declare n int; v_mirrored bigint[];
begin
  with said as materialized (select * from json_to_recordset(p_rows) as t(i bigint, t bigint, s text, e int, u bigint[])),
    mine as materialized (select r.id, said.s, said.e, said.u from running r join said on said.i = r.id and said.t = r.token
                          where r.worker = p_worker and (r.event_count, r.step, r.usage) is distinct from (said.e, said.s, said.u)
                          order by r.id for update of r skip locked),
    u as (update running r set step = mine.s, event_count = mine.e, usage = mine.u from mine where r.id = mine.id returning r.id)
  select count(*) into n from u;
  return n;
end $$;

create function register(p_worker uuid, p_name text, p_pool text, p_queues json, p_version text) returns void language sql as $$
  insert into worker (id, name, pool, queues, version, started_at, beat_at, steady_since)
  values (p_worker, p_name, p_pool, p_queues, p_version, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (id) do nothing;
$$;
