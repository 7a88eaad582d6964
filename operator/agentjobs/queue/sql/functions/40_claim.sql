-- Where the claims of a queue have got to, for all workers: each would walk over what the others have claimed since its own last claim.
-- It must be seen before they commit, so it stands in sequences, which no transaction takes back or waits for: sixteen registers
-- claim_place_N, and sixteen claim_look_N for when a claim last looked at all. Hints: a register that another queue has taken says nothing.

-- register_of: which of the sixteen registers a queue uses.
create or replace function register_of(p_queue text) returns int language sql immutable as 'select hashtext(p_queue) & 15';

-- sign_of: how a queue marks what it writes into its register: 11 bits above 52 others.
create or replace function sign_of(p_queue text) returns bigint language sql immutable as
  'select ((hashtext(p_queue) >> 4) & 2047)::bigint << 52';

-- claimed_to: the place up to which rows of a queue have been claimed, in the lane that was claimed from last; 0: not known. back: jobs
-- have come back before the places up to which others had claimed by then. The register has 47 bits for the place, then lane and back.
create or replace function claimed_to(p_queue text, out pos bigint, out back boolean) language plpgsql as $$
declare v bigint := pg_sequence_last_value(('agentjobs.claim_place_' || register_of(p_queue))::regclass);
begin
  pos := 0; back := false;
  if (v >> 52) << 52 = sign_of(p_queue) then
    pos := (((v >> 47) & 15) << 56) | (v & 140737488355327);
    back := (v >> 51) & 1 = 1;
  end if;
end $$;

-- tell_claimed: writes the last places of a claim, of each queue, where they are at least 64 further on than the register says. A claim
-- that looked at all writes a place before that, too: jobs have come back there. Until such a claim finds none before it, only claims
-- that began where the register said go on from there: the others began behind what came back. p_low: where the claim began in each
-- lane; null: it looked at all. p_places: what the registers said then. p_tops: the places.
-- True, always: claim() calls it within a statement, before it goes on with the rows that it has locked.
create or replace function tell_claimed(p_queues text[], p_low bigint[], p_places bigint[], p_tops bigint[]) returns boolean
  language plpgsql as $$
declare v_lane int; v_pos bigint; v_back boolean;
begin
  for i in 1..cardinality(p_queues) loop
    continue when p_tops[i] is null or p_tops[i] between p_places[i] and p_places[i] + 64;
    v_lane := p_tops[i] >> 56;
    select c.pos, c.back into v_pos, v_back from claimed_to(p_queues[i]) c;
    continue when v_pos <> p_places[i];
    if p_low is null then
      v_back := p_tops[i] < v_pos;
    else
      continue when p_tops[i] < v_pos or v_back and v_lane = v_pos >> 56 and p_low[v_lane * cardinality(p_queues) + i] > v_pos;
    end if;
    perform setval(('agentjobs.claim_place_' || register_of(p_queues[i]))::regclass,
                   sign_of(p_queues[i]) | (v_back::int::bigint << 51) | (v_lane::bigint << 47) | (p_tops[i] & 140737488355327));
  end loop;
  return true;
end $$;

-- may_look: whether no claim has looked at all rows of one of these queues within the last half second. The caller does so now.
create or replace function may_look(p_queues text[]) returns boolean language plpgsql as $$
declare v_now bigint := extract(epoch from clock_timestamp()) * 1000; v_register regclass; v_queue text; v_may boolean := false;
begin
  foreach v_queue in array p_queues loop
    v_register := 'agentjobs.claim_look_' || register_of(v_queue);
    if not coalesce((select (v >> 52) << 52 = sign_of(v_queue) and (v & 4503599627370495) between v_now - 500 and v_now
                     from pg_sequence_last_value(v_register) v), false) then
      perform setval(v_register, sign_of(v_queue) | v_now);
      v_may := true;
    end if;
  end loop;
  return v_may;
end $$;

-- claim: hands jobs to a worker that is alive (H10): waiting rows become running rows.
-- What it decides, in this order:
-- 1. A worker whose heartbeat has expired gets nothing. Its row is locked for key share: a rescue cannot declare it dead
--    before this claim has committed, and a heartbeat is not held up.
-- 2. Paused queues give nothing; a queue with a limit gives what its limit leaves, counted after its row is locked, in a
--    statement of its own (H22, H23).
-- 3. A worker that holds nothing takes one quarantined job alone (H14). If such a job has waited for four expiries, one worker
--    of the queues claims nothing until it is idle.
-- 4. Lanes (queue and priority) in claim order: strict priority, then first come. p_low skips the places that this worker knows
--    to be empty (H25), claimed_to() those that others have claimed since. Rows that a transaction under way has locked or deleted are
--    passed by as they are read: FOR UPDATE SKIP LOCKED asks the lock manager about each of them, with all other claims.
--    While some model is held up, pick() finds the candidates instead.
-- 5. The reply stops at 8 MiB of payload, but holds at least one job (H7).
-- p_slots[i] bounds what queue p_queues[i] gives, p_total what all of them give. p_low[priority * queues + i]: the highest place
-- that a claim of this worker has taken there; null: look at all; empty: look at all if no other claim has done so in the last half second.
-- While no model is held up, breakers cost one look at an empty table.
-- One job of the reply: [id, uid, queue, pos, run, attempt, payload, rare, claim]. rare is null where all of it is as usual, else
-- [max_attempts, round, attempt_timeout, retry, deadline, snoozes, losses, solo, spent]. claim grows with each claim (H13).
-- The active deadline begins here, with the first start, and again where none runs: the first run could not begin.
-- Indexes: waiting_ready, waiting_quarantined, running_limited, primary keys; through pick() waiting_held, running_let_through.
-- Lock order: the table running (row exclusive: set_queue() waits for this transaction, or this one for it, so no claim is half
-- before a new limit); the worker's row; queue rows by name, only those with a limit; waiting rows, those that nobody has locked.
-- The settings keep the plans on the indexes whatever the statistics say: docs/queue.md, Vacuum.
create or replace function claim(p_worker uuid, p_token bigint, p_queues text[], p_slots int[], p_total int, p_idle boolean,
                      p_low bigint[], p_expiry interval, out alive boolean, out jobs text) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_limited text[]; v_paused text[]; v_slots int[] := p_slots; v_total int := p_total; v_solo "char" := 'r'; v_mirrored bigint[];
  v_pool text; v_guarded boolean; v_tids tid[]; v_ids bigint[]; v_breakers int[];
  v_places bigint[];                               -- of each queue: where claims have got to
  v_all boolean; v_low bigint[];                   -- whether it looks at all; else where it begins in each lane
begin
  lock table running in row exclusive mode;
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
                          else greatest(0, least(s.n, x.max_running - (select count(*) from running r
                                                                       where r.queue = s.name and r.limited)))::int end order by s.i),
           array_agg(x.name) filter (where x.paused_at is not null)
      into v_slots, v_paused
    from unnest(p_queues, p_slots) with ordinality s(name, n, i) left join queue x on x.name = s.name;
  end if;

  v_places := array(select (claimed_to(q)).pos from unnest(p_queues) with ordinality o(q, i) order by i);
  v_all := p_low is null or p_low = '{}' and (0 = all (v_places) or may_look(p_queues));
  if not v_all then
    v_low := array(select case when v_places[i] >> 56 = p and (p_low = '{}' or p_low[p * cardinality(p_queues) + i] > 0)
                               then greatest(p_low[p * cardinality(p_queues) + i], v_places[i])
                               else greatest(p_low[p * cardinality(p_queues) + i], p::bigint << 56) end
                   from generate_series(0, 9) p, generate_series(1, cardinality(p_queues)) i order by p, i);
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
      from pick(p_worker, v_pool, p_queues, v_slots, coalesce(v_paused, '{}'), v_total, v_low) p;
    end if;
    with busy as materialized (
        select array(select x::xid from pg_snapshot_xip(s) x) as xids, pg_snapshot_xmax(s)::text::bigint as next
        from pg_current_snapshot() s),
      lane as materialized (
        select q.name, q.n, q.i, p, case when v_all or q.name = any(v_limited) or v_solo = 'q' then p::bigint << 56
                                    else v_low[p * cardinality(p_queues) + q.i] end as low,
               case when cardinality(p_queues) = 1 and v_all then 9223372036854775807 else (p + 1)::bigint << 56 end as high
        from unnest(p_queues, v_slots) with ordinality q(name, n, i)
        cross join generate_series(0, case when cardinality(p_queues) = 1 and v_all then 0 else 9 end) p
        where q.n > 0 and q.name <> all (coalesce(v_paused, '{}'))),
      candidate as materialized (
        select c.tid, q.i, c.pos, c.bytes
        from (select distinct name, n, i from lane) q
        cross join lateral (
          select r.tid, r.pos, r.bytes
          from (select low, high from lane where lane.name = q.name order by p offset 0) l
          cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w
                              where w.state = 'r' and w.queue = q.name and w.pos > l.low and w.pos < l.high
                                and (w.xmax = '0'::xid
                                     or w.xmax <> all ((select xids from busy)::xid[]) and precedes(w.xmax, (select next from busy)))
                              order by w.pos limit least(q.n, v_total) for update skip locked) r
          where v_solo = 'r'
          limit least(q.n, v_total)) c
        union all
        select c.tid, 0, c.pos, c.bytes from (select distinct name from lane) q
        cross join lateral (select w.ctid as tid, w.pos, w.bytes from waiting w where w.state = 'q' and w.queue = q.name
                            order by w.pos limit 1 for update skip locked) c
        where v_solo = 'q'
        union all
        select w.ctid, 0, w.pos, w.bytes from waiting w where v_solo = 'g' and w.ctid = any (v_tids)),
      light as materialized (select coalesce(sum(bytes), 0) <= 8388608 as yes from candidate),
      picked as materialized (
        select tid, i, pos from (select tid, i, pos from candidate order by pos limit v_total) c where (select yes from light)
        union all                                      -- the running sum is dear, and hardly ever needed
        select tid, i, pos from (select tid, i, pos, sum(bytes) over (order by pos) - bytes as before
                                 from candidate order by pos limit v_total) c
        where not (select yes from light) and before < 8388608),
      tops as materialized (
        select array(select (select max(c.pos) from picked c where c.i = q.i)
                     from generate_series(1, cardinality(p_queues)) q(i) order by q.i) as pos),
      taken as (delete from waiting w where w.ctid = any (array(select tid from picked))
                  and (v_solo <> 'r' or (select tell_claimed(p_queues, v_low, v_places, pos) from tops))
                returning w.id, w.facet, w.queue, w.pos, w.mirrored, w.session, w.bytes, w.run_at, w.attempt, w.run, w.started_at,
                          w.deadline, w.snoozes, w.wait_since, w.counts_from, w.drains, w.releases, w.losses, w.spent),
      -- read after the function's waits for locks: a run begins no earlier than the one ahead of it in its session has ended
      clock as materialized (select clock_timestamp() as claimed_at, nextval('claim_number') as claim),
      started as materialized (
        select t.id, t.facet, t.queue, t.pos, t.mirrored, t.session, t.bytes, t.run_at, t.attempt + 1 as attempt, t.run + 1 as run,
               coalesce(t.started_at, claimed_at) as started_at, t.snoozes, t.drains, t.releases, t.losses, t.spent,
               case when t.wait_since is not null
                    then t.wait_since + paused_between(t.queue, greatest(t.counts_from, t.wait_since), claimed_at) end as wait_since,
               claim,
               case when t.started_at is not null and t.deadline is not null
                    then t.deadline + paused_between(t.queue, t.counts_from, claimed_at)
                    else claimed_at + make_interval(secs => j.active_deadline) end as deadline,
               j.uid, j.payload, j.max_attempts, j.round, j.retry, j.attempt_timeout, claimed_at
        from taken t cross join clock cross join lateral (select * from job where job.id = t.id offset 0) j),
      placed as (
        insert into running (id, facet, worker, token, queue, pos, mirrored, session, bytes, run_at, since, attempt, run, started_at,
                             deadline, solo, limited, snoozes, wait_since, drains, releases, losses, spent)
        select id, facet, p_worker, p_token, queue, pos, mirrored, session, bytes, run_at, claimed_at, attempt, run, started_at,
               deadline, v_solo = 'q', queue = any (coalesce(v_limited, '{}')), snoozes, wait_since, drains, releases, losses, spent
        from started)
    select json_agg(json_build_array(id, uid, queue, pos, run, attempt, payload,
             case when num_nonnulls(retry, deadline, snoozes, losses, spent) > 0
                    or max_attempts <> 3 or round <> 1 or attempt_timeout <> 1800
                  then json_build_array(max_attempts, round, attempt_timeout, retry, deadline, snoozes, losses,
                                        v_solo = 'q', spent) end, claim))::text,
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
