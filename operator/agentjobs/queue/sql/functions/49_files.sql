-- note_files: what runs have told to have saved and deleted, of jobs that this worker still runs. A job's list takes no more names once
-- it has 1000. It tells nobody: the ack that follows does.
-- p_rows: [{i id, t token, f {name: [version, type, bytes, place where it is not the session store], or null where it was deleted}}]
-- Indexes: primary keys. Lock order: running rows by id, so that none of these jobs ends meanwhile, and is erased; file rows by id.
create or replace function note_files(p_worker uuid, p_rows json) returns void language sql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  with said as materialized (select * from json_to_recordset(p_rows) as t(i bigint, t bigint, f jsonb)),
    mine as materialized (select r.id, said.f from running r join said on said.i = r.id and said.t = r.token
                          where r.worker = p_worker order by r.id for share of r)
  insert into saved_file as old (id, files) select id, f from mine order by id
  on conflict (id) do update set files = case
    when (select count(*) from jsonb_object_keys(old.files)) < 1000 then jsonb_strip_nulls(old.files || excluded.files)
    else jsonb_strip_nulls(old.files || coalesce((select jsonb_object_agg(f.key, f.value) from jsonb_each(excluded.files) f
                                                  where old.files ? f.key), '{}')) end
$$;
