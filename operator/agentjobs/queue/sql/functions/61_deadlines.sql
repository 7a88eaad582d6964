-- walk_queues: names of queues with jobs of one kind, at most p_most. p_walk, the kind: deadline, asked, held: jobs with that clock (see
-- overdue); ready: ready jobs with an object (see explain). Where there are more names, the next call goes on behind the last of these:
-- what a call costs does not grow with the names that somebody has made up. Indexes, walked name by name: waiting_deadline,
-- waiting_asked, waiting_held_until, waiting_reason. Lock order: the row of walk, before any that its caller locks for these names.
create or replace function walk_queues(p_walk text, p_most int) returns setof text language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_name text := (select w.queue from walk w where w.name = p_walk); n int := 0;
begin
  while n < p_most loop
    v_name := case p_walk
      when 'deadline' then (select queue from waiting where deadline is not null and queue > v_name order by queue limit 1)
      when 'asked' then (select queue from waiting where state = 'i' and queue > v_name order by queue limit 1)
      when 'held' then (select queue || '' from waiting where state = 'm' and queue || '' > v_name order by queue || '' limit 1)
      else (select queue from waiting where state = 'r' and mirrored and queue > v_name order by queue limit 1) end;
    exit when v_name is null;
    n := n + 1;
    return next v_name;
  end loop;
  update walk w set queue = coalesce(v_name, '') where w.name = p_walk and w.queue <> coalesce(v_name, '');
end $$;

-- overdue: jobs of open queues that have a clock which has passed; pauses may still be to be taken from it (shift_clocks). p_clock:
-- deadline, asked, or held. Locked, and at most p_limit of each queue. Jobs of paused queues are left alone: their clocks stand.
-- Where few jobs are past their time, an index of the times finds them. Where many are, perhaps all in paused queues, or in one queue
-- more than can be ended at once, each queue is asked by itself, so that none waits for another.
-- Indexes: waiting_past_deadline, waiting_past_asked, waiting_past_held; then walk_queues()'s. Lock order: waiting rows, those that nobody
-- has locked.
create or replace function overdue(p_clock text, p_now timestamptz, p_limit int) returns bigint[] language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_name text; v_queues text[]; v_ids bigint[] := '{}'; v_few int := least(500, p_limit + 1); c_names constant int := 200;
begin
  if p_clock = 'deadline' then
    select array_agg(id), array_agg(queue) into v_ids, v_queues
      from (select id, queue from waiting where deadline < p_now order by deadline limit v_few) x;
  elsif p_clock = 'asked' then
    select array_agg(id), array_agg(queue) into v_ids, v_queues
      from (select id, queue from waiting where state = 'i' and asked_until < p_now order by asked_until limit v_few) x;
  else
    select array_agg(id), array_agg(queue) into v_ids, v_queues
      from (select id, queue from waiting where state = 'm' and held_until < p_now order by held_until limit v_few) x;
  end if;
  if v_ids is null then return '{}'; end if;
  if cardinality(v_ids) < v_few then
    return array(select id from waiting where id = any (v_ids)
                   and queue <> all (array(select q.name from queue q where q.name = any (v_queues) and q.paused_at is not null))
                 order by id for update skip locked);
  end if;
  v_ids := '{}';
  for v_name in select * from walk_queues(p_clock, c_names) loop
    continue when exists (select from queue q where q.name = v_name and q.paused_at is not null);
    v_ids := v_ids || case p_clock
      when 'deadline' then array(select id from waiting where queue = v_name and deadline < p_now
                                 order by deadline limit p_limit for update skip locked)
      when 'asked' then array(select id from waiting where state = 'i' and queue = v_name and asked_until < p_now
                              order by asked_until limit p_limit for update skip locked)
      else array(select id from waiting where state = 'm' and queue || '' = v_name and held_until < p_now
                 order by held_until limit p_limit for update skip locked) end;
  end loop;
  return v_ids;
end $$;

-- expire: waiting jobs past a deadline fail, running ones are asked to stop (H20). Waiting jobs of paused queues are left
-- alone. n: how many; keys: the sessions that lost their holder.
-- Indexes: those of overdue(), running_deadline.
create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_late bigint[]; v_mirrored bigint[]; v_workers uuid[]; m int;
  v_ended bigint[];
begin
  v_late := overdue('deadline', v_now, p_limit) || overdue('asked', v_now, p_limit);
  if v_late <> '{}' then perform shift_clocks(v_late); end if;
  with gone as (delete from waiting w where w.id = any (v_late) and (w.deadline < v_now or w.state = 'i' and w.asked_until < v_now)
                returning w.*),
    ended as (insert into outcome (id, facet, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, facet, 'f',
                     case when started_at is null then 'StartingDeadlineExceeded'
                          when state = 'i' and asked_until <= coalesce(deadline, 'infinity') then 'InputDeadlineExceeded'
                          else 'DeadlineExceeded' end,
                     case when started_at is null then 'not started by ' || iso_time(deadline) || ' (startingDeadlineSeconds)'
                          when state = 'i' and asked_until <= coalesce(deadline, 'infinity')
                          then 'not answered by ' || iso_time(asked_until) || ' (inputDeadlineSeconds)' || coalesce(': ' || message, '')
                          else 'not finished by ' || iso_time(deadline) || ' (activeDeadlineSeconds)'
                               || case when reason <> '' then '; it waited: ' || reason || coalesce(': ' || message, '') else '' end end,
                     queue, attempt, run, started_at, clock_timestamp(), spent from gone)
  select count(*), array_agg(session) filter (where session is not null and (started_at is not null or state in ('r', 'q', 'm'))),
         array_agg(id) filter (where mirrored), array_agg(id) into n, keys, v_mirrored, v_ended from gone;
  if v_ended is not null then perform count_ended(v_ended); end if;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (
      select id from running where deadline < v_now and control is distinct from 'k' and control is distinct from 'd'
      order by deadline limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;
