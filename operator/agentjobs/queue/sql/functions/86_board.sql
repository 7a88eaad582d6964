-- What a board shows: who waits and runs, by namespace and queue, and what has ended by the minute. Nothing here locks anything.

-- counts: unfinished jobs by queue and state. Reads both small tables whole.
create or replace function counts() returns table (queue text, state text, n bigint) language sql stable as $$
  select queue, state_name(state, started_at is not null), count(*) from waiting group by 1, 2
  union all select queue, 'Running', count(*) from running group by 1
$$;

-- board_waits: a page of the jobs that wait, counted: [[namespace, queue, state, n, seconds that the oldest ready one has waited]].
-- last: where the next page begins; size: how many jobs this one has. Index: waiting's primary key.
create or replace function board_waits(p_after bigint, p_limit int, out last bigint, out size int, out groups json)
  language plpgsql stable set enable_bitmapscan = off set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  with page as materialized (
      select w.id, w.facet, w.state, w.started_at is not null as started, w.since from waiting w where w.id > p_after
      order by w.id limit p_limit),
    sums as (select facet, state, started, count(*) as n, max(id) as last, min(since) filter (where state = 'r') as ready
             from page group by 1, 2, 3)
  select max(s.last), coalesce(sum(s.n), 0),
         coalesce(json_agg(json_build_array(f.namespace, f.queue, state_name(s.state, s.started), s.n,
                                            extract(epoch from v_now - s.ready))), '[]')
    into last, size, groups
  from sums s join facet f on f.id = s.facet;
end $$;

-- board_runs: running jobs by namespace and queue, [[namespace, queue, n]]; the live processes, [[id, name, pool, slots by queue, version,
-- started_at, seconds since the last beat, running jobs]]; and queues that were ever paused or limited, [[name, paused_at, by, reason,
-- limit]]. Reads running and worker whole: there are no more rows than slots and processes.
create or replace function board_runs(p_expiry interval, out runs json, out workers json, out queues json)
  language plpgsql stable set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  select json_agg(json_build_array(x.namespace, x.queue, x.n)) into runs
    from (select f.namespace, f.queue, count(*) as n from running r join facet f on f.id = r.facet group by 1, 2) x;
  select json_agg(json_build_array(k.id, k.name, k.pool, k.queues, k.version, k.started_at, extract(epoch from v_now - k.beat_at),
                                   coalesce(r.n, 0)) order by k.name, k.id) into workers
    from worker k left join (select worker, count(*) as n from running group by 1) r on r.worker = k.id
    where k.beat_at > v_now - p_expiry;
  select json_agg(json_build_array(q.name, q.paused_at, coalesce(q.paused_by, ''), coalesce(q.paused_reason, ''), q.max_running)
                  order by q.name) into queues from queue q;
end $$;

-- series: what has ended by the minute, from p_since to before p_until, by queue, namespace, agent, model or reason. p_namespace null:
-- all. Indexes: tally_minute_time; with p_namespace facet_by_namespace and tally_minute_by_facet; tally has the rows of two minutes or so.
create or replace function series(p_since timestamptz, p_until timestamptz, p_namespace text, p_by text)
  returns table (minute timestamptz, key text, state text, n bigint, tokens bigint, seconds double precision)
  language plpgsql stable set enable_seqscan = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
begin
  if p_namespace is null then
    return query
    select t.minute, case p_by when 'queue' then f.queue when 'namespace' then f.namespace when 'agent' then f.agent
                               when 'model' then f.model when 'reason' then t.reason end,
           state_name(t.state, false), sum(t.n)::bigint, least(9007199254740991, sum(t.tokens))::bigint, sum(t.seconds)
    from (select * from tally_minute where minute >= p_since and minute < p_until
          union all select * from tally where minute >= p_since and minute < p_until) t
    join facet f on f.id = t.facet
    group by 1, 2, 3 order by 1, 2, 3;
  else
    return query
    with mine as materialized (select * from facet where namespace = p_namespace)
    select t.minute, case p_by when 'queue' then f.queue when 'namespace' then f.namespace when 'agent' then f.agent
                               when 'model' then f.model when 'reason' then t.reason end,
           state_name(t.state, false), sum(t.n)::bigint, least(9007199254740991, sum(t.tokens))::bigint, sum(t.seconds)
    from (select x.* from mine m cross join lateral (
            select * from tally_minute y where (y.facet, y.minute) >= (m.id, p_since) and (y.facet, y.minute) < (m.id, p_until) offset 0) x
          union all select * from tally y where y.minute >= p_since and y.minute < p_until and y.facet in (select id from mine)) t
    join mine f on f.id = t.facet
    group by 1, 2, 3 order by 1, 2, 3;
  end if;
end $$;
