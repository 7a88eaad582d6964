-- prune: retention of finished jobs, the oldest first. A job without an object goes whole. Of one with an object the row stays,
-- with uid and final state, until the object is known to be gone: it could run again otherwise (H1). Answers how many.
-- Index: outcome_time. Lock order: job rows, as control() and apply() take them; then what a retry has left of the outcomes.
create or replace function prune(p_age interval, p_limit int) returns int language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_before timestamptz := clock_timestamp() - p_age; v_ids bigint[];
begin
  select array_agg(id) into v_ids
  from (select j.id from outcome o join job j on j.id = o.id where o.finished_at < v_before
        order by o.finished_at limit p_limit for update of j skip locked) j;
  if v_ids is null then return 0; end if;
  select array_agg(id) into v_ids
  from (select id from outcome where id = any (v_ids) and finished_at < v_before for update) o;
  if v_ids is null then return 0; end if;
  delete from attempt where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  update job set payload = null, bytes = 0, tombstone = o.state from outcome o where o.id = job.id and job.id = any (v_ids);
  delete from outcome where id = any (v_ids);
  delete from job where id = any (v_ids) and (cluster_id is null or object_gone);
  return cardinality(v_ids);
end $$;
