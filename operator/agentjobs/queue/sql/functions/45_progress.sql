-- progress: where running jobs are. It writes only rows that changed, and skips rows that somebody has locked (H12): the
-- caller sends those again. Answers how many were written. Index: running's primary key. Lock order: running rows by id, skipping.
create or replace function progress(p_worker uuid, p_rows json) returns int language plpgsql as $$ #variable_conflict use_column
declare n int;
begin
  with said as materialized (select * from json_to_recordset(p_rows) as t(i bigint, t bigint, s text, e int, u bigint[])),
    mine as materialized (select r.id, said.s, said.e, said.u from running r join said on said.i = r.id and said.t = r.token
                          where r.worker = p_worker and (r.event_count, r.step, r.usage) is distinct from (said.e, said.s, said.u)
                          order by r.id for update of r skip locked),
    u as (update running r set step = mine.s, event_count = mine.e, usage = mine.u from mine where r.id = mine.id returning r.id)
  select count(*) into n from u;
  return n;
end $$;
