-- ack: ends runs. p_done ends jobs, with an answer or a permanent failure. p_back holds all other runs, and what follows is
-- decided here: cancelled or out of time when that was asked (H15), failed when the attempts (H19) or the longest wait (H16) are
-- used up, suspended when that was asked, else waiting again.
-- Each run is matched by id, worker and token. missed: the runs that were not matched, each with whether this very ack had
-- been applied before (H9). keys: the sessions whose holder has left; the caller gives them to session_next().
-- p_done: [{i id, t token, s 'c'|'f', y reason, m message, r result, x truncated, u usage, e events, l log, b log_skipped,
--          d session, c trace}]
-- p_back: [{i, t, k 'retry'|'snooze'|'release'|'cancel'|'lost', w delay in seconds, y, m, u, e, l, b, c}]
-- Charged are a retry and the sixth drain in a row (is_drain); all else is refunded. A run that could not begin (a release with a
-- delay) is due again later with each in a row, and says how many those are.
-- Waiting in a row (wait_since) leaves out what its runs took, and what it waits because a run could not begin.
-- Indexes: primary keys. Lock order: running rows by id; it inserts into the other tables.
create or replace function ack(p_worker uuid, p_done json, p_back json, out missed json, out keys text[]) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_name text; v_ok bigint[]; v_ok_back bigint[]; v_mirrored bigint[]; v_ready text[]; v_due timestamptz; v_keys text[]; v_gone int;
  v_ended bigint[];
begin
  select name into v_name from worker where id = p_worker;
  if not found then select name into v_name from lost_worker where id = p_worker; end if;
  if p_done is not null then
    with ended as materialized (
        select * from json_to_recordset(p_done) as t(i bigint, t bigint, s "char", y text, m text, r text, x boolean,
                                                     u bigint[], e int, l text, b int, d text, c text) order by i),
      run as materialized (                              -- row by row on the primary key, in the order of the ids
        select a.*, r.* from ended a cross join lateral (
          select x.ctid as tid, x.id, x.facet, x.queue, x.attempt, x.run, x.token, x.started_at, x.since, x.spent, x.session, x.mirrored
          from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r),
      gone as (delete from running where ctid = any (array(select tid from run)) returning 1),
      done as (insert into outcome (id, facet, state, reason, message, queue, attempt, run, worker, worker_name, token, started_at,
                                    run_started_at, finished_at, result, result_truncated, spent, usage, event_count,
                                    log_tail, log_skipped, session_id, trace_id)
               select id, facet, s, coalesce(y, ''), m, queue, attempt, run, p_worker, v_name, token, started_at, since, v_now,
                      r, x, spent, u, e, l, b, d, c from run),
      counted as (insert into tally (minute, facet, state, reason, n, tokens, seconds, first_id, last_id)
                  select date_trunc('minute', v_now), facet, s, left(coalesce(y, ''), 64), count(*),
                         least(9007199254740991, sum((coalesce(spent[3], 0) + coalesce(u[3], 0))::float8))::bigint,
                         date_part('epoch', sum(v_now - since)), min(id), max(id)
                  from run group by facet, s, y)
    select array_agg(id), array_agg(session) filter (where session is not null), array_agg(id) filter (where mirrored),
           (select count(*) from gone)
      into v_ok, keys, v_mirrored, v_gone from run;
    -- A cancel or a progress may have moved a row (a new ctid) while this statement waited for its lock; the delete by ctid
    -- has missed it then.
    if v_gone < cardinality(v_ok) then delete from running where id = any (v_ok); end if;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
    if v_ok is not null then perform tell_ended(v_ok); end if;
  end if;

  if p_back is not null then
    -- A statement of its own: the next one must see what committed while the locks were waited for (maxAttempts, H22).
    perform 1 from (select * from json_to_recordset(p_back) as t(i bigint, t bigint) order by i offset 0) a
      cross join lateral (select from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r;
    with ended as materialized (
        select * from json_to_recordset(p_back) as t(i bigint, t bigint, k text, w double precision, y text, m text,
                                                     u bigint[], e int, l text, b int, c text) order by i),
      run as materialized (
        select r.*, a.k, coalesce(a.y, '') as why, a.m, r.wait_since + (v_now - r.since) as row_since,
               is_drain(a.k, a.y) and r.control is distinct from 's' as drained, unbegun,
               case when unbegun then release_delay(a.w, r.releases) else coalesce(a.w, 0) end as delay,
               coalesce(a.u, r.usage) as u, coalesce(a.e, r.event_count) as e, a.l, a.b, a.c
        from ended a cross join lateral (
          select x.ctid as tid, x.* from running x where x.id = a.i and x.token = a.t and x.worker = p_worker for update) r
        cross join lateral (select a.k = 'release' and a.w > 0 and not is_drain(a.k, a.y)
                                   and r.control is distinct from 's' as unbegun) b),
      gone as (delete from running where ctid = any (array(select tid from run)) returning 1),
      judged as materialized (
        select run.*, job.round, job.max_attempts, job.active_deadline,
               run.k = 'retry' or (run.drained and coalesce(run.drains, 0) >= 5) or coalesce(run.control in ('k', 'd'), false) as charged,
               case when run.control = 'k' then 'cancelled'
                    when run.control = 'd' then 'deadline'
                    when (run.k = 'retry' or (run.drained and coalesce(run.drains, 0) >= 5))
                         and run.attempt >= job.max_attempts then 'exhausted'
                    when run.control = 's' then 'suspend'
                    when run.k = 'snooze' and v_now + make_interval(secs => run.delay)
                         > coalesce(run.row_since, v_now) + make_interval(secs => coalesce(job.retry[4], 86400)) then 'waited'
                    else 'again' end as verdict,
               v_now + make_interval(secs => run.delay) as next_at
        from run cross join lateral (select * from job where job.id = run.id offset 0) job),
      logged as (
        insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message,
                             charged, next_at, usage, event_count, log_tail, log_skipped, trace_id)
        select id, run, attempt, round, p_worker, v_name, token, since, v_now, k, why, m, charged,
               case when verdict = 'again' and delay > 0 then next_at end, u, e, l, b, c from judged),
      ended_job as (
        insert into outcome (id, facet, state, reason, message, exhausted, queue, attempt, run, worker, worker_name, token, started_at,
                             run_started_at, finished_at, spent, usage, event_count, trace_id)
        select id, facet, case when verdict = 'cancelled' then 'k'::"char" else 'f' end,
               case verdict when 'cancelled' then 'Cancelled' when 'deadline' then 'DeadlineExceeded'
                            when 'exhausted' then coalesce(nullif(why, ''), 'AttemptsExhausted') else 'WaitExceeded' end,
               case verdict when 'cancelled' then 'stopped on request during attempt ' || attempt
                            when 'deadline'
                              then concat('activeDeadlineSeconds (' || active_deadline || ') ran out during attempt ', attempt)
                            when 'exhausted' then m
                            else 'waited ' || extract(epoch from v_now - coalesce(row_since, v_now))::int
                                 || ' s in a row, next in ' || delay::int || ' s; the last reason: ' || why || coalesce(': ' || m, '') end,
               case when verdict = 'exhausted' then true end,
               queue, attempt - (not charged)::int, run, p_worker, v_name, token,
               started_at, since, v_now, spent, u, e, c
        from judged where verdict not in ('again', 'suspend')),
      back as (
        insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline,
                             reason, message, snoozes, wait_since, drains, releases, losses, spent)
        select id, facet, queue, pos, case when verdict = 'suspend' then 's'::"char" when delay > 0 then 'l' else ready_state(losses) end,
               mirrored, session, bytes, next_at, v_now, attempt - (not charged)::int, run, started_at,
               case when verdict = 'suspend' then null
                    -- nobody has started a payload that was too new: the deadline that this claim began, begins with the next
                    when unbegun and why = 'PayloadUnsupported' then nullif(deadline, since + make_interval(secs => active_deadline))
                    else deadline end,
               case when verdict = 'suspend' then 'Suspended' when delay > 0 then why else '' end,
               m || case when unbegun and releases > 0 then '; given back ' || releases + 1 || ' times in a row' else '' end,
               case when k = 'snooze' then coalesce(snoozes, 0) + 1 when not charged then snoozes end,
               case when k = 'snooze' then coalesce(row_since, v_now)
                    when not charged then row_since + make_interval(secs => case when unbegun then delay else 0 end) end,
               case when charged then null when drained then coalesce(drains, 0) + 1 else drains end,
               case when unbegun then coalesce(releases, 0) + 1 end,
               losses, plus(spent, u)
        from judged where verdict in ('again', 'suspend') order by id
        returning id, queue, state, run_at)
    select array_agg(id), array_agg(session) filter (where session is not null and verdict not in ('again', 'suspend')),
           array_agg(id) filter (where mirrored),
           (select array_agg(queue) from back where state in ('r', 'q')), (select min(run_at) from back where state = 'l'),
           (select count(*) from gone), array_agg(id) filter (where verdict not in ('again', 'suspend'))
      into v_ok_back, v_keys, v_mirrored, v_ready, v_due, v_gone, v_ended from judged;
    if v_gone < cardinality(v_ok_back) then delete from running where id = any (v_ok_back); end if;
    keys := keys || v_keys;
    if v_ended is not null then perform count_ended(v_ended); end if;
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
