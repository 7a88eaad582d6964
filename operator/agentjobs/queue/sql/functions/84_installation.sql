-- installation: the identity of this database: an object belongs to the installation that has marked it. A copy of the database is
-- the same installation until somebody gives it another id: update agentjobs.installation set id = gen_random_uuid().
create or replace function installation() returns uuid language sql stable as 'select id from installation';

-- release_objects: these objects belong to another installation by now: their jobs are cancelled here, and projected no more. Answers
-- how many were known, and not released before. Index: job's unique uid. Lock order: job rows by id, each with its waiting or running
-- row; sessions by key, last.
create or replace function release_objects(p_uids uuid[]) returns int language plpgsql as $$ #variable_conflict use_column
declare v_id bigint; v_key text; v_keys text[]; v_n int := 0;
begin
  for v_id in select id from job where uid = any (p_uids) and cluster_id is not null and not object_gone order by id for update loop
    update job set object_gone = true where id = v_id;
    select x.key into v_key from cancel_job(v_id, 'the object belongs to another installation') x;
    if v_key is not null then v_keys := v_keys || v_key; end if;
    delete from outbox where id = v_id;
    v_n := v_n + 1;
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return v_n;
end $$;
