-- Two statements of the client become functions, so that no role needs a right on a table for them.

-- unregister: the end of a drain. Whoever knows the worker's uuid is the worker.
create function unregister(p_worker uuid) returns void language sql as
  'delete from worker where id = p_worker';

-- unchanged: objects that show these versions already: removes exactly those. Unlike projected it marks nothing: where
-- nothing was written, nothing newer can be overwritten. So two leaders that wrote the same do not mark it for each other
-- for ever. Index: the primary key; locked rows are skipped.
create function unchanged(p_ids bigint[], p_versions bigint[]) returns int language sql as $$
  with mine as materialized (
      select x.id from outbox x join unnest(p_ids, p_versions) as said(id, version) on said.id = x.id and said.version = x.version
      order by x.id for update of x skip locked),
    gone as (delete from outbox x using mine where x.id = mine.id returning 1)
  select count(*)::int from gone $$;
