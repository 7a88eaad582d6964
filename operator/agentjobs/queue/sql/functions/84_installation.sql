-- installation: the identity of this database: an object belongs to the installation that has marked it. A database that was made as
-- a copy of another one (create database .. template ..) gets an id of its own while that one is there; a restored one keeps its own.
create or replace function installation() returns uuid language plpgsql as $$ #variable_conflict use_column
declare v_id uuid;
begin
  update installation i set id = gen_random_uuid(), database = own.oid, database_name = own.datname
    from pg_database own, pg_database other
    where own.datname = current_database() and own.oid <> i.database and other.oid = i.database and other.datname = i.database_name;
  select id into v_id from installation;
  return v_id;
end $$;

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
    delete from job where id = v_id and tombstone is not null;         -- nothing is left to protect (H1)
    v_n := v_n + 1;
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return v_n;
end $$;
