-- reopened: open queues with jobs that a pause has put aside (state p). Index: waiting_paused, walked queue by queue.
create or replace function reopened() returns text[] language sql stable set enable_seqscan = off as $$
  with recursive names as (
    (select queue as name from waiting where state = 'p' order by queue limit 1)
    union all
    select (select w.queue from waiting w where w.state = 'p' and w.queue > n.name order by w.queue limit 1) from names n
      where n.name is not null)
  select coalesce(array_agg(name), '{}') from names
  where name is not null and not exists (select from queue q where q.name = names.name and q.paused_at is not null) $$;

-- admittable: whether admit() has something to do. Indexes: waiting_new; those of reopened().
create or replace function admittable() returns boolean language sql stable set enable_seqscan = off as $$
  select exists (select from waiting where state = 'n') or reopened() <> '{}' $$;

-- admit: jobs of shared sessions that are due take their session, or their place behind its holder, in the order of their
-- places in line (H12, H17). Jobs of paused queues are put aside, in state p, until their queue is open. A job that somebody has
-- locked keeps its place: those of its session behind it wait for it, and those of other sessions go on. Answers how many it moved.
-- A short transaction of its own: enqueue() cannot do this, because its caller's transaction may stay open. One process at a
-- time, by an advisory lock, which yield_paused() takes too: else a job that is admitted while those ahead of it are put aside, or put
-- aside while those behind it are admitted, would be overtaken. Whether queues are open is seen together with their jobs.
-- Indexes: waiting_new; waiting_paused, walked queue by queue. Lock order: waiting rows, those that nobody has locked; sessions by key.
create or replace function admit(p_limit int default 1000) returns int language plpgsql
  set jit = off set enable_seqscan = off as $$ #variable_conflict use_column
declare
  v_ids bigint[] := '{}'; v_paused bigint[] := '{}'; v_passed text[] := '{}'; v_after bigint := -1;
  v_found bigint[]; v_aside bigint[]; v_blocked text[]; v_heads bigint[]; v_ready text[]; v_mirrored bigint[]; n int;
begin
  if not admittable() then return 0; end if;
  perform pg_advisory_xact_lock(hashtext('agentjobs admit'));
  loop                                                 -- again only where a locked job holds up others of its session
    with open as materialized (select unnest(reopened()) as name),     -- of this statement's snapshot, as the jobs are
      found as materialized (
        select * from (select id, queue, session, pos & 72057594037927935 as place from waiting
                       where state = 'n' and pos & 72057594037927935 > v_after and session <> all (v_passed)
                       order by pos & 72057594037927935 limit p_limit for update skip locked) new
        union all
        select p.* from open cross join lateral (
            select w.id, w.queue, w.session, w.pos & 72057594037927935 as place from waiting w
              where w.state = 'p' and w.queue = open.name and w.pos & 72057594037927935 > v_after and w.session <> all (v_passed)
              order by w.pos & 72057594037927935 limit p_limit for update skip locked) p),
      first as materialized (select * from found order by place limit p_limit),
      last as materialized (select max(place) as place from first),
      locked as materialized (                         -- per session the first job before the last one found that somebody has locked
        select w.session, min(w.place) as place
        from (select id, queue, session, pos & 72057594037927935 as place from waiting
              where state = 'n' and pos & 72057594037927935 > v_after and pos & 72057594037927935 < (select place from last)
              union all
              select p.* from open cross join lateral (
                  select w.id, w.queue, w.session, w.pos & 72057594037927935 as place from waiting w
                    where w.state = 'p' and w.queue = open.name and w.pos & 72057594037927935 > v_after
                      and w.pos & 72057594037927935 < (select place from last)) p) w
        where w.session <> all (v_passed) and not exists (select from first where first.id = w.id)
          and not exists (select from queue q where q.name = w.queue and q.paused_at is not null)
        group by w.session)
    select array_agg(f.id order by f.place) filter (where q.name is null and l.place is null),
           array_agg(f.id) filter (where q.name is not null), array_agg(distinct l.session),
           case when count(*) = p_limit then max(f.place) end
      into v_found, v_aside, v_blocked, v_after
    from first f left join queue q on q.name = f.queue and q.paused_at is not null
                 left join locked l on l.session = f.session and l.place < f.place;
    v_ids := v_ids || v_found; v_paused := v_paused || v_aside;
    v_passed := v_passed || array_remove(v_blocked, null);
    exit when v_after is null or cardinality(v_passed) = 0 or cardinality(v_ids) >= p_limit;
  end loop;
  n := cardinality(v_ids) + cardinality(v_paused);
  if v_paused <> '{}' then
    with aside as (update waiting w set state = 'p', reason = 'QueuePaused', message = paused_message(q.name, q.paused_by, q.paused_reason)
                   from queue q where w.id = any (v_paused) and q.name = w.queue returning w.id, w.mirrored)
    select array_agg(id) filter (where mirrored) into v_mirrored from aside;
    if v_mirrored is not null then perform touch(v_mirrored); end if;
  end if;
  if v_ids = '{}' then return n; end if;
  -- opens the sessions that nobody holds; locks the others until commit (the conflict arm writes nothing)
  with first as (select distinct on (w.session) w.session, w.id from waiting w where w.id = any(v_ids) order by w.session, place(w.pos)),
    opened as (insert into session (key, holder) select session, id from first order by session
               on conflict (key) do update set key = excluded.key where false returning holder)
  select array_agg(holder) into v_heads from opened;
  with moved as (
      update waiting w set state = case when w.id = any(v_heads) then ready_state(w.losses) else 'b' end,
             reason = case when w.id = any(v_heads) then '' else 'BehindSession' end, message = null
      where w.id = any(v_ids) returning w.id, w.queue, w.state, w.mirrored)
  select array_agg(queue) filter (where state <> 'b'), array_agg(id) filter (where mirrored)
    into v_ready, v_mirrored from moved;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  return n;
end $$;
