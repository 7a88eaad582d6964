-- paused_total: how long a queue had been paused in total at a time. Index: pause's primary key.
create or replace function paused_total(p_queue text, p_at timestamptz) returns interval language sql stable as $$
  select coalesce(
    (select before + least(coalesce(unpaused_at, p_at), p_at) - paused_at from pause
      where queue = p_queue and paused_at <= p_at order by paused_at desc limit 1),
    (select before from pause where queue = p_queue order by paused_at limit 1),       -- the pauses before it are forgotten
    interval '0') $$;

-- paused_between: how long of this span a queue was paused.
create or replace function paused_between(p_queue text, p_from timestamptz, p_to timestamptz) returns interval language sql stable as $$
  select case when p_from < p_to then paused_total(p_queue, p_to) - paused_total(p_queue, p_from) else interval '0' end $$;

-- shift_clocks: the clocks that end these waiting jobs (deadlines, and maxWaitSeconds) stood still while their queue was paused
-- (H16, H20): they move on by that time. Index: the primary key. Lock order: waiting rows by id.
create or replace function shift_clocks(p_ids bigint[]) returns void language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_mirrored bigint[];
begin
  if not exists (select from pause) then return; end if;
  with mine as materialized (
      select id, paused_between(queue, counts_from, v_now) as paused,
             paused_between(queue, greatest(counts_from, wait_since), v_now) as of_wait,
             paused_between(queue, greatest(counts_from, run_at), v_now) as of_start
      from waiting where id = any (p_ids) order by id for update),
    shifted as (update waiting w set counts_from = v_now, wait_since = wait_since + of_wait, held_until = held_until + of_wait,
                       asked_until = asked_until + paused,
                       deadline = deadline + case when started_at is not null then paused else of_start end
                from mine where w.id = mine.id and paused > interval '0'
                returning w.id, w.mirrored and w.asked_until is not null as shown)
  select array_agg(id) filter (where shown) into v_mirrored from shifted;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
end $$;

-- set_queue: pauses or unpauses a queue, and sets its limit. p_pause null: as it is. Of a queue that is paused already it stays by whom
-- and why. It changes no job: yield_paused(), admit() and the stages of tick() find the pause, or its end, by themselves.
-- A new limit waits for the claims under way: they end first and count, later ones see the limit (H22).
-- p_act: who asks, as record_act(); what it does not say, p_by and p_reason do.
-- Lock order: the table running (share row exclusive, where a limit is set), the queue's row, its pauses.
create or replace function set_queue(p_name text, p_pause boolean, p_by text, p_reason text, p_set_limit boolean,
                                     p_max_running int, p_act json default null) returns void
  language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); c_kept constant int := 1000; v_before queue;
  v_act json := json_build_object('actor', coalesce(nullif(p_act->>'actor', ''), p_by),
                                  'reason', coalesce(nullif(p_act->>'reason', ''), p_reason), 'source', p_act->>'source');
begin
  if p_set_limit then
    lock table running in share row exclusive mode;
    update running set limited = p_max_running is not null where queue = p_name;
  end if;
  insert into queue (name) values (p_name) on conflict do nothing;
  select * into v_before from queue where name = p_name for update;
  update queue set
    paused_at = case when p_pause is null then paused_at when p_pause then coalesce(paused_at, v_now) end,
    paused_by = case when p_pause is null or p_pause and paused_at is not null then paused_by when p_pause then p_by end,
    paused_reason = case when p_pause is null or p_pause and paused_at is not null then paused_reason when p_pause then p_reason end,
    max_running = case when p_set_limit then p_max_running else max_running end where name = p_name;
  perform record_act(case when p_pause then 'pause' else 'unpause' end, '', p_name, null, p_name, v_act,
                     jsonb_build_object('paused', v_before.paused_at is not null),
                     jsonb_build_object('paused', coalesce(p_pause, v_before.paused_at is not null)));
  perform record_act('limit', '', p_name, null, p_name, v_act, jsonb_build_object('maxRunning', v_before.max_running),
                     jsonb_build_object('maxRunning', case when p_set_limit then p_max_running else v_before.max_running end));
  if p_pause then
    insert into pause (queue, paused_at, before) select p_name, v_now, paused_total(p_name, v_now)
      where not exists (select from pause where queue = p_name and unpaused_at is null);
    delete from pause where queue = p_name and paused_at < (select paused_at from pause where queue = p_name
                                                            order by paused_at desc offset c_kept limit 1);
  elsif not p_pause then
    update pause set unpaused_at = greatest(v_now, paused_at) where queue = p_name and unpaused_at is null;
  end if;
  perform notify_ready(array[p_name], true);
  perform pg_notify('agentjobs_admit', '');
end $$;

-- yield_paused: while a queue is paused, its jobs that never started hold no session and stand behind none (H17): state p.
-- Answers how many it moved; where that is p_limit there may be more.
-- The last in line go first, and none that has one behind it in its session that somebody has locked: whenever the queue is opened, those
-- that were put aside come behind those that were not. Those of other sessions go on.
-- No job is admitted meanwhile: one that came behind these would overtake them. Index: waiting_yields, from its end. Lock order: admit()'s
-- advisory lock; waiting rows, those that nobody has locked; then sessions by key.
create or replace function yield_paused(p_queue text, p_limit int default 1000) returns int language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare
  v_keys text[]; n int := 0; v_mirrored bigint[]; v_message text; v_passed text[] := '{}';
  v_moved int; v_left text[]; v_seen bigint[]; v_blocked text[]; v_more boolean;
begin
  perform pg_advisory_xact_lock(hashtext('agentjobs admit'));
  select paused_message(name, paused_by, paused_reason) into v_message from queue where name = p_queue and paused_at is not null;
  if not found then return 0; end if;
  loop                                                 -- again only where a locked job holds up others of its session
    with found as materialized (
        select id, state, session, mirrored, pos & 72057594037927935 as place from waiting
        where queue = p_queue and session is not null and started_at is null and state in ('r', 'q', 'm', 'b')
          and session <> all (v_passed)
        order by pos & 72057594037927935 desc limit p_limit - n for update skip locked),
      locked as materialized (                         -- per session the last job that somebody has locked
        select session, max(pos & 72057594037927935) as place from waiting w
        where queue = p_queue and session is not null and started_at is null and state in ('r', 'q', 'm', 'b')
          and session <> all (v_passed) and pos & 72057594037927935 > (select min(place) from found)
          and not exists (select from found where found.id = w.id)
        group by session),
      turn as materialized (
        select f.*, l.session as blocked from found f left join locked l on l.session = f.session and l.place > f.place),
      mine as (select * from turn where blocked is null),
      u as (update waiting w set state = 'p', reason = 'QueuePaused', message = v_message, wait_since = null from mine
            where w.id = mine.id)
    select count(*) filter (where blocked is null), array_agg(session) filter (where blocked is null and state <> 'b'),
           array_agg(id) filter (where blocked is null and mirrored), array_agg(distinct blocked) filter (where blocked is not null),
           count(*) = p_limit - n
      into v_moved, v_left, v_seen, v_blocked, v_more from turn;
    n := n + v_moved; v_keys := v_keys || v_left; v_mirrored := v_mirrored || v_seen; v_passed := v_passed || v_blocked;
    exit when v_blocked is null or not v_more or n >= p_limit;
  end loop;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_keys is not null then perform session_next(v_keys); end if;
  return n;
end $$;
