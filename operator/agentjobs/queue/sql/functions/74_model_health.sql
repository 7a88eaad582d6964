-- model_health: every breaker that counts or is open, for people and metrics. targets: what it may hold up, a hundred of them at most.
-- Indexes: running_let_through, waiting_held, model_target_breaker.
create or replace function model_health() returns table (pool text, model text, kind text, failures int, since timestamptz, reason text,
                                                         probe_at timestamptz, allowed int, running bigint, held bigint, targets text[])
  language sql stable as $$
  select b.pool, b.model, kept_reason(b.kind), b.failures, b.since, b.reason, b.probe_at, b.allowed,
         (select count(*) from running r where r.breaker = b.id),
         case when b.kind is null then 0 else
           (select count(*) from waiting w join model_target t on t.target = w.target and t.breaker = b.id where w.state = 'm') end,
         array(select t.target from model_target t where t.breaker = b.id order by t.target limit 100)
  from model_breaker b where b.kind is not null or b.failures > 0 order by b.pool, b.model $$;

-- models_of: pool and model of every breaker that may hold up unfinished jobs of a namespace; empty: those without an object. Inline agents
-- are known by their model, modules by their name. Indexes: facet_by_namespace, waiting_by_facet, model_target's primary key; all of
-- running is read.
create or replace function models_of(p_namespace text) returns table (pool text, model text) language sql stable as $$
  with mine as materialized (
    select distinct t.target from facet f cross join lateral (values (f.model), ('module:' || f.agent)) t(target)
    where f.namespace = p_namespace and t.target not in ('', 'module:')
      and (exists (select from waiting w where w.facet = f.id) or f.id in (select r.facet from running r)))
  select b.pool, b.model from model_breaker b
  where (b.kind is not null or b.failures > 0)
    and exists (select from mine where mine.target = b.model
                   or exists (select from model_target t where t.target = mine.target and t.breaker = b.id)) $$;

-- open_breakers: those that keep jobs, with what they keep, and without a count of it. For metrics. Index: model_target_breaker.
create or replace function open_breakers() returns table (pool text, model text, kind text, targets text[]) language sql stable as $$
  select b.pool, b.model, kept_reason(b.kind), array(select t.target from model_target t where t.breaker = b.id)
  from model_breaker b where b.kind is not null $$;

-- reset_model: forgets a breaker, as if the model had never failed; the next tick lets its jobs go. p_by: who asks, as record_act().
-- False: there was none. Index: the unique (pool, model). Lock order: the breaker's row.
create or replace function reset_model(p_pool text, p_model text, p_by json default null) returns boolean language plpgsql as $$
declare b model_breaker;
begin
  delete from model_breaker where pool = p_pool and model = p_model returning * into b;
  if not found then return false; end if;
  perform record_act('reset-model', '', p_model, null, null, p_by,
                     jsonb_strip_nulls(jsonb_build_object('pool', b.pool, 'failures', b.failures, 'reason', kept_reason(b.kind))), null);
  return true;
end $$;
