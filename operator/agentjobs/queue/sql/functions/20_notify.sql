-- Wake-ups. They are hints only: polling finds the same facts. Postgres sends each once per transaction, at its commit.

-- touch: marks the objects of these jobs as stale, for the operator to project. The caller holds the rows of the jobs (waiting,
-- running or job), so no two transactions mark the same job at once. Index: the primary key of outbox; rows in the order of
-- the ids.
create or replace function touch(p_ids bigint[]) returns void language sql as $$
  insert into outbox (id, version, marked_at)
  select i, nextval('outbox_version'), clock_timestamp() from unnest(p_ids) i order by i
  on conflict (id) do update set version = excluded.version;
  select pg_notify('agentjobs_outbox', '');
$$;

-- notify_ready: wakes workers that serve these queues.
create or replace function notify_ready(p_queues text[]) returns void language sql as
  $$ select pg_notify('agentjobs_ready', q) from unnest(p_queues) q $$;
