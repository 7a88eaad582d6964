-- mirrored: what the sweeper compares with a LIST, page by page: p_after is the id of the last one seen. Index: job_by_cluster.
create or replace function mirrored(p_after bigint, p_limit int, p_cluster text)
  returns table (id bigint, uid uuid, namespace text, name text, accepted_at timestamptz, final boolean, generation bigint, trimmed boolean)
  language sql stable as $$
  select j.id, j.uid, j.namespace, j.name, j.accepted_at,
         j.tombstone is not null or exists (select from outcome o where o.id = j.id), j.generation, j.tombstone is not null
  from job j where j.cluster_id = p_cluster and j.id > p_after and not j.object_gone order by j.id limit p_limit $$;

-- gone: a GET has said that these objects are gone. A trimmed job has nothing left to protect then (H1), and its row goes.
-- Index: job's unique uid. Lock order: job rows by id.
create or replace function gone(p_uids uuid[]) returns int language plpgsql as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from (select id from job where uid = any (p_uids) and not object_gone order by id for update) j;
  if v_ids is null then return 0; end if;
  update job set object_gone = true where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  delete from job where id = any (v_ids) and tombstone is not null;
  return cardinality(v_ids);
end $$;
