-- The stages of tick() follow: promote, expire, rescue. Each takes only rows that nobody has locked, at most p_limit of
-- them; some return the sessions that lost their holder, and tick() lets the next jobs go once, as its last step.
-- The time is a variable in all of them: a call of clock_timestamp() in a condition is volatile, so no index could serve it.

-- promote: jobs that are due become ready. One of a shared session that never started is admitted first, and takes its place in
-- line now (H17): places are given in the order of becoming due, so one that somebody has locked holds up those of its session
-- that are due after it. Index: waiting_later.
create or replace function promote(p_limit int) returns int language plpgsql as $$ #variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp(); n int := 0; v_passed text[] := '{}'; v_ready text[]; v_new boolean := false; v_mirrored bigint[];
  v_moved int; v_more boolean; v_queues text[]; v_entered boolean; v_seen bigint[]; v_blocked text[];
begin
  loop                                                 -- again only where a locked job holds up others of its session
    with found as materialized (
        select id, run_at, place(pos) as place, case when started_at is null then session end as stands_in from waiting
        where state = 'l' and run_at <= v_now and (session is null or started_at is not null or session <> all (v_passed))
        order by run_at, place(pos) limit p_limit for update skip locked),
      locked as materialized (                         -- per session the first job due by then that somebody has locked
        select distinct on (session) session, run_at, place(pos) as place from waiting w
        where state = 'l' and run_at <= (select max(run_at) from found) and session is not null and started_at is null
          and session <> all (v_passed) and not exists (select from found where found.id = w.id)
        order by session, run_at, place(pos)),
      turn as materialized (
        select f.id, f.run_at, f.place, l.session as blocked
        from found f left join locked l on l.session = f.stands_in and (l.run_at, l.place) < (f.run_at, f.place)),
      due as materialized (
        select id, nextval('position') as line from (select id from turn where blocked is null order by run_at, place) d),
      moved as (update waiting w set since = clock_timestamp(), reason = '', message = null,
                  state = case when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end,
                  pos = case when w.started_at is null then pos(priority(w.pos), due.line) else w.pos end
                from due where w.id = due.id returning w.id, w.queue, w.mirrored, w.state)
    select count(*), array_agg(queue) filter (where state <> 'n'), bool_or(state = 'n'), array_agg(id) filter (where mirrored),
           (select array_agg(distinct blocked) from turn where blocked is not null), (select count(*) from found) = p_limit
      into v_moved, v_queues, v_entered, v_seen, v_blocked, v_more from moved;
    n := n + v_moved; v_ready := v_ready || v_queues; v_new := v_new or coalesce(v_entered, false); v_mirrored := v_mirrored || v_seen;
    v_passed := v_passed || v_blocked;
    exit when v_blocked is null or not v_more or n >= p_limit;
  end loop;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  return n;
end $$;
