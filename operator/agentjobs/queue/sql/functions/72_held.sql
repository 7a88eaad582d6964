-- Jobs whose model is held up wait in state m.

-- kept: whether some live pool that serves the queue keeps jobs of this target; where all of them do, with reason, message and the time
-- at which the model is tried next. A pool is live while at least one of its workers is registered. Index: model_target's primary key.
create or replace function kept(p_queue text, p_target text, out kept boolean, out reason text, out message text,
                                out next_at timestamptz) language plpgsql stable
  set enable_seqscan = off as $$
declare b model_breaker; v_all boolean := true; v_pool text; v_first model_breaker; v_now timestamptz := clock_timestamp();
begin
  kept := false; reason := '';
  for v_pool in select distinct k.pool from worker k where (k.queues->p_queue) is not null loop
    select x.* into b from model_target t join model_breaker x on x.id = t.breaker
      where t.target = p_target and x.pool = v_pool and x.kind is not null order by x.since limit 1;
    if not found then v_all := false; continue; end if;
    kept := true;
    if v_first.id is null or b.since < v_first.since then v_first := b; end if;
  end loop;
  if kept and v_all then
    reason := kept_reason(v_first.kind); message := breaker_message(v_first);
    if v_first.probe_at > v_now then next_at := v_first.probe_at; end if;
  end if;
end $$;

-- keep_acked: jobs that ack() has just given back wait for their model from now on. The rows are this transaction's, mostly; one
-- that somebody else has locked meanwhile is found by the next claim. Index: the primary keys.
create or replace function keep_acked(p_ids bigint[]) returns void language sql as $$
  with mine as materialized (
      select w.id, w.queue, j.target, j.retry[4] as most from waiting w join job j on j.id = w.id
      where w.id = any (p_ids) and (w.state in ('r', 'q') or w.state = 'l' and w.reason = 'ModelRateLimited') order by w.id
        for update of w skip locked)
  update waiting w set state = 'm', target = mine.target, reason = k.reason, message = coalesce(k.message, w.message),
         next_at = k.next_at, wait_since = coalesce(w.wait_since, clock_timestamp()),
         held_until = coalesce(w.wait_since, clock_timestamp()) + make_interval(secs => coalesce(mine.most, 86400))
  from mine cross join lateral kept(mine.queue, mine.target) k where w.id = mine.id $$;

-- put_aside: ready or quarantined jobs wait for their model. tend_models() tells them why, where no pool takes them.
-- Indexes: primary keys. Lock order: waiting rows by id, those that nobody has locked.
create or replace function put_aside(p_ids bigint[]) returns void language sql as $$
  with mine as materialized (select w.id, j.target, j.retry[4] as most from waiting w join job j on j.id = w.id
                             where w.id = any (p_ids) and w.state in ('r', 'q') order by w.id for update of w skip locked)
  update waiting w set state = 'm', target = mine.target, since = clock_timestamp(), next_at = null,
         wait_since = coalesce(w.wait_since, clock_timestamp()),
         held_until = coalesce(w.wait_since, clock_timestamp()) + make_interval(secs => coalesce(mine.most, 86400))
  from mine where w.id = mine.id $$;

-- put_suspects_aside: the same for quarantined jobs that this pool would keep: no worker makes room for a job that it may not
-- take. Index: waiting_quarantined.
create or replace function put_suspects_aside(p_pool text, p_queues text[]) returns void language plpgsql
  set enable_seqscan = off set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(w.id) into v_ids from waiting w join job j on j.id = w.id
  where w.state = 'q' and w.queue = any (p_queues)
    and exists (select from model_target t join model_breaker b on b.id = t.breaker and b.pool = p_pool and b.kind is not null
                where t.target = j.target);
  if v_ids is not null then perform put_aside(v_ids); end if;
end $$;

-- held_targets: targets of jobs of a queue that wait for their model, from p_from on, at most p_most. Index: waiting_held.
create or replace function held_targets(p_queue text, p_from text, p_most int) returns setof text language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_target text; n int := 0;
begin
  select target into v_target from waiting where state = 'm' and queue = p_queue and target >= p_from order by target limit 1;
  while v_target is not null and n < p_most loop
    return next v_target;
    n := n + 1;
    select target into v_target from waiting where state = 'm' and queue = p_queue and target > v_target order by target limit 1;
  end loop;
end $$;

-- pick: the candidates of a claim while some model is held up, in claim order, each with the breaker that lets it through or null.
-- Ready jobs that a breaker of this pool keeps are put aside, a bounded number at a time. Jobs in state m are candidates where this
-- pool's breaker lets them through, or where the pool has none. A claim looks at c_targets targets, in order, and begins at one that is
-- chosen by chance among those whose breaker lets jobs through or is another pool's: so each gets its turn. Suspects come last: one
-- poisonous prompt must not be every probe.
-- Rows are looked at before they are locked, so that another claim does not miss what this one passes by.
-- Indexes: waiting_ready, waiting_held, running_let_through, those of model_target. Lock order: breakers by model, then waiting rows; both
-- only those that nobody has locked. A breaker that is locked lets nothing through this time.
create or replace function pick(p_worker uuid, p_pool text, p_queues text[], p_slots int[], p_closed text[], p_total int, p_low bigint[],
                     out tids tid[], out ids bigint[], out breakers int[]) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  b model_breaker; v_allowed int; v_left int;
  v_gates int[] := '{}'; v_free int[] := '{}';     -- breakers of this pool, and how many more each lets through now
  v_from text := ''; v_held text[];                -- the targets that are looked at
  v_tids tid[] := '{}'; v_ids bigint[] := '{}'; v_pos bigint[] := '{}'; v_queue int[] := '{}';
  v_breaker int[] := '{}'; v_suspect boolean[] := '{}';
  c_targets constant int := 200;
  v_want int; v_batch int; v_last bigint; v_seen int; v_good bigint[]; v_bad bigint[]; v_free_ids bigint[]; r record;
begin
  for b in select * from model_breaker where pool = p_pool and kind is not null order by model loop
    v_left := 0;
    if b.probe_at <= v_now and (b.probe_worker is null or b.probe_worker = p_worker or b.probe_at < v_now - interval '1 minute') then
      select allowed into v_allowed from model_breaker where id = b.id and probe_at <= v_now for update skip locked;
      if found then select greatest(v_allowed, 1) - count(*) into v_left from running where breaker = b.id; end if;
    end if;
    v_gates := v_gates || b.id; v_free := v_free || greatest(v_left, 0);
  end loop;
  select t.target into v_from
  from (select id from model_breaker where kind is not null and (pool <> p_pool or v_free[array_position(v_gates, id)] > 0)
        order by random() limit 1) x
  cross join lateral (select target from model_target where breaker = x.id order by target limit c_targets) t
  order by random() limit 1;
  v_from := coalesce(v_from, '');

  for i in 1..cardinality(p_queues) loop
    continue when p_slots[i] <= 0 or p_queues[i] = any (p_closed);
    v_want := least(p_slots[i], p_total); v_batch := greatest(2 * v_want, 20); v_last := -1; v_free_ids := '{}';
    for round in 1..10 loop
      select count(*), max(pos), array_agg(id order by pos) filter (where not kept), array_agg(id) filter (where kept)
        into v_seen, v_last, v_good, v_bad
      from (select h.id, h.pos,
                   exists (select from model_target t where t.target = j.target and t.breaker = any (v_gates)) as kept
            from (select x.id, x.pos
                  from (select greatest(case when p_low is null then 0 else p_low[p * cardinality(p_queues) + i] end,
                                        p::bigint << 56, v_last) as low,
                               (p + 1)::bigint << 56 as high from generate_series(0, 9) p offset 0) lane
                  cross join lateral (select w.id, w.pos from waiting w where w.state = 'r' and w.queue = p_queues[i]
                                        and w.pos > lane.low and w.pos < lane.high order by w.pos limit v_batch) x
                  limit v_batch) h
            cross join lateral (select target from job where job.id = h.id offset 0) j) looked;
      v_free_ids := v_free_ids || v_good;
      if v_bad is not null then perform put_aside(v_bad); end if;
      exit when v_seen < v_batch or cardinality(v_free_ids) >= v_want;
      v_batch := 250;
    end loop;
    for r in
      select w.ctid as tid, w.id, w.pos, null::int as breaker from unnest(v_free_ids) with ordinality f(id, n)
      cross join lateral (select x.ctid, x.id, x.pos from waiting x where x.id = f.id and x.state = 'r' limit v_want
                          for update skip locked) w
      limit v_want
    loop
      v_tids := v_tids || r.tid; v_ids := v_ids || r.id; v_pos := v_pos || r.pos; v_queue := v_queue || i;
      v_breaker := v_breaker || r.breaker; v_suspect := v_suspect || false;
    end loop;
    v_held := array(select * from held_targets(p_queues[i], v_from, c_targets));
    if v_from <> '' and cardinality(v_held) < c_targets then
      v_held := v_held || array(select t from held_targets(p_queues[i], '', c_targets) t where t < v_from);
    end if;
    -- suspects last: one poisonous prompt must not be every probe
    for r in
      select w.ctid as tid, w.id, w.pos, t.breaker, t.suspect
      from (select h.target, g.breaker, g.free, suspect, coalesce(x.suspects, '{}') as suspects
            from unnest(v_held) h(target)
            left join lateral (select k.breaker, v_free[array_position(v_gates, k.breaker)] as free from model_target k
                               where k.target = h.target and k.breaker = any (v_gates) order by 2, 1 limit 1) g on true
            left join model_breaker x on x.id = g.breaker cross join (values (false), (true)) s(suspect)
            where exists (select from model_target k where k.target = h.target)) t
      cross join lateral (select x.ctid, x.id, x.pos from waiting x where x.state = 'm' and x.queue = p_queues[i] and x.target = t.target
                            and coalesce(x.losses, 0) < 3 and (x.id = any (t.suspects)) = t.suspect
                          order by x.pos limit least(v_want, t.free) for update skip locked) w
      where t.free is null or t.free > 0
    loop
      v_tids := v_tids || r.tid; v_ids := v_ids || r.id; v_pos := v_pos || r.pos; v_queue := v_queue || i;
      v_breaker := v_breaker || r.breaker; v_suspect := v_suspect || r.suspect;
    end loop;
  end loop;

  select array_agg(tid), array_agg(id), array_agg(breaker) into tids, ids, breakers
  from (select *, row_number() over (partition by queue order by pos) as of_queue
        from (select c.*, row_number() over (partition by c.breaker order by c.suspect, c.pos) as of_breaker
              from unnest(v_tids, v_ids, v_pos, v_queue, v_breaker, v_suspect) as c(tid, id, pos, queue, breaker, suspect)) c
        left join unnest(v_gates, v_free) f(gate, free) on f.gate = c.breaker
        where c.breaker is null or of_breaker <= f.free) c
  where of_queue <= p_slots[queue];
end $$;
