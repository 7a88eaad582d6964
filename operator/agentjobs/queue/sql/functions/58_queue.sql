-- set_queue: pauses or unpauses a queue, and sets its limit. p_pause null: as it is. Unpausing gives the jobs' clocks the time
-- back that the pause took (H16, H20).
-- A new limit waits for the claims under way: they end first and count, later ones see the limit (H22).
-- Lock order: the table running (share row exclusive, where a limit is set), waiting rows of the queue, the queue's row.
create or replace function set_queue(p_name text, p_pause boolean, p_by text, p_reason text, p_set_limit boolean,
                                     p_max_running int) returns void
  language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_since timestamptz;
begin
  if p_pause = false then
    select paused_at into v_since from queue where name = p_name;
    if v_since is not null then
      perform shift_clocks(array(select id from waiting where queue = p_name
                                 and (deadline is not null or wait_since is not null or asked_until is not null)), v_since);
    end if;
  end if;
  if p_set_limit then
    lock table running in share row exclusive mode;
    update running set limited = p_max_running is not null where queue = p_name;
  end if;
  insert into queue as q (name, paused_at, paused_by, paused_reason, max_running)
  values (p_name, case when p_pause then v_now end, case when p_pause then p_by end, case when p_pause then p_reason end,
          case when p_set_limit then p_max_running end)
  on conflict (name) do update set
    paused_at = case when p_pause is null then q.paused_at when p_pause then coalesce(q.paused_at, v_now) end,
    paused_by = case when p_pause is null then q.paused_by when p_pause then p_by end,
    paused_reason = case when p_pause is null then q.paused_reason when p_pause then p_reason end,
    max_running = case when p_set_limit then p_max_running else q.max_running end;
  perform notify_ready(array[p_name]);
  perform pg_notify('agentjobs_admit', '');
end $$;

-- yield_paused: while a queue is paused, its jobs that never started hold no session and stand behind none: they are new again
-- (H17). Answers how many. Lock order: waiting rows by id, those that nobody has locked; then sessions by key.
create or replace function yield_paused(p_queue text) returns int language plpgsql as $$ #variable_conflict use_column
declare v_keys text[]; n int; v_mirrored bigint[]; v_message text;
begin
  select paused_message(name, paused_by, paused_reason) into v_message from queue where name = p_queue and paused_at is not null;
  if not found then return 0; end if;
  with mine as materialized (
      select id, state, session, mirrored from waiting where queue = p_queue and session is not null and started_at is null
        and state in ('r', 'q', 'm', 'b')
      order by id for update skip locked),
    u as (update waiting w set state = 'n', reason = 'QueuePaused', message = v_message, wait_since = null from mine where w.id = mine.id)
  select count(*), array_agg(session) filter (where state <> 'b'), array_agg(id) filter (where mirrored) into n, v_keys, v_mirrored
    from mine;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  if v_keys is not null then perform session_next(v_keys); end if;
  return n;
end $$;
