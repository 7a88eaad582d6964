-- unregister is gone, register answers whether the worker was new: it returns something else now.
create or replace function register(p_worker uuid, p_name text, p_pool text, p_queues json, p_version text) returns boolean
  language plpgsql as $$
begin
  insert into worker (id, name, pool, queues, version, started_at, beat_at, steady_since)
  values (p_worker, p_name, p_pool, p_queues, p_version, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (id) do nothing;
  return found;
end $$;
