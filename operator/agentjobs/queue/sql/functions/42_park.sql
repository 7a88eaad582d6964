-- park: runs that ended with a tool's question. Each job waits for a person's answer in state i: it holds its session and no
-- slot, no attempt is charged, its active deadline runs on (H17, H20). Matched as in ack(); answers the ids that it took. Runs
-- that were asked to cancel, or are out of time, it leaves to ack().
-- p_asks: [{i id, t token, y reason, m message, q requests, n inputDeadlineSeconds, u usage, e events, l log, b log_skipped, c trace}]
-- Indexes: primary keys. Lock order: running rows by id.
create or replace function park(p_worker uuid, p_asks json) returns bigint[] language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_name text; v_ids bigint[]; v_mirrored bigint[];
begin
  select name into v_name from worker where id = p_worker;
  if not found then select name into v_name from lost_worker where id = p_worker; end if;
  with said as materialized (
      select * from json_to_recordset(p_asks) as t(i bigint, t bigint, y text, m text, q json, n int,
                                                   u bigint[], e int, l text, b int, c text) order by i),
    run as materialized (
      select r.*, job.round, coalesce(said.y, '') as y, said.m, said.q, said.n,
             coalesce(said.u, r.usage) as u, coalesce(said.e, r.event_count) as e, said.l, said.b, said.c
      from said cross join lateral (
        select x.* from running x where x.id = said.i and x.token = said.t and x.worker = p_worker
          and x.control is distinct from 'k' and x.control is distinct from 'd' for update) r
      cross join lateral (select j.round from job j where j.id = r.id offset 0) job),
    logged as (
      insert into attempt (id, run, attempt, round, worker, worker_name, token, started_at, ended_at, kind, reason, message,
                           charged, usage, event_count, log_tail, log_skipped, trace_id)
      select id, run, attempt, round, p_worker, v_name, token, since, v_now, 'ask', y, m, false, u, e, l, b, c from run),
    parked as (
      insert into waiting (id, facet, queue, pos, state, mirrored, session, bytes, run_at, since, attempt, run, started_at, deadline,
                           reason, message, losses, spent, asked, asked_until)
      select id, facet, queue, pos, case when control = 's' then 's'::"char" else 'i' end, mirrored, session, bytes, run_at, v_now,
             attempt - 1, run, started_at, case when control is distinct from 's' then deadline end,
             case when control = 's' then 'Suspended' else y end, m, losses, plus(spent, u),
             json_build_object('requests', q, 'seconds', n), v_now + make_interval(secs => n)
      from run order by id)
  select array_agg(id), array_agg(id) filter (where mirrored) into v_ids, v_mirrored from run;
  delete from running where id = any (v_ids);
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  return v_ids;
end $$;
