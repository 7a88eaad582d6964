-- tend_models: what time does to breakers; a stage of tick(). In this order:
-- 1. Refunds: the failures that opened a breaker were charged before anybody knew. A row that is locked at this moment is refunded
--    by the next tick.
-- 2. Breakers that nobody waits for, or whose pool is gone, are deleted.
-- 3. Jobs in state m, queue by queue and target by target, so many pairs as one call looks at (the table walk): those that no pool
--    keeps any more become ready; the others are told why they wait, and workers are woken where one of them may take a job.
-- 4. Jobs that have waited too long for their model fail (H16).
-- keys: the sessions that lost their holder.
-- Indexes: waiting_held, waiting_held_reason, running_let_through, and overdue()'s. Lock order: breakers by model, then waiting
-- and running rows by id; all only those that nobody has locked.
create or replace function tend_models(p_limit int, out keys text[]) language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp(); b model_breaker; h record; v_ids bigint[]; v_locked bigint[]; v_mirrored bigint[]; n int;
  v_pairs int := 0; c_pairs constant int := 200;
begin
  -- refunds: the failures that opened a breaker were charged before anybody knew
  for b in
    select * from model_breaker where kind in ('u', 'a') and allowed = 0 and failed <> '{}' order by model for update skip locked
  loop
    with owed as materialized (select f.id, f.run from unnest(b.failed, b.failed_runs) f(id, run)
                               join attempt a on a.id = f.id and a.run = f.run and a.charged),
      jobs as materialized (select id, count(*)::int as n from owed group by id),
      w as materialized (select w.id, jobs.n, w.queue, j.target, j.retry[4] as most, w.mirrored,
                                w.state = 'l' and exists (select from attempt a where a.id = w.id and a.run = w.run and a.charged)
                                  as waits
                         from waiting w join jobs on jobs.id = w.id join job j on j.id = w.id order by w.id for update of w skip locked),
      r as materialized (select r.id, jobs.n, r.mirrored from running r join jobs on jobs.id = r.id order by r.id
                         for update of r skip locked),
      back as (update waiting x set attempt = greatest(0, x.attempt - w.n),
                 state = case when waits then 'm'::"char" else x.state end, target = case when waits then w.target else x.target end,
                 since = case when waits then clock_timestamp() else x.since end,
                 reason = case when waits then k.reason else x.reason end,
                 message = case when waits then coalesce(k.message, x.message) else x.message end,
                 next_at = case when waits then k.next_at else x.next_at end,
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
    update model_breaker set
           failed = coalesce(array(select f.id from unnest(b.failed, b.failed_runs) f(id, run) where f.id = any (v_locked)), '{}'),
           failed_runs = coalesce(array(select f.run from unnest(b.failed, b.failed_runs) f(id, run) where f.id = any (v_locked)), '{}')
      where id = b.id;
  end loop;

  -- nobody waits for it, or its pool is gone
  delete from model_breaker where id in (
    select x.id from model_breaker x
    where (x.kind is null and x.failed_at < v_now - interval '1 hour')
       or not exists (select from worker k where k.pool = x.pool)
       or (x.kind is not null and x.probe_at < v_now - interval '10 minutes'
           and not exists (select from running r where r.breaker = x.id)
           and not exists (select from waiting w join model_target t on t.target = w.target where t.breaker = x.id and w.state = 'm'
                           and coalesce(w.losses, 0) < 3))
    for update of x skip locked);

  -- queue by queue and target by target: kept no more, or with a reason to tell
  for h in
    with recursive pair as (
      (select w.queue, w.target from walk x cross join lateral (
         select queue, target from waiting where state = 'm' and (queue, target) > (x.queue, x.target)
           order by queue, target limit 1) w where x.name = 'models')
      union all
      select n.queue, n.target from pair p cross join lateral (
        select w.queue, w.target from waiting w where w.state = 'm' and (w.queue, w.target) > (p.queue, p.target)
          order by w.queue, w.target limit 1) n)
    select p.queue, p.target, k.* from (select * from pair limit c_pairs) p cross join lateral kept(p.queue, p.target) k
  loop
    v_pairs := v_pairs + 1;
    if not h.kept then
      with mine as materialized (select id from waiting where state = 'm' and queue = h.queue and target = h.target
                                 order by pos limit p_limit for update skip locked),
        freed as (update waiting w set state = ready_state(w.losses), since = clock_timestamp(), reason = '', message = null,
                    wait_since = case when w.snoozes is not null then w.wait_since end
                  from mine where w.id = mine.id returning w.id, w.mirrored)
      select count(*), array_agg(id) filter (where mirrored) into n, v_mirrored from freed;
      perform notify_ready(array[h.queue], true) where n > 0;
    else
      with mine as materialized (
          select id from (
            select id from (select id from waiting where state = 'm' and queue = h.queue and target = h.target
                            and reason < h.reason limit p_limit for update skip locked) below
            union all
            select id from (select id from waiting where state = 'm' and queue = h.queue and target = h.target
                            and reason > h.reason limit p_limit for update skip locked) above) m
          limit p_limit),
        told as (update waiting w set reason = h.reason, message = h.message, next_at = h.next_at
                 from mine where w.id = mine.id returning w.id, w.mirrored)
      select array_agg(id) filter (where mirrored) into v_mirrored from told;
      -- somebody may take one: another pool, a probe, the ramp
      perform notify_ready(array[h.queue], true) where h.reason = '' or exists (
        select from model_target t join model_breaker x on x.id = t.breaker where t.target = h.target and x.kind is not null
          and x.probe_at <= v_now and greatest(x.allowed, 1) > (select count(*) from running r where r.breaker = x.id));
    end if;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
  end loop;
  -- h is the last pair still
  update walk w set queue = case when v_pairs = c_pairs then h.queue else '' end,
                    target = case when v_pairs = c_pairs then h.target else '' end
    where w.name = 'models' and (v_pairs = c_pairs or w.queue <> '');

  -- H16
  v_ids := overdue('held', v_now, p_limit);
  if v_ids <> '{}' then perform shift_clocks(v_ids); end if;
  with gone as (delete from waiting w where w.id = any (v_ids) and w.state = 'm' and w.held_until < v_now returning w.*),
    ended as (insert into outcome (id, facet, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, facet, 'f', 'WaitExceeded',
                     'waited ' || extract(epoch from v_now - wait_since)::int
                     || ' s in a row for its model (retryPolicy.maxWaitSeconds)'
                     || case when reason <> '' then '; the last reason: ' || reason || coalesce(': ' || message, '') else '' end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select array_agg(session) filter (where session is not null), array_agg(id) filter (where mirrored), array_agg(id)
    into keys, v_mirrored, v_ids from gone;
  if v_ids is not null then perform count_ended(v_ids); end if;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;
