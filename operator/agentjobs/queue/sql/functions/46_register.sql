-- register: a process begins. Its key for a model may be another one than before: where its pool's key was refused, the next
-- probe is this worker's, at once. Indexes: primary key of worker, unique (pool, model) of model_breaker. Lock order: breakers by
-- model.
create or replace function register(p_worker uuid, p_name text, p_pool text, p_queues json, p_version text) returns void language sql as $$
  with mine as materialized (select id from model_breaker where pool = p_pool and kind = 'a' and allowed = 0 order by model for update)
  update model_breaker b set probe_at = least(b.probe_at, clock_timestamp()), probe_worker = p_worker from mine where b.id = mine.id;
  insert into worker (id, name, pool, queues, version, started_at, beat_at, steady_since)
  values (p_worker, p_name, p_pool, p_queues, p_version, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (id) do nothing;
$$;

-- unregister: a process ends in good order. Whoever knows the worker's uuid is the worker. Its name stays until rescue() has seen
-- that it has left no run.
create or replace function unregister(p_worker uuid) returns void language sql as $$
  with gone as (delete from worker where id = p_worker returning id, name),
    seats as (delete from lookout where worker = p_worker)
  insert into lost_worker (id, name) select id, name from gone on conflict do nothing $$;
