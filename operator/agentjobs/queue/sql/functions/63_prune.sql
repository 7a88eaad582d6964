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
  delete from saved_file where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  update job set payload = null, bytes = 0, tombstone = o.state from outcome o where o.id = job.id and job.id = any (v_ids);
  delete from outcome where id = any (v_ids);
  delete from job where id = any (v_ids) and (cluster_id is null or object_gone);
  return cardinality(v_ids);
end $$;

-- forget: what retention removes beside jobs: tallies of minutes a day before p_before, for prune() has passed by locked jobs, and a
-- list takes a facet without tallies for one without complete jobs (complete_lanes); and facets that no new job has taken for a week
-- and no job has any more. A facet is left out of enqueue() a week before it may go, so no open transaction has just taken it.
-- Indexes: tally_minute_time, tally_key's primary key, tally_first_time, job_by_facet; of the facets the table is read,
-- which has a row per combination and week.
create or replace function forget(p_before timestamptz, p_limit int) returns void language sql as $$
  delete from tally_minute where ctid = any (array(
    select ctid from tally_minute where minute < p_before - interval '1 day' order by minute limit p_limit));
  delete from tally_key where ctid = any (array(
    select k.ctid from unnest('{q,n,a,m,r}'::"char"[]) b cross join unnest('{5,60}'::smallint[]) m cross join lateral (
      select x.ctid from tally_key x where x.by = b and x.minutes = m and x.begins < p_before - interval '1 day'
      order by x.by, x.minutes, x.begins limit p_limit) k));
  delete from tally_first where ctid = any (array(
    select ctid from tally_first where minute < p_before - interval '1 day' order by minute limit p_limit));
  delete from facet where id = any (array(
    select f.id from facet f where f.made_at < p_before - interval '14 days'
      and not exists (select from job j where j.facet = f.id) limit p_limit));
$$;

-- forget_output: removes the output of running jobs that nobody has read since p_before. Index: output_tail_wanted.
create or replace function forget_output(p_before timestamptz, p_limit int) returns void language sql as $$
  delete from output_tail where ctid = any (array(
    select ctid from output_tail where wanted_until < p_before order by wanted_until limit p_limit));
$$;

-- retention: rolls up what has ended in the minutes that are over; and prunes a batch, where the last pass ended a minute ago. Where
-- nobody else does. And a batch of the audit, where p_audit_age is given. Answers how many jobs it has pruned; p_limit of them: there
-- are more.
-- Lock order: an advisory lock that nobody waits for, then prune()'s.
create or replace function retention(p_age interval, p_limit int default 1000, p_audit_age interval default null) returns int
  language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); n int; m int := 0;
begin
  if not pg_try_advisory_xact_lock(hashtext('agentjobs retention')) then return 0; end if;
  perform roll_up(date_trunc('minute', v_now), 20 * p_limit);
  perform forget_output(v_now - interval '1 minute', p_limit);
  perform forget_awaited(v_now, p_limit);
  if exists (select from upkeep where pruned_at > v_now - interval '1 minute') then return 0; end if;
  n := prune(p_age, p_limit);
  if p_audit_age is not null then m := prune_audit(p_audit_age, p_limit); end if;
  if n < p_limit and m < p_limit then
    perform forget(v_now - p_age, 20 * p_limit);
    update upkeep set pruned_at = v_now;
  end if;
  return n;
end $$;

-- kept_records: those of these jobs whose record retention has not removed. Index: job's uid.
create or replace function kept_records(p_uids uuid[]) returns uuid[] language sql stable
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  select coalesce(array_agg(uid), '{}') from job where uid = any (p_uids) and tombstone is null
$$;
