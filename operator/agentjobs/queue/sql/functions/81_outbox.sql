-- Status projection: read, write to the API server, then remove what did not change meanwhile. Locked rows are skipped: a job
-- that is just moving will mark its object again.

-- outbox_read: jobs whose object shows a stale status, the oldest first: final ones at once, others when the mark is older than
-- p_coalesce, so that a short job costs one write. p_exclude: what this operator is writing now. p_closed: namespaces of which
-- the API server takes nothing now: however many jobs wait there, they are not read in place of others. p_output: whether
-- with the end of what each run has printed, one character more than an object shows; false: no such text is read.
-- Index: none for the order: a job is in the outbox only until its object is written; primary keys of outcome and job.
create or replace function outbox_read(p_limit int, p_coalesce interval, p_exclude bigint[], p_closed text[] default '{}',
                                       p_output boolean default false)
  returns table (id bigint, version bigint, marked_at timestamptz, job json)
  language plpgsql stable set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_before timestamptz := v_now - p_coalesce; v_ids bigint[];
begin
  select array_agg(id) into v_ids from (
    select x.id from outbox x
    where x.id <> all (p_exclude)
      and (x.marked_at < v_before or x.marked_at > v_now or exists (select from outcome o where o.id = x.id))
      and (p_closed = '{}' or not exists (select from job j where j.id = x.id and j.namespace = any (p_closed)))
    order by x.version limit p_limit) due;
  if v_ids is null then return; end if;
  return query select x.id, x.version, x.marked_at, v.job
    from view(v_ids, 4, p_output, 1025) v join outbox x on x.id = v.id order by x.version;
end $$;

-- projected: these versions were written: removes exactly those. A row that somebody else removed is marked again, because an older
-- status writer may have written last (H3). Answers the ids that are still, or again, stale.
-- p_done: [{i id, v version, r run of the last Event that was posted}]. Lock order: outbox rows by id, job rows by id.
create or replace function projected(p_done json) returns bigint[] language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_gone bigint[]; v_missing bigint[];
begin
  with said as materialized (select * from json_to_recordset(p_done) as t(i bigint, v bigint, r int) order by i),
    mine as materialized (select x.id from outbox x join said on said.i = x.id and said.v = x.version order by x.id
                          for update of x skip locked),
    d as (delete from outbox x using mine where x.id = mine.id)
  select array_agg(id) into v_gone from mine;
  with said as materialized (select * from json_to_recordset(p_done) as t(i bigint, v bigint, r int)),
    free as materialized (select j.id, said.r from job j join said on said.i = j.id where j.posted_run < said.r order by j.id
                          for update of j skip locked)
  update job j set posted_run = free.r from free where j.id = free.id;
  select array_agg(t.i) into v_missing from json_to_recordset(p_done) as t(i bigint, v bigint, r int)
    where t.i <> all (coalesce(v_gone, '{}')) and not exists (select from outbox x where x.id = t.i)
      and exists (select from job j where j.id = t.i and not j.object_gone and j.tombstone is null);
  if v_missing is not null then perform touch(v_missing); end if;
  return array(select t.i from json_to_recordset(p_done) as t(i bigint, v bigint, r int) where t.i <> all (coalesce(v_gone, '{}')));
end $$;

-- unchanged: these objects show these versions already: removes exactly those. Unlike projected() it marks nothing: where nothing
-- was written, nothing newer can have been overwritten. So two leaders that wrote the same do not mark it for each other for ever.
-- Index: the primary key. Lock order: outbox rows by id.
create or replace function unchanged(p_ids bigint[], p_versions bigint[]) returns int language sql as $$
  with mine as materialized (
      select x.id from outbox x join unnest(p_ids, p_versions) as said(id, version) on said.id = x.id and said.version = x.version
      order by x.id for update of x skip locked),
    gone as (delete from outbox x using mine where x.id = mine.id returning 1)
  select count(*)::int from gone $$;

-- outbox_drop: there is no object to write to. Index: the primary key. Lock order: outbox rows by id.
create or replace function outbox_drop(p_ids bigint[]) returns int language sql as $$
  with mine as materialized (select id from outbox where id = any (p_ids) order by id for update skip locked),
    d as (delete from outbox x using mine where x.id = mine.id returning 1)
  select count(*)::int from d $$;

-- touch_uids: the status of these objects was wiped, or is not to be trusted: write it again. Index: job's unique uid.
create or replace function touch_uids(p_uids uuid[]) returns int language plpgsql as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from job where uid = any (p_uids) and cluster_id is not null and not object_gone and tombstone is null;
  if v_ids is null then return 0; end if;
  perform touch(v_ids);
  return cardinality(v_ids);
end $$;

-- projections: what the objects of these jobs should show, for comparison with what they do. stale: the status writer is about to write
-- it anyway; given: the last revision that this database has given out. Past retention and of objects that are gone: nothing.
-- p_output: as in outbox_read(). Indexes: job's unique uid; primary keys.
create or replace function projections(p_uids uuid[], p_output boolean default false)
  returns table (given bigint, stale boolean, job json) language plpgsql stable set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from job where uid = any (p_uids) and cluster_id is not null and not object_gone and tombstone is null;
  return query select s.last_value, exists (select from outbox x where x.id = v.id), v.job
    from outbox_version s left join view(v_ids, 4, p_output, 1025) v on true;
end $$;

-- reach_revision: objects show revisions up to this one, of which this database knows nothing (it was restored): what it gives out from
-- now on is beyond. Answers what was the last one.
create or replace function reach_revision(p_revision bigint) returns bigint language plpgsql as $$ #variable_conflict use_column
declare v_last bigint;
begin
  select last_value into v_last from outbox_version;
  if v_last < p_revision then perform setval('outbox_version', p_revision); end if;
  return v_last;
end $$;

-- adopt_end: the object of a job shows an end that this database does not know (it was restored): it is recorded, and the job does not
-- run again. False: the job has ended, or a live worker runs it. p_end: as in enqueue(); p_expiry: a worker that has not beaten for so
-- long is none. Indexes: primary keys. Lock order: the job's row, its waiting or running row, its session.
create or replace function adopt_end(p_uid uuid, p_end json, p_expiry interval) returns boolean
  language plpgsql as $$ #variable_conflict use_column
declare v_id bigint; v_session text; v_holds boolean; v_alive timestamptz := clock_timestamp() - p_expiry;
begin
  select id into v_id from job where uid = p_uid for update;
  with waited as (
      delete from waiting where id = v_id
      returning session, started_at is not null or state in ('r', 'q', 'm') as holds, facet, queue, attempt, run, started_at, spent),
    ran as (
      delete from running r where id = v_id and not exists (select from worker k where k.id = r.worker and k.beat_at > v_alive)
      returning session, true, facet, queue, attempt, run, started_at, plus(spent, usage)),
    ended as (
      insert into outcome (id, facet, state, reason, message, queue, attempt, run, started_at, finished_at, spent, imported)
      select v_id, w.facet, e."end", coalesce(e.reason, ''), e.message, w.queue, w.attempt, w.run, w.started_at, e.finished_at,
             w.spent, e.imported
      from (select * from waited union all select * from ran) w,
           json_to_record(p_end) as e("end" "char", reason text, message text, finished_at timestamptz, imported json))
  select session, holds into v_session, v_holds from (select * from waited union all select * from ran) w;
  if not found then return false; end if;
  perform count_ended(array[v_id]);
  if v_session is not null and v_holds then perform session_next(array[v_session]); end if;
  return true;
end $$;
