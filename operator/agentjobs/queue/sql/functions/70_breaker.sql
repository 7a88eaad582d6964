-- The breaker of a pool and model (model_breaker, docs/model-health.md): what it decides is pure and stands here.

-- counts_alone: true where this failure only counts towards the five in a row. It is charged for now, because a single failure may
-- come from its own prompt; if the row opens the breaker, tend_models() refunds it. Pure.
create or replace function counts_alone(b model_breaker, p_heard "char", p_id bigint) returns boolean language sql immutable as $$
  select case when p_id = any (b.suspects) and p_heard in ('u', 'a') then b.kind is null or b.kind = 'r' or b.allowed > 0
              else p_heard = 'u' and (b.kind is null or b.kind = 'r') end $$;

-- breaker_after: the breaker after it has heard of one run. Pure: all that decides is in its arguments.
-- p_heard: o the model answered, u unavailable (transport, 5xx, time-out), a the key was refused, r rate limit.
-- p_let_through: the run was a probe, or of the ramp. p_delay: seconds, of r. p_running: jobs of the model that run in the pool;
-- p_slots: all slots of the pool. p_luck: 0 to 1, for the jitter.
-- A suspect (a job that the breaker kept after it failed) that fails again though others were answered since, counts alone.
create or replace function breaker_after(b model_breaker, p_heard "char", p_reason text, p_id bigint, p_run int, p_let_through boolean,
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
    if b.kind = 'r' then b.probe_seconds := 1; end if;
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
      b.allowed := greatest(1, case when v_open then 1 else p_running / 2 end); b.probe_seconds := 1;
      b.probe_at := p_now + make_interval(secs => greatest(p_delay, 1));
    elsif b.kind = 'r' then                                      -- the first of a burst halves, the others wait with it
      -- limited again without an answer in between: a provider that always asks for a second is not asked each second
      if v_mine then b.allowed := greatest(1, p_running / 2); b.probe_seconds := least(2 * b.probe_seconds, c_longest); end if;
      b.probe_at := greatest(b.probe_at, p_now + make_interval(secs => greatest(p_delay, b.probe_seconds)));
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

-- counted: a number with its noun.
create or replace function counted(n int, p_what text) returns text language sql immutable as
  $$ select n || ' ' || p_what || case n when 1 then '' else 's' end $$;

-- kept_reason: the reason that a job shows while this kind of breaker keeps it.
create or replace function kept_reason(p_kind "char") returns text language sql immutable as
  'select case p_kind when ''u'' then ''ModelUnavailable'' when ''a'' then ''ModelAuthFailed'' when ''r'' then ''ModelRateLimited'' end';

-- breaker_message: what a job says while this breaker keeps it: what is wrong, since when, and what happens next.
create or replace function breaker_message(b model_breaker) returns text language sql stable as $$
  select case
      when b.kind = 'r' then 'model ' || b.model || ' is rate limited for pool ' || b.pool || ' since ' || iso_time(b.since)
                             || '; goes on at ' || iso_time(b.probe_at)
      when b.allowed > 0 then 'model ' || b.model || ' answers pool ' || b.pool || ' again; its jobs go on a few at a time'
      when b.kind = 'u' then 'model ' || b.model || ' is unavailable to pool ' || b.pool || ' since ' || iso_time(b.since) || ' ('
                             || counted(b.failures, 'failure') || ' in a row, the last: ' || b.reason || '); one job probes it at '
                             || iso_time(b.probe_at) || ', the others follow when it answers'
      else 'the key of pool ' || b.pool || ' for model ' || b.model || ' is missing or refused since ' || iso_time(b.since)
           || ' (' || counted(b.failures, 'time') || '); correct the pool''s model key; one job probes it at ' || iso_time(b.probe_at)
           || ', or when a worker starts' end
$$;
