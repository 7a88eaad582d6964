-- The stages of tick() follow: promote, expire, rescue. Each takes only rows that nobody has locked, at most p_limit of
-- them; some return the sessions that lost their holder, and tick() lets the next jobs go once, as its last step.
-- The time is a variable in all of them: a call of clock_timestamp() in a condition is volatile, so no index could serve it.

-- promote: jobs that are due become ready. One of a shared session that never started is admitted first, and takes its place in
-- line now (H17): places are given in the order of becoming due. Index: waiting_later.
create or replace function promote(p_limit int) returns int language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); n int; v_ready text[]; v_new boolean; v_mirrored bigint[];
begin
  with due as materialized (
      select id, nextval('position') as line
      from (select id from waiting where state = 'l' and run_at <= v_now
            order by run_at, place(pos) limit p_limit for update skip locked) d),
    moved as (update waiting w set since = clock_timestamp(), reason = '', message = null,
                state = case when w.session is not null and w.started_at is null then 'n' else ready_state(w.losses) end,
                pos = case when w.started_at is null then pos(priority(w.pos), due.line) else w.pos end
              from due where w.id = due.id returning w.id, w.queue, w.mirrored, w.state)
  select count(*), array_agg(distinct queue) filter (where state <> 'n'), bool_or(state = 'n'), array_agg(id) filter (where mirrored)
    into n, v_ready, v_new, v_mirrored from moved;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  if v_new then perform pg_notify('agentjobs_admit', ''); end if;
  return n;
end $$;
