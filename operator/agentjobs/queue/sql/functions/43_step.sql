-- step: one round trip of a worker, in one commit: it hears how models answered, ends runs, and claims what comes next.
-- held: the jobs of p_back whose failed run was refunded, because their model is held up.
-- p_models, p_back, p_done and p_asks are told at hear_models(), ack() and park(); the rest at claim().
-- Lock order: breakers by model (hear_models), this worker's running rows by id (park, then ack), sessions by key (session_next),
-- then as claim().
create or replace function step(p_worker uuid, p_token bigint, p_done json, p_back json, p_queues text[], p_slots int[], p_total int,
                                p_idle boolean, p_low bigint[], p_expiry interval, p_models json default null, p_asks json default null,
                                out missed json, out alive boolean, out jobs text, out held bigint[])
  language plpgsql as $$
declare v_back json := p_back; v_parked bigint[]; v_keys text[]; v_reasons text[]; v_waits double precision[];
begin
  if p_models is not null then
    select h.ids, h.reasons, h.waits into held, v_reasons, v_waits from hear_models(p_worker, p_models) h;
  end if;
  if p_asks is not null then
    v_parked := park(p_worker, p_asks);
    -- what park() leaves goes to ack(), which cancels it, or says that it is lost
    select json_agg(x.row) into v_back from (
      select (a::jsonb || '{"k": "release"}')::json as row
      from json_array_elements(p_asks) a where (a->>'i')::bigint <> all (coalesce(v_parked, '{}'))
      union all select json_array_elements(p_back)) x;
  end if;
  if held is not null then
    select json_agg(case when kept.id is null or x->>'k' not in ('retry', 'snooze') then x
                         when kept.reason is null then (x::jsonb || '{"k": "retry"}')::json
                         else (x::jsonb || jsonb_build_object('k', 'snooze', 'w', kept.wait, 'y', kept.reason))::json end)
      into v_back from json_array_elements(v_back) x
      left join (select distinct on (id) id, reason, wait from unnest(held, v_reasons, v_waits) k(id, reason, wait)
                 order by id, reason nulls last) kept on kept.id = (x->>'i')::bigint;    -- a run may have failed by two models
    select array_agg(distinct id) into held from unnest(held, v_reasons) kept(id, reason) where reason is not null;
  end if;
  if p_done is not null or v_back is not null then
    select a.missed, a.keys into missed, v_keys from ack(p_worker, p_done, v_back) a;
    if held is not null then perform keep_acked(held); end if;
    if v_keys is not null then perform session_next(v_keys); end if;
  end if;
  if p_total > 0 then
    select c.alive, c.jobs into alive, jobs
    from claim(p_worker, p_token, p_queues, p_slots, p_total, p_idle, p_low, p_expiry) c;
  end if;
end $$;
