-- expire: waiting jobs past a deadline fail, running ones are asked to stop (H20). Waiting jobs of paused queues are left
-- alone. n: how many; keys: the sessions that lost their holder.
-- Indexes: waiting_deadline, waiting_asked, running_deadline.
create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_mirrored bigint[]; v_workers uuid[]; m int;
  v_paused text[] := array(select name from queue where paused_at is not null);
begin
  with late as materialized (                           -- two looks, each in the order of its index: an `or` would walk all that waits
      select id from (select w.id from waiting w
                      where w.deadline < v_now and w.queue <> all (v_paused)
                      order by w.deadline limit p_limit for update of w skip locked) late
      union
      select id from (select id from waiting where state = 'i' and asked_until < v_now and queue <> all (v_paused)
                      order by asked_until limit p_limit for update skip locked) asked
      limit p_limit),
    gone as (delete from waiting w using late where w.id = late.id returning w.*),
    ended as (insert into outcome (id, state, reason, message, queue, attempt, run, started_at, finished_at, spent)
              select id, 'f',
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
         array_agg(id) filter (where mirrored) into n, keys, v_mirrored from gone;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  with late as materialized (
      select id from running where deadline < v_now and control is distinct from 'k' and control is distinct from 'd'
      order by deadline limit p_limit for update skip locked),
    asked as (update running r set control = 'd' from late where r.id = late.id returning r.worker)
  select count(*), array_agg(distinct worker) into m, v_workers from asked;
  perform pg_notify('agentjobs_control', w::text) from unnest(v_workers) w;
  n := n + m;
end $$;
