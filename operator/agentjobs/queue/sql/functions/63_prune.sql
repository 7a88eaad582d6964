-- prune: removes finished jobs whose retention is over. A job without an object goes whole. Of one with an object the row stays,
-- with uid and final state, until the object is known to be gone: it could run again otherwise (H1). Answers how many.
-- In no order: with a limit below it, a sort would read all that is past retention, each time.
-- Index: outcome_time. Lock order: job rows by id, as control() and apply() take them; then what a retry has left of the outcomes.
create or replace function prune(p_age interval, p_limit int) returns int language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$ #variable_conflict use_column
declare v_before timestamptz := clock_timestamp() - p_age; v_ids bigint[];
begin
  v_ids := array(select id from outcome where finished_at < v_before limit p_limit);
  v_ids := array(select id from job where id = any (v_ids) order by id for update skip locked);
  v_ids := array(select id from outcome where id = any (v_ids) and finished_at < v_before for update);
  if v_ids = '{}' then return 0; end if;
  delete from attempt where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  update job set payload = null, bytes = 0, tombstone = o.state from outcome o where o.id = job.id and job.id = any (v_ids);
  delete from outcome where id = any (v_ids);
  delete from job where id = any (v_ids) and (cluster_id is null or object_gone);
  return cardinality(v_ids);
end $$;

-- retention: prunes a batch, where nobody else does and the last pass ended a minute ago, and one of audit. Answers how many jobs;
-- p_limit of them: there are more. Lock order: an advisory lock that nobody waits for, then prune()'s.
create or replace function retention(p_age interval, p_limit int default 1000, p_audit_age interval default null) returns int
  language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); n int; m int := 0;
begin
  if not pg_try_advisory_xact_lock(hashtext('agentjobs retention'))
    or exists (select from upkeep where pruned_at > v_now - interval '1 minute') then
    return 0;
  end if;
  n := prune(p_age, p_limit);
  if p_audit_age is not null then m := prune_audit(p_audit_age, p_limit); end if;
  if n < p_limit and m < p_limit then update upkeep set pruned_at = v_now; end if;
  return n;
end $$;
