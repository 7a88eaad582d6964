-- Who is woken for a job: lookouts, workers that LISTEN, at most 16 for each queue. For Postgres wakes every backend that listens for
-- every notification, so with all workers listening each job would cost as much as there are workers. A call (notify_ready) names a
-- number, by which each lookout knows whether it is meant. The other workers learn of work with their beats.

-- has_room: whether a worker has beaten since then, with a free slot for the queue. Index: worker's primary key.
create or replace function has_room(p_worker uuid, p_queue text, p_since timestamptz) returns boolean language sql stable as $$
  select exists (select from worker k where k.id = p_worker and p_queue = any (k.room) and k.beat_at > p_since) $$;

-- look_out: gives a worker with free slots in the queues p_room its seats among the lookouts. A seat is free where nobody has it, or who
-- had it is dead; and where a job waits, or less than half of the lookouts have room, that of a worker without room is free too.
-- seats: {queue: [how many lookouts with room come before it, how many there are]}. ready: a job waits in p_room, behind the places p_low
-- that this worker knows to be empty (claim), or one that it may have though others may not. Indexes: primary keys, lookout_by_worker,
-- waiting_ready, waiting_quarantined, waiting_held.
-- Lock order: an advisory lock that nobody waits for, lookout rows that nobody has locked. It waits for nobody (H12).
create or replace function look_out(p_worker uuid, p_room text[], p_low bigint[], p_hears boolean, p_expiry interval,
                                    out seats json, out ready boolean) language plpgsql
  set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  v_missing text[]; v_free text[]; v_given text[];
  v_now timestamptz := clock_timestamp(); v_since timestamptz := v_now - p_expiry / 2;
begin
  ready := exists (
      select from unnest(p_room) with ordinality q(name, i) cross join generate_series(0, 9) p
      cross join lateral (
        select from waiting w
        where w.state = 'r' and w.queue = q.name and w.pos < (p + 1)::bigint << 56
          and w.pos > greatest(coalesce(p_low[p * cardinality(p_room) + q.i], 0), p::bigint << 56)
        order by w.pos limit 1) x)
    or exists (select from unnest(p_room) q(name) cross join lateral (
                 select from waiting w where w.state = 'q' and w.queue = q.name order by w.pos limit 1) x)
    or exists (select from unnest(p_room) q(name) cross join lateral (
                 select from waiting w where w.state = 'm' and w.queue = q.name order by w.target, w.pos limit 1) x);
  v_missing := array(select q from unnest(p_room) q
                     where p_hears and not exists (select from lookout l where l.queue = q and l.worker = p_worker));
  select array_agg(q) filter (where living < 16), array_agg(q) filter (where roomy < case when ready then 16 else 8 end)
    into v_free, v_given from unnest(v_missing) q cross join lateral (
      select count(*) living, count(*) filter (where l.queue = any (k.room) and k.beat_at > v_since) roomy
      from lookout l join worker k on k.id = l.worker where l.queue = q and k.beat_at > v_now - p_expiry) c;
  if (v_free is not null or v_given is not null)
     and pg_try_advisory_xact_lock(hashtext('agentjobs lookout')) then
    delete from lookout where ctid = any (array(
      select l.ctid from unnest(v_free) q cross join lateral (
        select l.ctid from lookout l where l.queue = q
          and not exists (select from worker k where k.id = l.worker and k.beat_at > v_now - p_expiry)
        order by l.seat for update skip locked) l));
    insert into lookout (queue, seat, worker)
      select q, s.seat, p_worker from unnest(v_free) q
      cross join lateral (select s from generate_series(0, 15) s
                          where not exists (select from lookout l where l.queue = q and l.seat = s) order by s limit 1) s(seat)
      on conflict do nothing;
    update lookout set worker = p_worker where ctid = any (array(
      select l.ctid from unnest(v_given) q cross join lateral (
        select l.ctid from lookout l where l.queue = q and not has_room(l.worker, l.queue, v_since)
          and not exists (select from lookout m where m.queue = q and m.worker = p_worker)
        order by l.seat limit 1 for update skip locked) l));
  end if;
  select json_object_agg(m.queue, json_build_array(
           (select count(*) from lookout l where l.queue = m.queue and l.seat < m.seat and has_room(l.worker, l.queue, v_since)),
           1 + (select count(*) from lookout l where l.queue = m.queue and l.seat <> m.seat and has_room(l.worker, l.queue, v_since))))
    into seats from lookout m where m.worker = p_worker;
end $$;

-- pass_on: calls other lookouts of these queues, as four jobs would, where jobs are left. A lookout that was called and has filled its
-- last slot asks for it: it does not know how many are left. Index: waiting_ready.
create or replace function pass_on(p_queues text[]) returns void language sql
  set enable_seqscan = off set enable_bitmapscan = off as $$
  select notify_ready(array_fill(q, array[4])) from unnest(p_queues) q
  where exists (select from waiting w where w.state = 'r' and w.queue = q) $$;

-- anything_for: whether a job waits in one of these queues. Index: waiting_ready, to its first row.
create or replace function anything_for(p_queues text[]) returns boolean language sql stable
  set enable_seqscan = off set enable_bitmapscan = off as $$
  select exists (select from unnest(p_queues) q cross join lateral (
                   select from waiting w where w.state = 'r' and w.queue = q order by w.pos limit 1) x) $$;
