-- The output of a run while it runs: stored while somebody reads it, and at no other time.

-- want_output: what the job's run has printed lately, and that somebody reads it for p_for from now on: its worker hears that with its
-- next beat, and stores it (store_output). run: null: the job does not run. at: when output was stored; null: not yet. output: null: it
-- is that of p_seen still. skipped: lines that were printed before output.
-- Indexes: job's unique uid, primary keys. Lock order: the row of output_tail, which store_output passes by while it is locked.
create or replace function want_output(p_uid uuid, p_for interval, p_seen timestamptz,
                                       out run int, out at timestamptz, out skipped int, out output text) language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_run running; v_tail output_tail;
begin
  select r.* into v_run from job j join running r on r.id = j.id where j.uid = p_uid;
  if not found then return; end if;
  run := v_run.run;
  select * into v_tail from output_tail o where o.id = v_run.id and o.run = v_run.run;
  if not found or v_tail.wanted_until < v_now + p_for / 2 then
    insert into output_tail (id, run, wanted_until) values (v_run.id, v_run.run, v_now + p_for)
      on conflict (id, run) do update set wanted_until = excluded.wanted_until;
    if v_tail.id is null or v_tail.wanted_until < v_now then
      -- what an earlier reader has left may be old
      update output_tail set at = null, output = null where id = v_run.id and run = v_run.run;
      v_tail := null;
      perform pg_notify('agentjobs_control', v_run.worker::text);
    end if;
  end if;
  at := v_tail.at;
  skipped := v_tail.skipped;
  if v_tail.at is distinct from p_seen then output := v_tail.output; end if;
end $$;

-- store_output: what runs have printed that somebody reads. It skips rows that are locked, or gone: the caller sends those again, as long
-- as they are wanted. Answers how many were written. p_rows: [{i id, t token, b lines before the output, o output}]
-- Indexes: primary keys. Lock order: rows of output_tail by id, skipping.
create or replace function store_output(p_worker uuid, p_rows json) returns int language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare n int;
begin
  with said as materialized (
      select a.i, r.run, a.b, a.o from json_to_recordset(p_rows) as a(i bigint, t bigint, b int, o text) cross join lateral (
        select x.run from running x where x.id = a.i and x.token = a.t and x.worker = p_worker) r),
    mine as materialized (select o.id, o.run, said.b, said.o from output_tail o join said on o.id = said.i and o.run = said.run
                          order by o.id for update of o skip locked),
    u as (update output_tail set at = clock_timestamp(), skipped = mine.b, output = mine.o from mine
          where output_tail.id = mine.id and output_tail.run = mine.run returning 1)
  select count(*) into n from u;
  return n;
end $$;
