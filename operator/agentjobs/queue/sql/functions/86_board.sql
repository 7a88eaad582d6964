-- What a board shows: who waits and runs, by namespace and queue, and what has ended by the minute. Nothing here locks anything.

-- counts: unfinished jobs by queue and state. Reads both small tables whole.
create or replace function counts() returns table (queue text, state text, n bigint) language sql stable as $$
  select queue, state_name(state, started_at is not null), count(*) from waiting group by 1, 2
  union all select queue, 'Running', count(*) from running group by 1
$$;

-- wanted_slots: how many slots a queue could use now: its jobs that run, and those that a free slot could take (ready, in quarantine, or
-- new in a session), and one more where jobs are held up by their model: somebody has to try it. Of these none while the queue is
-- paused, and no more than its limit leaves. An autoscaler divides it by the slots of a pod. It counts 100,000 of each at most. stats.py
-- says the same of all queues. Indexes: waiting_ready, waiting_quarantined, waiting_new, waiting_held; running is read whole.
create or replace function wanted_slots(p_queue text) returns bigint language plpgsql stable
  set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$ #variable_conflict use_column
declare v_running bigint; v_ready bigint := 0; v_limit int; v_paused boolean;
begin
  select count(*) into v_running from running where queue = p_queue;
  select max_running, paused_at is not null into v_limit, v_paused from queue where name = p_queue;
  if v_paused is not true then
    select (select count(*) from (select from waiting where queue = p_queue and state = 'r' limit 100000) r)
         + (select count(*) from (select from waiting where queue = p_queue and state = 'q' limit 100000) q)
         + (select count(*) from (select from waiting where queue = p_queue and state = 'n' limit 100000) n)
         + (exists (select from waiting where queue = p_queue and state = 'm'))::int into v_ready;
  end if;
  return greatest(v_running, least(v_running + v_ready, v_limit));
end $$;

-- board: all that is unfinished, in one snapshot: a job is in one place, however it moves. waits: [[namespace, queue, state, n, seconds
-- that the oldest ready one has waited]]; runs: [[namespace, queue, n]]; workers, the live processes: [[id, name, pool, slots by queue,
-- version, started_at, seconds since the last beat, running jobs]]; queues that were ever paused or limited:
-- [[name, paused_at, by, reason, limit]].
-- No index: it reads waiting, running and worker whole, in their order.
create or replace function board(p_expiry interval, out waits json, out runs json, out workers json, out queues json)
  language plpgsql stable set max_parallel_workers_per_gather = 0 set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  with sums as materialized (
      select facet, state, started_at is not null as started, count(*) as n, min(since) filter (where state = 'r') as ready
      from waiting group by 1, 2, 3),
    named as (
      select f.namespace, f.queue, state_name(s.state, s.started) as state, sum(s.n) as n, min(s.ready) as ready
      from sums s join facet f on f.id = s.facet group by 1, 2, 3)
  select json_agg(json_build_array(namespace, queue, state, n, extract(epoch from v_now - ready))) into waits from named;
  select json_agg(json_build_array(x.namespace, x.queue, x.n)) into runs
    from (select f.namespace, f.queue, count(*) as n from running r join facet f on f.id = r.facet group by 1, 2) x;
  select json_agg(json_build_array(k.id, k.name, k.pool, k.queues, k.version, k.started_at, extract(epoch from v_now - k.beat_at),
                                   coalesce(r.n, 0), k.room is not null) order by k.name, k.id) into workers
    from worker k left join (select worker, count(*) as n from running group by 1) r on r.worker = k.id
    where k.beat_at > v_now - p_expiry;
  select json_agg(json_build_array(q.name, q.paused_at, coalesce(q.paused_by, ''), coalesce(q.paused_reason, ''), q.max_running)
                  order by q.name) into queues from queue q;
end $$;

-- series: what has ended, by steps of whole minutes, from p_since to before p_until; a step begins at a multiple of its length since 1970,
-- the first one with p_since. p_by: queue, namespace, agent, model or reason. p_namespace null: all; then steps of whole five minutes, or
-- hours, read the sums of these, and the minutes only before the first and after the last of them.
-- Indexes: tally_key's primary key and tally_minute_time; with p_namespace facet_by_namespace and tally_minute_by_facet; tally has the
-- rows of two minutes or so.
create or replace function series(p_since timestamptz, p_until timestamptz, p_namespace text, p_by text, p_step interval)
  returns table (minute timestamptz, key text, state text, n bigint, tokens bigint, seconds double precision)
  language plpgsql stable set enable_seqscan = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare
  v_seconds bigint := date_part('epoch', p_step); v_minutes smallint; v_length interval; c_origin constant timestamptz := '1970-01-01Z';
  v_from timestamptz := p_until; v_to timestamptz := p_until;
begin
  if p_namespace is null then
    v_minutes := case when v_seconds % 3600 = 0 then 60 when v_seconds % 300 = 0 then 5 end;
    if v_minutes is not null then
      v_length := make_interval(mins => v_minutes);
      v_from := date_bin(v_length, p_since + v_length - interval '1 microsecond', c_origin);
      v_to := date_bin(v_length, p_until, c_origin);
      if v_from >= v_to then v_from := p_until; v_to := p_until; end if;
    end if;
    return query
    select date_bin(p_step, t.minute, c_origin), t.key, state_name(t.state, false), sum(t.n)::bigint,
           least(9007199254740991, sum(t.tokens))::bigint, sum(t.seconds)
    from (select k.begins as minute, k.key, k.state, k.n, k.tokens, k.seconds from tally_key k
          where k.by = case p_by when 'queue' then 'q' when 'namespace' then 'n' when 'agent' then 'a' when 'model' then 'm'
                                 when 'reason' then 'r' end::"char"
            and k.minutes = v_minutes and k.begins >= v_from and k.begins < v_to
          union all
          select x.minute, case p_by when 'queue' then f.queue when 'namespace' then f.namespace when 'agent' then f.agent
                                     when 'model' then f.model when 'reason' then x.reason end, x.state, x.n, x.tokens, x.seconds
          from (select * from tally_minute where minute >= p_since and minute < v_from
                union all select * from tally_minute where minute >= v_to and minute < p_until
                union all select * from tally where minute >= p_since and minute < p_until) x
          join facet f on f.id = x.facet) t
    group by 1, 2, 3 order by 1, 2, 3;
  else
    return query
    with mine as materialized (select * from facet where namespace = p_namespace)
    select date_bin(p_step, t.minute, c_origin), case p_by when 'queue' then f.queue when 'namespace' then f.namespace
             when 'agent' then f.agent when 'model' then f.model when 'reason' then t.reason end,
           state_name(t.state, false), sum(t.n)::bigint, least(9007199254740991, sum(t.tokens))::bigint, sum(t.seconds)
    from (select x.* from mine m cross join lateral (
            select * from tally_minute y where (y.facet, y.minute) >= (m.id, p_since) and (y.facet, y.minute) < (m.id, p_until) offset 0) x
          union all select * from tally y where y.minute >= p_since and y.minute < p_until and y.facet in (select id from mine)) t
    join mine f on f.id = t.facet
    group by 1, 2, 3 order by 1, 2, 3;
  end if;
end $$;
