-- Model health: a breaker per pool and model (docs/model-health.md). While it is open, the pool claims no job of
-- that model but one probe at a time; then the ramp. Jobs that it keeps wait in a state of their own ('m'), in an index
-- of their own, so that claims do not walk over them. They belong to no pool: another pool of the queue whose breaker
-- for the model is closed takes them as if they were ready.
--
-- A job's target stands for its model: the model of an inline agent, else 'module:' and the module. What a breaker
-- keeps is the model itself and the targets that failed by it since.
--
-- Lock order: breakers by model, then job rows, sessions, queues. Claims and tick() pass by a locked breaker.

alter table job add column target text collate "C";          -- null: not known, never kept
alter table waiting add column target text collate "C",      -- in state m only, as the next
                    add column held_until timestamptz;       -- maxWaitSeconds (H16)
alter table running add column breaker int;                  -- that let it through, as a probe or in the ramp
create index waiting_held on waiting (queue, target, pos) where state = 'm';
create index waiting_held_reason on waiting (queue, target, reason) where state = 'm';
create index waiting_held_until on waiting (held_until) where state = 'm';
create index running_let_through on running (breaker) where breaker is not null;

create function target_of(p_agent json) returns text language sql immutable as
  'select left(coalesce(p_agent->''inline''->>''model'', ''module:'' || (p_agent->>''module'')), 253)';
update job set target = target_of(payload->'agent')
  from (select id from waiting union all select id from running) unfinished where unfinished.id = job.id;

create table model_breaker (
  id            int generated always as identity primary key,
  pool          text collate "C" not null,
  model         text collate "C" not null,
  kind          "char",                      -- open because: u unavailable, a key refused, r rate limit; null: closed, counting
  failures      int not null default 0,      -- in a row
  failed        bigint[] not null default '{}',   -- jobs of the row, with their runs: refunded when it opens as u
  failed_runs   int[] not null default '{}',
  since         timestamptz not null,        -- open since; of a closed one: its first failure
  reason        text not null default '',    -- of the last failure
  failed_at     timestamptz not null,
  probe_at      timestamptz not null,        -- nothing is let through before
  probe_seconds double precision not null default 0,
  allowed       int not null default 0,      -- the ramp: how many may run at once; 0: a probe
  probe_worker  uuid,                        -- the next probe is this one's, for a minute: it came with another key, perhaps
  suspects      bigint[] not null default '{}',   -- jobs that it kept after a failure: it may be their prompts' fault
  unique (pool, model)
) with (fillfactor = 50);
create table model_target (
  breaker int not null references model_breaker on delete cascade,
  target  text collate "C" not null,
  primary key (target, breaker)
);
create index model_target_breaker on model_target (breaker);

-- counts_alone: whether a failure is one of a row that may open the breaker, or open it again, and is charged until then:
-- one alone may be its prompt's fault. Pure.
create function counts_alone(b model_breaker, p_heard "char", p_id bigint) returns boolean language sql immutable as $$
  select case when p_id = any (b.suspects) and p_heard in ('u', 'a') then b.kind is null or b.kind = 'r' or b.allowed > 0
              else p_heard = 'u' and (b.kind is null or b.kind = 'r') end $$;

-- breaker_after: what a breaker is after it heard of one run. Pure: all that decides is in its arguments.
-- p_heard: o the model answered, u unavailable (transport, 5xx, time-out), a the key was refused, r rate limit.
-- p_let_through: the run was a probe, or of the ramp. p_delay: seconds, of r. p_running: jobs of the model that run in
-- the pool; p_slots: all slots of the pool. p_luck: 0 to 1. A suspect that fails though others have been answered since
-- is like any that fails alone.
create function breaker_after(b model_breaker, p_heard "char", p_reason text, p_id bigint, p_run int, p_let_through boolean,
                              p_delay double precision, p_running int, p_slots int, p_now timestamptz, p_luck double precision)
  returns model_breaker language plpgsql immutable set search_path = agentjobs, pg_temp as $$
declare
  c_failures constant int := 5;
  c_first    constant double precision := 30;
  c_longest  constant double precision := 600;
  c_kept     constant int := 50;               -- failures of a row that are kept for their refund
  v_open     boolean := b.kind is not null;
  v_mine     boolean := p_let_through and p_now >= b.probe_at;   -- not of a ramp that has ended meanwhile
  v_jitter   double precision := 0.9 + 0.2 * p_luck;
  v_alone    boolean := counts_alone(b, p_heard, p_id);
begin
  if p_heard = 'o' then
    if not v_open or b.kind = 'r' then b.failures := 0; b.failed := '{}'; b.failed_runs := '{}'; end if;
    if v_open and v_mine then
      if b.allowed = 0 then b.failures := 0; b.failed := '{}'; b.failed_runs := '{}'; end if;
      b.allowed := greatest(b.allowed, 1) + 1;                   -- one more per answer: twice as many per round
      if b.allowed >= p_slots then
        b.kind := null; b.failures := 0; b.failed := '{}'; b.failed_runs := '{}'; b.allowed := 0;
      end if;
    elsif v_open and b.kind <> 'r' and b.allowed = 0 then
      b.probe_at := least(b.probe_at, p_now);                    -- it began before; but the model does answer
    end if;
    return b;
  end if;

  b.reason := p_reason; b.failed_at := p_now;
  if v_alone then
    if not v_open and b.failures = 0 then b.since := p_now; end if;
    if p_id <> all (b.failed) then b.failures := b.failures + 1; end if;
    if cardinality(b.failed) < c_kept then b.failed := b.failed || p_id; b.failed_runs := b.failed_runs || p_run; end if;
    if b.failures >= c_failures then
      b.kind := p_heard; b.since := p_now; b.allowed := 0; b.probe_seconds := c_first;
      b.probe_at := p_now + make_interval(secs => c_first * v_jitter);
    end if;
  elsif p_heard = 'r' then
    if not v_open or (v_mine and b.kind <> 'r') then
      b.kind := 'r'; b.since := p_now; b.failures := 0; b.failed := '{}'; b.failed_runs := '{}';
      b.allowed := greatest(1, case when v_open then 1 else p_running / 2 end);
      b.probe_at := p_now + make_interval(secs => greatest(p_delay, 1));
    elsif b.kind = 'r' then                                      -- the first of a burst halves, the others wait with it
      if v_mine then b.allowed := greatest(1, p_running / 2); end if;
      b.probe_at := greatest(b.probe_at, p_now + make_interval(secs => greatest(p_delay, 1)));
    end if;
  elsif not v_open or (b.kind <> p_heard and (v_mine or (p_heard = 'a' and (b.allowed = 0 or b.kind = 'r')))) then
    b.kind := p_heard; b.since := p_now; b.failures := 1; b.failed := '{}'; b.failed_runs := '{}'; b.allowed := 0;
    b.probe_seconds := c_first; b.probe_at := p_now + make_interval(secs => c_first * v_jitter);
  else
    b.failures := b.failures + 1;
    if v_mine then                                               -- a probe failed: half as often; or the ramp: open again
      if b.allowed = 0 then b.probe_seconds := least(2 * b.probe_seconds, c_longest); end if;
      b.allowed := 0; b.probe_at := p_now + make_interval(secs => b.probe_seconds * v_jitter);
    end if;
  end if;
  return b;
end $$;

create function iso_time(p_time timestamptz) returns text language sql stable as
  $$ select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;

create function kept_reason(p_kind "char") returns text language sql immutable as
  'select case p_kind when ''u'' then ''ModelUnavailable'' when ''a'' then ''ModelAuthFailed'' when ''r'' then ''ModelRateLimited'' end';

create function counted(n int, p_what text) returns text language sql immutable as
  $$ select n || ' ' || p_what || case n when 1 then '' else 's' end $$;

create function breaker_message(b model_breaker) returns text language sql stable as $$
  select case
      when b.kind = 'r' then 'model ' || b.model || ' is rate limited for pool ' || b.pool || ' since ' || iso_time(b.since)
                             || '; goes on at ' || iso_time(b.probe_at)
      when b.allowed > 0 then 'model ' || b.model || ' answers pool ' || b.pool || ' again; its jobs go on a few at a time'
      when b.kind = 'u' then 'model ' || b.model || ' is unavailable to pool ' || b.pool || ' since ' || iso_time(b.since) || ' ('
                             || counted(b.failures, 'failure') || ' in a row, the last: ' || b.reason || '); one job probes it at '
                             || iso_time(b.probe_at) || ', the others follow when it answers'
      else 'the provider refuses the key of pool ' || b.pool || ' for model ' || b.model || ' since ' || iso_time(b.since)
           || ' (' || counted(b.failures, 'time') || '); correct the pool''s model key; one job probes it at ' || iso_time(b.probe_at)
           || ', or when a worker starts' end
$$;

-- kept: whether a live pool that serves the queue keeps this target; reason and message where all of them do.
-- A pool lives as long as its workers have rows.
create function kept(p_queue text, p_target text, out kept boolean, out reason text, out message text) language plpgsql stable
  set enable_seqscan = off as $$
declare b model_breaker; v_all boolean := true; v_pool text; v_first model_breaker;
begin
  kept := false; reason := '';
  for v_pool in select distinct k.pool from worker k where (k.queues->p_queue) is not null loop
    select x.* into b from model_target t join model_breaker x on x.id = t.breaker
      where t.target = p_target and x.pool = v_pool and x.kind is not null order by x.since limit 1;
    if not found then v_all := false; continue; end if;
    kept := true;
    if v_first.id is null or b.since < v_first.since then v_first := b; end if;
  end loop;
  if kept and v_all then reason := kept_reason(v_first.kind); message := breaker_message(v_first); end if;
end $$;

-- hear_models: what a worker's runs say about their models, before they are acked. Breakers are locked in the order of
-- their models. Answers the jobs whose runs failed by a model that is held up, why, and how long where that is known:
-- their attempts are refunded; and, without a reason, those that are to be charged.
-- p_models: [{i id, t token, m model, h 'o'|'u'|'a'|'r', y reason, w delay in seconds}]
create function hear_models(p_worker uuid, p_models json, out ids bigint[], out reasons text[], out waits double precision[]) language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_pool text; v_any boolean; v_model text; v_bad boolean; v_running int; v_slots int; v_queues text[]; v_ids bigint[]; v_heard "char"[]; b model_breaker; r record;
begin
  select k.pool, exists (select from model_breaker x where x.pool = k.pool) into v_pool, v_any from worker k where k.id = p_worker;
  if v_pool is null then return; end if;
  for v_model, v_bad in
    select m, bool_or(h <> 'o') from json_to_recordset(p_models) as s(m text, h "char") group by m having v_any or bool_or(h <> 'o') order by m
  loop
    if v_bad then
      insert into model_breaker (pool, model, since, failed_at, probe_at) values (v_pool, v_model, v_now, v_now, v_now)
        on conflict (pool, model) do nothing;
    else                                           -- answers alone change nothing where nothing is counted
      continue when not exists (select from model_breaker x where x.pool = v_pool and x.model = v_model and (x.kind is not null or x.failures > 0));
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
      where s.m = v_model order by s.i
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
           waits || array_agg(case when b.kind = 'r' then greatest(0, extract(epoch from b.probe_at - v_now))::float8 end) into ids, reasons, waits
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
             reason = b.reason, failed_at = b.failed_at, suspects = b.suspects, probe_at = b.probe_at, probe_seconds = b.probe_seconds, allowed = b.allowed
        where id = b.id;
    end if;
  end loop;
  perform notify_ready(array(select distinct q from unnest(v_queues) q));
end $$;

-- keep_acked: jobs that were just given back by ack, because their model is held up: they wait for it. Rows of this
-- transaction, mostly; what somebody else has locked meanwhile is found by the next claim.
create function keep_acked(p_ids bigint[]) returns void language sql as $$
  with mine as materialized (
      select w.id, w.queue, j.target, j.retry[4] as most from waiting w join job j on j.id = w.id
      where w.id = any (p_ids) and (w.state in ('r', 'q') or w.state = 'l' and w.reason = 'ModelRateLimited') order by w.id for update of w skip locked)
  update waiting w set state = 'm', target = mine.target, reason = k.reason, message = coalesce(k.message, w.message),
         wait_since = coalesce(w.wait_since, clock_timestamp()),
         held_until = coalesce(w.wait_since, clock_timestamp()) + make_interval(secs => coalesce(mine.most, 86400))
  from mine cross join lateral kept(mine.queue, mine.target) k where w.id = mine.id $$;

-- pick: the candidates of a claim while some model is held up, in claim order. Ready jobs that a breaker of this pool
-- keeps are put aside, a bounded number at a time; kept ones are taken where this pool's breaker lets them through, or
-- where it has none. Rows are looked at before they are locked: another claim must not miss what this one passes by.
-- Indexes: waiting_ready, waiting_held, running_let_through. Breakers that are locked let nothing through this time.
create function pick(p_worker uuid, p_pool text, p_queues text[], p_slots int[], p_closed text[], p_total int, p_low bigint[],
                     out tids tid[], out ids bigint[], out breakers int[]) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  b model_breaker; v_allowed int; v_left int;
  v_gates int[] := '{}'; v_free int[] := '{}';     -- breakers of this pool, and how many more each lets through now
  v_targets text[]; v_by int[];                    -- what they keep
  v_tids tid[] := '{}'; v_ids bigint[] := '{}'; v_pos bigint[] := '{}'; v_queue int[] := '{}'; v_breaker int[] := '{}'; v_suspect boolean[] := '{}';
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
  select array_agg(target), array_agg(breaker) into v_targets, v_by
  from (select distinct on (t.target) t.target, t.breaker from unnest(v_gates, v_free) g(id, free) join model_target t on t.breaker = g.id
        order by t.target, g.free, t.breaker) strictest;

  for i in 1..cardinality(p_queues) loop
    continue when p_slots[i] <= 0 or p_queues[i] = any (p_closed);
    v_want := least(p_slots[i], p_total); v_batch := greatest(2 * v_want, 20); v_last := -1; v_free_ids := '{}';
    for round in 1..10 loop
      select count(*), max(pos), array_agg(id order by pos) filter (where not kept), array_agg(id) filter (where kept)
        into v_seen, v_last, v_good, v_bad
      from (select h.id, h.pos, coalesce(j.target = any (v_targets), false) as kept
            from (select x.id, x.pos
                  from (select greatest(case when p_low is null then 0 else p_low[p * cardinality(p_queues) + i] end, p::bigint << 56, v_last) as low,
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
      cross join lateral (select x.ctid, x.id, x.pos from waiting x where x.id = f.id and x.state = 'r' limit v_want for update skip locked) w
      limit v_want
    loop
      v_tids := v_tids || r.tid; v_ids := v_ids || r.id; v_pos := v_pos || r.pos; v_queue := v_queue || i; v_breaker := v_breaker || r.breaker;
      v_suspect := v_suspect || false;
    end loop;
    -- suspects last: one poisonous prompt must not be every probe
    for r in
      select w.ctid as tid, w.id, w.pos, t.breaker, t.suspect
      from (select t.target, g.by as breaker, f.free, suspect, coalesce(x.suspects, '{}') as suspects
            from (select distinct target from model_target) t
            left join unnest(v_targets, v_by) g(target, by) on g.target = t.target left join unnest(v_gates, v_free) f(id, free) on f.id = g.by
            left join model_breaker x on x.id = g.by cross join (values (false), (true)) s(suspect)) t
      cross join lateral (select x.ctid, x.id, x.pos from waiting x where x.state = 'm' and x.queue = p_queues[i] and x.target = t.target
                            and coalesce(x.losses, 0) < 3 and (x.id = any (t.suspects)) = t.suspect
                          order by x.pos limit least(v_want, t.free) for update skip locked) w
      where t.free is null or t.free > 0
    loop
      v_tids := v_tids || r.tid; v_ids := v_ids || r.id; v_pos := v_pos || r.pos; v_queue := v_queue || i; v_breaker := v_breaker || r.breaker;
      v_suspect := v_suspect || r.suspect;
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

-- put_aside: ready or quarantined jobs wait for their model. They are told why by tend_models, where no pool takes them.
create function put_aside(p_ids bigint[]) returns void language sql as $$
  with mine as materialized (select w.id, j.target, j.retry[4] as most from waiting w join job j on j.id = w.id
                             where w.id = any (p_ids) and w.state in ('r', 'q') order by w.id for update of w skip locked)
  update waiting w set state = 'm', target = mine.target, since = clock_timestamp(), wait_since = coalesce(w.wait_since, clock_timestamp()),
         held_until = coalesce(w.wait_since, clock_timestamp()) + make_interval(secs => coalesce(mine.most, 86400))
  from mine where w.id = mine.id $$;

-- put_suspects_aside: quarantined jobs too: no worker makes room for a job that it may not take. Index: waiting_quarantined.
create function put_suspects_aside(p_pool text, p_queues text[]) returns void language plpgsql
  set enable_seqscan = off set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(w.id) into v_ids from waiting w join job j on j.id = w.id
  where w.state = 'q' and w.queue = any (p_queues)
    and exists (select from model_target t join model_breaker b on b.id = t.breaker and b.pool = p_pool and b.kind is not null where t.target = j.target);
  if v_ids is not null then perform put_aside(v_ids); end if;
end $$;

-- tend_models: what time does to breakers; a stage of tick(). Returns the sessions that lost their holder.
create function tend_models(p_limit int, out keys text[]) language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare b model_breaker; h record; v_ids bigint[]; v_locked bigint[]; v_mirrored bigint[]; n int;
begin
  -- refunds: the failures that opened a breaker were charged before anybody knew
  for b in select * from model_breaker where kind in ('u', 'a') and allowed = 0 and failed <> '{}' order by model for update skip locked loop
    with owed as materialized (select f.id, f.run from unnest(b.failed, b.failed_runs) f(id, run)
                               join attempt a on a.id = f.id and a.run = f.run and a.charged),
      jobs as materialized (select id, count(*)::int as n from owed group by id),
      w as materialized (select w.id, jobs.n, w.queue, j.target, j.retry[4] as most, w.mirrored, w.state = 'l' and w.reason = 'Backoff' as waits
                         from waiting w join jobs on jobs.id = w.id join job j on j.id = w.id order by w.id for update of w skip locked),
      r as materialized (select r.id, jobs.n, r.mirrored from running r join jobs on jobs.id = r.id order by r.id for update of r skip locked),
      back as (update waiting x set attempt = greatest(0, x.attempt - w.n),
                 state = case when waits then 'm'::"char" else x.state end, target = case when waits then w.target else x.target end,
                 since = case when waits then clock_timestamp() else x.since end,
                 reason = case when waits then k.reason else x.reason end,
                 message = case when waits then coalesce(k.message, x.message) else x.message end,
                 wait_since = coalesce(x.wait_since, clock_timestamp()),
                 held_until = coalesce(x.wait_since, clock_timestamp()) + make_interval(secs => coalesce(w.most, 86400))
               from w cross join lateral kept(w.queue, w.target) k where x.id = w.id),
      run as (update running x set attempt = greatest(1, x.attempt - r.n) from r where x.id = r.id),
      note as (update attempt a set charged = false from owed where a.id = owed.id and a.run = owed.run
                 and (a.id in (select id from w) or a.id in (select id from r)))
    select array_agg(id) filter (where mirrored), array_agg(id) into v_mirrored, v_ids
    from (select id, mirrored from w union all select id, mirrored from r) done;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
    -- somebody has them locked at this moment: with the next tick
    select array_agg(f.id) into v_locked from unnest(b.failed, b.failed_runs) f(id, run)
      join attempt a on a.id = f.id and a.run = f.run and a.charged
      where f.id <> all (coalesce(v_ids, '{}')) and not exists (select from outcome o where o.id = f.id);
    update model_breaker set failed = coalesce(array(select f.id from unnest(b.failed, b.failed_runs) f(id, run) where f.id = any (v_locked)), '{}'),
           failed_runs = coalesce(array(select f.run from unnest(b.failed, b.failed_runs) f(id, run) where f.id = any (v_locked)), '{}')
      where id = b.id;
  end loop;

  -- nobody waits for it, or its pool is gone
  delete from model_breaker where id in (
    select x.id from model_breaker x
    where (x.kind is null and x.failed_at < clock_timestamp() - interval '1 hour')
       or not exists (select from worker k where k.pool = x.pool)
       or (x.kind is not null and x.probe_at < clock_timestamp() - interval '10 minutes'
           and not exists (select from running r where r.breaker = x.id)
           and not exists (select from waiting w join model_target t on t.target = w.target where t.breaker = x.id and w.state = 'm' and coalesce(w.losses, 0) < 3))
    for update of x skip locked);

  -- queue by queue and target by target: kept no more, or with a reason to tell
  for h in
    with recursive pair as (
      (select queue, target from waiting where state = 'm' order by queue, target limit 1)
      union all
      select n.queue, n.target from pair p cross join lateral (
        select w.queue, w.target from waiting w where w.state = 'm' and (w.queue, w.target) > (p.queue, p.target) order by w.queue, w.target limit 1) n)
    select p.queue, p.target, k.* from pair p cross join lateral kept(p.queue, p.target) k
  loop
    if not h.kept then
      with mine as materialized (select id from waiting where state = 'm' and queue = h.queue and target = h.target order by pos limit p_limit for update skip locked),
        freed as (update waiting w set state = ready_state(w.losses), since = clock_timestamp(), reason = '', message = null,
                    wait_since = case when w.snoozes is not null then w.wait_since end
                  from mine where w.id = mine.id returning w.id, w.mirrored)
      select count(*), array_agg(id) filter (where mirrored) into n, v_mirrored from freed;
      perform notify_ready(array[h.queue]) where n > 0;
    else
      with mine as materialized (
          select id from (
            select id from (select id from waiting where state = 'm' and queue = h.queue and target = h.target and reason < h.reason limit p_limit for update skip locked) below
            union all
            select id from (select id from waiting where state = 'm' and queue = h.queue and target = h.target and reason > h.reason limit p_limit for update skip locked) above) m
          limit p_limit),
        told as (update waiting w set reason = h.reason, message = h.message from mine where w.id = mine.id returning w.id, w.mirrored)
      select array_agg(id) filter (where mirrored) into v_mirrored from told;
      -- somebody may take one: another pool, a probe, the ramp
      perform notify_ready(array[h.queue]) where h.reason = '' or exists (
        select from model_target t join model_breaker x on x.id = t.breaker where t.target = h.target and x.kind is not null
          and x.probe_at <= clock_timestamp() and greatest(x.allowed, 1) > (select count(*) from running r where r.breaker = x.id));
    end if;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
  end loop;

  -- H16. Index: waiting_held_until.
  with late as materialized (select id from waiting where state = 'm' and held_until < clock_timestamp() order by id limit p_limit for update skip locked),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f', 'WaitExceeded', 'waited ' || extract(epoch from clock_timestamp() - wait_since)::int || ' s in a row for its model (retryPolicy.maxWaitSeconds)'
                     || case when reason <> '' then '; the last reason: ' || reason || coalesce(': ' || message, '') else '' end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select array_agg(session) filter (where session is not null), array_agg(id) filter (where mirrored) into keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;

-- model_health: every breaker that counts or is open, for people and metrics.
create function model_health() returns table (pool text, model text, kind text, failures int, since timestamptz, reason text, probe_at timestamptz,
                                              allowed int, running bigint, held bigint) language sql stable as $$
  select b.pool, b.model, kept_reason(b.kind), b.failures, b.since, b.reason, b.probe_at, b.allowed,
         (select count(*) from running r where r.breaker = b.id),
         case when b.kind is null then 0 else
           (select count(*) from waiting w join model_target t on t.target = w.target and t.breaker = b.id where w.state = 'm') end
  from model_breaker b where b.kind is not null or b.failures > 0 order by b.pool, b.model $$;

-- reset_model: as if it had never failed; the next tick lets its jobs go. False: there was nothing to reset.
create function reset_model(p_pool text, p_model text) returns boolean language plpgsql as $$
begin
  delete from model_breaker where pool = p_pool and model = p_model;
  return found;
end $$;

-- step: as the one with one argument less, which workers of the release before call; and hears of models first.
create function step(p_worker uuid, p_token bigint, p_done json, p_back json, p_queues text[], p_slots int[], p_total int,
                     p_idle boolean, p_low bigint[], p_expiry interval, p_models json, out missed json, out alive boolean, out jobs text, out held bigint[])
  language plpgsql as $$
declare v_keys text[]; v_reasons text[]; v_waits double precision[]; v_back json := p_back;
begin
  if p_models is not null then
    select h.ids, h.reasons, h.waits into held, v_reasons, v_waits from hear_models(p_worker, p_models) h;
  end if;
  if held is not null then
    select json_agg(case when kept.id is null or x->>'k' not in ('retry', 'snooze') then x
                         when kept.reason is null then (x::jsonb || '{"k": "retry"}')::json
                         else (x::jsonb || jsonb_build_object('k', 'snooze', 'w', kept.wait, 'y', kept.reason))::json end)
      into v_back from json_array_elements(p_back) x
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

-- what was there before and knows of kept jobs now ------------------------------------------------

create or replace function state_name(p_place "char", p_run int, p_started boolean) returns text language sql immutable as $$
  select case p_place when '@' then 'Running' when 'c' then 'Complete' when 'f' then 'Failed' when 'k' then 'Cancelled'
                      when 's' then 'Suspended' when 'h' then 'Suspended' when 'l' then case when p_started then 'Retrying' else 'Scheduled' end
                      when 'n' then 'Queued' when 'r' then 'Queued' when 'b' then 'Queued' when 'q' then 'Queued'
                      when 'm' then case when p_started then 'Retrying' else 'Queued' end else 'Rejected' end $$;

-- target: as target_of makes it, by who enqueues; a client of the release before leaves it out.
create or replace function enqueue(p_jobs json) returns uuid[] language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_uids uuid[]; v_ready text[]; v_new boolean; v_due timestamptz; v_mirrored bigint[];
begin
  with source as materialized (
      select nextval('position') as id, t.uid, coalesce(t.queue, 'agents') as queue, coalesce(t.priority, 2::smallint) as priority, t.session,
             coalesce(t.run_at, v_now) as run_at, coalesce(t.max_attempts, 3) as max_attempts, t.retry,
             coalesce(t.attempt_timeout, 1800) as attempt_timeout, t.starting_deadline, t.active_deadline, t.payload,
             coalesce(octet_length(t.payload::text), 0) as bytes, t.cluster_id, t.namespace, t.name, coalesce(t.generation, 0) as generation,
             t.retry_handled, coalesce(t.cancel_wanted, false) as cancel_wanted, coalesce(t.gone, false) as gone,
             coalesce(t.created_at, v_now) as created_at, coalesce(t.suspend, false) as suspend,
             t.hold, t.message, t."end", t.reason, t.finished_at, t.imported, t.target
      from json_to_recordset(p_jobs) as t(
        uid uuid, queue text, priority smallint, session text, run_at timestamptz, max_attempts int, retry int[],
        attempt_timeout int, starting_deadline int, active_deadline int, payload json, cluster_id text, namespace text,
        name text, generation bigint, retry_handled text, cancel_wanted boolean, gone boolean, created_at timestamptz,
        suspend boolean, hold text, message text, "end" "char", reason text, finished_at timestamptz, imported json, target text)),
    inserted as (
      insert into job (id, uid, queue, priority, session, due_at, max_attempts, retry, attempt_timeout, starting_deadline,
                       active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
                       object_gone, round_at, created_at, accepted_at, target)
      select id, uid, queue, priority, session, run_at, max_attempts, retry, attempt_timeout, starting_deadline,
             active_deadline, payload, bytes, cluster_id, namespace, name, generation, retry_handled, cancel_wanted,
             gone, v_now, created_at, v_now, target
      from source order by uid          -- by uid: two upserts of the same jobs cannot deadlock
      on conflict (uid) do nothing returning id),
    placed as (
      insert into waiting (id, queue, pos, state, mirrored, session, bytes, run_at, since, deadline, deadline_left, reason, message)
      select id, queue, pos(priority, id),
             case when hold is not null then 'h'::"char" when suspend then 's' when run_at > v_now then 'l'
                  when session is not null then 'n' else 'r' end,
             cluster_id is not null, session, bytes, run_at, v_now,
             case when hold is null and not suspend then greatest(run_at, v_now) + make_interval(secs => starting_deadline) end,
             case when hold is not null or suspend then make_interval(secs => starting_deadline) end,
             coalesce(hold, case when suspend then 'Suspended' when run_at > v_now then 'Scheduled' else '' end), message
      from inserted join source using (id) where "end" is null order by id
      returning id, queue, state, run_at, mirrored),
    ended as (
      insert into outcome (id, state, reason, message, queue, attempt, run, finished_at, imported)
      select id, "end", coalesce(reason, ''), message, queue, 0, 0, coalesce(finished_at, v_now), imported
      from inserted join source using (id) where "end" is not null
      returning id)
  select (select array_agg(uid) from inserted join source using (id)),
         (select array_agg(distinct queue) from placed where state = 'r'),
         (select bool_or(state = 'n') from placed),
         (select min(run_at) from placed where state = 'l'),
         (select array_agg(id) from (select id from placed where mirrored
                                     union all select id from ended join source using (id) where cluster_id is not null and not gone) m)
    into v_uids, v_ready, v_new, v_due, v_mirrored;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_ready is not null then perform notify_ready(v_ready); end if;
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  if v_due is not null then perform pg_notify('agentjobs_due', extract(epoch from v_due)::text); end if;
  return v_uids;
end $$;

create or replace function register(p_worker uuid, p_name text, p_pool text, p_queues json, p_version text) returns void language sql as $$
  insert into worker (id, name, pool, queues, version, started_at, beat_at, steady_since)
  values (p_worker, p_name, p_pool, p_queues, p_version, clock_timestamp(), clock_timestamp(), clock_timestamp())
  on conflict (id) do nothing;
  -- it may have another key
  update model_breaker set probe_at = least(probe_at, clock_timestamp()), probe_worker = p_worker where pool = p_pool and kind = 'a' and allowed = 0;
$$;

create or replace function cancel_job(p_id bigint, p_message text, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid; v_mirrored boolean;
begin
  for i in 1..5 loop
    delete from waiting where id = p_id returning * into w;
    if found then
      insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
      values (p_id, 'k', 'Cancelled', p_message, w.queue, w.attempt, w.run, w.started_at, clock_timestamp(), w.spent);
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and (w.started_at is not null or w.state in ('r', 'q', 'm')) then key := w.session; end if;
      answer := 'Cancelled'; return;
    end if;
    update running set control = 'k' where id = p_id returning worker, mirrored into v_worker, v_mirrored;
    if found then
      perform pg_notify('agentjobs_control', v_worker::text);
      answer := 'Running'; return;
    end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

create or replace function suspend_job(p_id bigint, out answer text, out key text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_worker uuid;
begin
  for i in 1..5 loop
    select * into w from waiting where id = p_id for update;
    if found then
      if w.state in ('s', 'h') then answer := 'Suspended'; return; end if;
      update waiting set state = 's', since = clock_timestamp(), reason = 'Suspended', message = case when state <> 'm' then message end,
             deadline_left = case when started_at is null then deadline - greatest(clock_timestamp(), run_at) + paused_for(queue, since, run_at) end,
             deadline = null
        where id = p_id;
      if w.mirrored then perform touch(array[p_id]); end if;
      if w.session is not null and w.started_at is null and w.state in ('r', 'q', 'm') then key := w.session; end if;
      answer := 'Suspended'; return;
    end if;
    update running set control = coalesce(control, 's') where id = p_id returning worker into v_worker;
    if found then perform pg_notify('agentjobs_control', v_worker::text); answer := 'Running'; return; end if;
    if exists (select from outcome where id = p_id) or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

create or replace function yield_paused(p_queue text) returns int language plpgsql as $$ #variable_conflict use_column
declare v_keys text[]; n int; v_mirrored bigint[]; v_message text;
begin
  select paused_message(name, paused_by, paused_reason) into v_message from queue where name = p_queue and paused_at is not null;
  if not found then return 0; end if;
  with mine as materialized (
      select id, state, session, mirrored from waiting where queue = p_queue and session is not null and started_at is null and state in ('r', 'q', 'm', 'b')
      order by id for update skip locked),
    u as (update waiting w set state = 'n', reason = 'QueuePaused', message = v_message from mine where w.id = mine.id)
  select count(*), array_agg(session) filter (where state <> 'b'), array_agg(id) filter (where mirrored) into n, v_keys, v_mirrored from mine;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_keys is not null then perform session_next(v_keys); end if;
  return n;
end $$;

create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_mirrored bigint[]; v_workers uuid[]; m int;
begin
  with late as materialized (
      select w.id from waiting w where w.deadline < clock_timestamp()
        and (w.started_at is not null or not exists (select from queue q where q.name = w.queue and q.paused_at is not null))
      order by w.id limit p_limit for update of w skip locked),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f', case when started_at is null then 'StartingDeadlineExceeded' else 'DeadlineExceeded' end,
                     case when started_at is null then 'not started by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (startingDeadlineSeconds)'
                          else 'not finished by ' || to_char(deadline at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ' (activeDeadlineSeconds)'
                               || case when reason <> '' then '; it waited: ' || reason || coalesce(': ' || message, '') else '' end end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select count(*), array_agg(session) filter (where session is not null and (started_at is not null or state in ('r', 'q', 'm'))),
         array_agg(id) filter (where mirrored) into n, keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (select id from running where deadline < clock_timestamp() and control is distinct from 'k' and control is distinct from 'd'
                             order by id limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;

create or replace function tick(p_caller uuid, p_expiry interval, p_retention interval, p_limit int default 1000,
                     out held_elsewhere boolean, out promoted int, out expired int, out rescued int, out pruned int,
                     out admit boolean, out paused text[], out next_due double precision) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_keys text[]; v_more text[];
begin
  held_elsewhere := not pg_try_advisory_xact_lock(hashtext('agentjobs tick'));
  if not held_elsewhere then
    promoted := promote(p_limit);
    select e.n, e.keys into expired, v_keys from expire(p_limit) e;
    select r.n, r.keys into rescued, v_more from rescue(p_caller, p_expiry, p_limit) r;
    v_keys := v_keys || v_more;
    if exists (select from model_breaker) or exists (select from waiting where state = 'm') then
      v_keys := v_keys || tend_models(p_limit);
    end if;
    if cardinality(v_keys) > 0 then perform session_next(v_keys); end if;
    update upkeep set pruned_at = clock_timestamp() where pruned_at < clock_timestamp() - interval '1 minute';
    if found then
      pruned := prune(p_retention, p_limit);
      if pruned = p_limit then update upkeep set pruned_at = '-infinity'; end if;      -- there is more: with the next tick
    end if;
  end if;
  admit := exists (select from waiting w where w.state = 'n'
                     and not exists (select from queue q where q.name = w.queue and q.paused_at is not null));
  if exists (select from queue where paused_at is not null) then
    select array_agg(name) into paused from queue q where paused_at is not null
      and exists (select from waiting w where w.queue = q.name and w.session is not null and w.started_at is null and w.state in ('r', 'q', 'm', 'b'));
  end if;
  select extract(epoch from min(run_at) - clock_timestamp()) into next_due from waiting where state = 'l';
end $$;

-- While no model is held up this costs one look at an empty table per call.
create or replace function claim(p_worker uuid, p_token bigint, p_queues text[], p_slots int[], p_total int, p_idle boolean,
                      p_low bigint[], p_expiry interval, out alive boolean, out jobs text) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_limited text[]; v_paused text[]; v_slots int[] := p_slots; v_total int := p_total; v_solo "char" := 'r'; v_mirrored bigint[];
  v_pool text; v_guarded boolean; v_tids tid[]; v_ids bigint[]; v_breakers int[];
begin
  -- set_queue waits for this transaction, or this one for it: no claim is half before a new limit (H22)
  lock table running in row exclusive mode;
  -- key share: a rescue cannot declare this worker dead before this claim has committed; a beat is not held up
  select beat_at > v_now - p_expiry, pool,
         exists (select from model_breaker b where b.kind is not null
                   and (b.pool = worker.pool or exists (select from waiting w where w.state = 'm' and w.queue = any(p_queues))))
    into alive, v_pool, v_guarded from worker where id = p_worker for key share;
  alive := coalesce(alive, false);
  if not alive then return; end if;

  select array_agg(name) filter (where max_running is not null), array_agg(name) filter (where paused_at is not null)
    into v_limited, v_paused from queue where name = any(p_queues);
  if v_limited is not null then
    perform 1 from queue where name = any(v_limited) order by name for update;
    select array_agg(case when x.max_running is null then s.n
                          else greatest(0, least(s.n, x.max_running - (select count(*) from running r where r.queue = s.name and r.limited)))::int end order by s.i),
           array_agg(x.name) filter (where x.paused_at is not null)
      into v_slots, v_paused
    from unnest(p_queues, p_slots) with ordinality s(name, n, i) left join queue x on x.name = s.name;
  end if;

  if v_guarded then perform put_suspects_aside(v_pool, p_queues); end if;
  if exists (select from waiting w where w.state = 'q' and w.queue = any(p_queues)) then
    if p_idle then
      v_solo := 'q'; v_total := 1;                     -- H14: alone in its worker
    elsif exists (select from waiting w where w.state = 'q' and w.queue = any(p_queues) and w.since < v_now - 4 * p_expiry)
      and not exists (select from worker k where k.id < p_worker and k.beat_at > v_now - p_expiry
                      and exists (select from unnest(p_queues) q where (k.queues->q) is not null)) then
      return;                                          -- nobody fell idle for long: one worker makes room by claiming nothing
    end if;
  end if;

  loop
    if v_guarded and v_solo = 'r' then
      v_solo := 'g';                                   -- candidates from where some model is held up
      select p.tids, p.ids, p.breakers into v_tids, v_ids, v_breakers
      from pick(p_worker, v_pool, p_queues, v_slots, coalesce(v_paused, '{}'), v_total, p_low) p;
    end if;
    with lane as materialized (
        select q.name, q.n, p, case when p_low is null or q.name = any(v_limited) or v_solo = 'q' then p::bigint << 56
                                    else greatest(p_low[p * cardinality(p_queues) + q.i], p::bigint << 56) end as low,
               case when cardinality(p_queues) = 1 and p_low is null then 9223372036854775807 else (p + 1)::bigint << 56 end as high
        from unnest(p_queues, v_slots) with ordinality q(name, n, i)
        cross join generate_series(0, case when cardinality(p_queues) = 1 and p_low is null then 0 else 9 end) p
        where q.n > 0 and q.name <> all (coalesce(v_paused, '{}'))),
      candidate as materialized (
        select c.tid, c.pos, c.bytes
        from (select distinct name, n from lane) q
        cross join lateral (
          select r.tid, r.pos, r.bytes
          from (select low, high from lane where lane.name = q.name order by p offset 0) l
          cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w
                              where w.state = 'r' and w.queue = q.name and w.pos > l.low and w.pos < l.high
                              order by w.pos limit least(q.n, v_total) for update skip locked) r
          where v_solo = 'r'
          limit least(q.n, v_total)) c
        union all
        select c.tid, c.pos, c.bytes from (select distinct name from lane) q
        cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w where w.state = 'q' and w.queue = q.name
                            order by w.pos limit 1 for update skip locked) c
        where v_solo = 'q'
        union all
        select w.ctid, w.pos, w.bytes from waiting w where v_solo = 'g' and w.ctid = any (v_tids)),
      light as materialized (select coalesce(sum(bytes), 0) <= 8388608 as yes from candidate),
      picked as materialized (
        select tid from (select tid from candidate order by pos limit v_total) c where (select yes from light)
        union all                                      -- the running sum is dear, and hardly ever needed
        select tid from (select tid, sum(bytes) over (order by pos) - bytes as before from candidate order by pos limit v_total) c
        where not (select yes from light) and before < 8388608),
      taken as (delete from waiting w where w.ctid = any (array(select tid from picked))
                returning w.id, w.queue, w.pos, w.mirrored, w.session, w.bytes, w.run_at, w.attempt, w.run, w.started_at,
                          w.deadline, w.snoozes, w.wait_since, w.drains, w.losses, w.spent),
      started as materialized (
        select t.id, t.queue, t.pos, t.mirrored, t.session, t.bytes, t.run_at, t.attempt + 1 as attempt, t.run + 1 as run,
               coalesce(t.started_at, v_now) as started_at, t.snoozes, t.wait_since, t.drains, t.losses, t.spent,
               case when t.started_at is not null then t.deadline else v_now + make_interval(secs => j.active_deadline) end as deadline,
               j.uid, j.payload, j.max_attempts, j.round, j.retry, j.attempt_timeout
        from taken t cross join lateral (select * from job where job.id = t.id offset 0) j),
      placed as (
        insert into running (id, worker, token, queue, pos, mirrored, session, bytes, run_at, since, attempt, run, started_at,
                             deadline, solo, limited, snoozes, wait_since, drains, losses, spent)
        select id, p_worker, p_token, queue, pos, mirrored, session, bytes, run_at, v_now, attempt, run, started_at,
               deadline, v_solo = 'q', queue = any (coalesce(v_limited, '{}')), snoozes, wait_since, drains, losses, spent from started)
    select json_agg(json_build_array(id, uid, queue, pos, run, attempt, payload,
             case when num_nonnulls(retry, deadline, snoozes, losses, spent) > 0 or max_attempts <> 3 or round <> 1 or attempt_timeout <> 1800
                  then json_build_array(max_attempts, round, attempt_timeout, retry, deadline, snoozes, losses, v_solo = 'q', spent) end))::text,
           array_agg(id) filter (where mirrored)
      into jobs, v_mirrored from started;
    exit when jobs is not null or v_solo <> 'q';
    v_solo := 'r'; v_total := p_total;                 -- somebody else took it
  end loop;
  if v_solo = 'g' and jobs is not null then
    update running r set breaker = t.breaker from unnest(v_ids, v_breakers) t(id, breaker)
      where t.breaker is not null and r.id = t.id and r.worker = p_worker and r.token = p_token;
    if found then update model_breaker set probe_worker = null where id = any (v_breakers) and probe_worker is not null; end if;
  end if;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;
