-- hear_models: what a worker's runs say about their models, before they are acked. Answers the jobs whose runs failed by a model
-- that is held up, with the reason, and the seconds to wait where those are known: their attempts are refunded. An entry without
-- a reason is a job that is to be charged. The jobs of one namespace make at most c_most breakers for a pool, since anybody may make
-- up names of models: what fails by further ones waits by its own retry policy.
-- p_models: [{i id, t token, m model, h 'o'|'u'|'a'|'r', y reason, w delay in seconds}]
-- Indexes: unique (pool, model) of model_breaker, primary keys. Lock order: breakers by model, each with the running
-- rows that are heard of, by id: what another ack of the same run has ended meanwhile is not heard of again.
create or replace function hear_models(p_worker uuid, p_models json, out ids bigint[], out reasons text[],
                                       out waits double precision[]) language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_pool text; v_any boolean; v_model text; v_bad boolean; v_running int; v_slots int; v_queues text[];
  v_ids bigint[]; v_heard "char"[]; v_namespace text; b model_breaker; r record;
  c_most constant int := 100;
begin
  select k.pool, exists (select from model_breaker x where x.pool = k.pool) into v_pool, v_any from worker k where k.id = p_worker;
  if v_pool is null then return; end if;
  for v_model, v_bad in
    select m, bool_or(h <> 'o') from json_to_recordset(p_models) as s(m text, h "char") group by m having v_any or bool_or(h <> 'o')
      order by m
  loop
    if v_bad then
      -- also where there is one: the insert waits for whoever is deleting it, and the failure counts in one of its own
      select coalesce(max(j.namespace), '') into v_namespace from json_to_recordset(p_models) as s(i bigint, m text, h "char")
        join job j on j.id = s.i where s.m = v_model and s.h <> 'o';
      insert into model_breaker (pool, model, since, failed_at, probe_at, namespace)
        select v_pool, v_model, v_now, v_now, v_now, v_namespace
        where (select count(*) from model_breaker x where x.pool = v_pool and x.namespace = v_namespace) < c_most
        on conflict (pool, model) do nothing;
    else                                           -- answers alone change nothing where nothing is counted
      continue when not exists (select from model_breaker x where x.pool = v_pool and x.model = v_model
                                and (x.kind is not null or x.failures > 0));
    end if;
    select * into b from model_breaker where pool = v_pool and model = v_model for update;
    continue when not found;
    insert into model_target (breaker, target)
      select b.id, v_model
      union select b.id, j.target from json_to_recordset(p_models) as s(i bigint, m text, h "char") join job j on j.id = s.i
            where s.m = v_model and s.h <> 'o' and j.target is not null
      on conflict do nothing;
    -- statements of their own: what committed while the lock was waited for counts
    select coalesce(sum(n.value::int), 0) into v_slots from worker k, json_each_text(k.queues) n where k.pool = v_pool;
    v_running := null; v_ids := null; v_heard := null;
    for r in
      select s.i, s.h, s.y, coalesce(s.w, 0) as delay, x.run, x.queue, x.breaker is not distinct from b.id as let_through, j.target
      from json_to_recordset(p_models) as s(i bigint, t bigint, m text, h "char", y text, w double precision)
      join running x on x.id = s.i and x.token = s.t and x.worker = p_worker join job j on j.id = s.i
      where s.m = v_model order by s.i for update of x
    loop
      if r.h = 'r' and v_running is null then
        select count(*) into v_running from running x join worker k on k.id = x.worker and k.pool = v_pool join job j on j.id = x.id
          where j.target in (select target from model_target where breaker = b.id);
      end if;
      b := breaker_after(b, r.h, coalesce(r.y, ''), r.i, r.run, r.let_through, r.delay, v_running, v_slots, v_now, random());
      if r.h <> 'o' and r.target is not null then
        v_ids := v_ids || r.i; v_heard := v_heard || r.h;
      elsif b.allowed > 0 then v_queues := v_queues || r.queue;                 -- there is room for more
      end if;
    end loop;
    -- all that failed in this reply, also before the one that opened it; a lone failure beside a rate limit is charged
    select ids || array_agg(i), reasons || array_agg(kept_reason(b.kind)),
           waits || array_agg(case when b.kind = 'r' then greatest(0, extract(epoch from b.probe_at - v_now))::float8 end)
      into ids, reasons, waits
      from unnest(v_ids, v_heard) as f(i, h) where b.kind is not null and not counts_alone(b, h, i);
    -- a refused key that is this job's own affair: it is charged
    select ids || array_agg(i), reasons || array_agg(null::text), waits || array_agg(null::float8) into ids, reasons, waits
      from unnest(v_ids, v_heard) as f(i, h) where h = 'a' and counts_alone(b, h, i);
    if b.kind in ('u', 'a') then
      select coalesce(array_agg(i order by n), '{}') into b.suspects
      from (select i, max(n) as n from unnest(b.suspects || v_ids) with ordinality as x(i, n) group by i order by 2 desc limit 200) last;
    end if;
    if b.kind is null and b.failures = 0 and b.suspects = '{}' then
      delete from model_breaker where id = b.id;
    else
      update model_breaker set kind = b.kind, failures = b.failures, failed = b.failed, failed_runs = b.failed_runs, since = b.since,
             reason = b.reason, failed_at = b.failed_at, suspects = b.suspects, probe_at = b.probe_at, probe_seconds = b.probe_seconds,
             allowed = b.allowed
        where id = b.id;
    end if;
  end loop;
  perform notify_ready(v_queues, true);
end $$;
