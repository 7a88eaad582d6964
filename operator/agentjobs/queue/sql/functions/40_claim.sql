-- claim: hands jobs to a worker that is alive (H10): waiting rows become running rows.
-- What it decides, in this order:
-- 1. A worker whose heartbeat has expired gets nothing. Its row is locked for key share: a rescue cannot declare it dead
--    before this claim has committed, and a heartbeat is not held up.
-- 2. Paused queues give nothing; a queue with a limit gives what its limit leaves, counted after its row is locked, in a
--    statement of its own (H22, H23).
-- 3. A worker that holds nothing takes one quarantined job alone (H14). If such a job has waited for four expiries, one worker
--    of the queues claims nothing until it is idle.
-- 4. Lanes (queue and priority) in claim order: strict priority, then first come. p_low skips the places that this worker knows
--    to be empty (H25). While some model is held up, pick() finds the candidates instead.
-- 5. The reply stops at 8 MiB of payload, but holds at least one job (H7).
-- p_slots[i] bounds what queue p_queues[i] gives, p_total what all of them give. p_low[priority * queues + i]: the highest place
-- that a claim of this worker has taken there; null: look at all. While no model is held up, breakers cost one look at an empty table.
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
                returning w.id, w.facet, w.queue, w.pos, w.mirrored, w.session, w.bytes, w.run_at, w.attempt, w.run, w.started_at,
                          w.deadline, w.snoozes, w.wait_since, w.counts_from, w.drains, w.releases, w.losses, w.spent),
      -- read after the function's waits for locks: a run begins no earlier than the one ahead of it in its session has ended
      clock as materialized (select clock_timestamp() as claimed_at),
      started as materialized (
        select t.id, t.facet, t.queue, t.pos, t.mirrored, t.session, t.bytes, t.run_at, t.attempt + 1 as attempt, t.run + 1 as run,
               coalesce(t.started_at, claimed_at) as started_at, t.snoozes, t.drains, t.releases, t.losses, t.spent,
               case when t.wait_since is not null
                    then t.wait_since + paused_between(t.queue, greatest(t.counts_from, t.wait_since), claimed_at) end as wait_since,
               nextval('claim_number') as claim,
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
