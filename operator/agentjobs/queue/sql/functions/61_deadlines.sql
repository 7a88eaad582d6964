-- expire: waiting jobs past a deadline fail, running ones are asked to stop (H20). n: how many; keys: the sessions that lost their
-- holder. A starting deadline stands still while the queue is paused: jobs of paused queues are not looked at; in an open queue
-- the deadline of a job that pauses have held up moves on, when it passes, by the time that they took.
-- Indexes: waiting_starting_deadline, walked queue by queue; waiting_active_deadline, waiting_asked, running_deadline.
create or replace function expire(p_limit int, out n int, out keys text[]) language plpgsql
  set enable_seqscan = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_queues text[]; v_late bigint[]; v_mirrored bigint[]; v_workers uuid[]; m int;
begin
  with recursive names as (
    (select queue as name from waiting where deadline is not null and started_at is null order by queue limit 1)
    union all
    select (select w.queue from waiting w where w.deadline is not null and w.started_at is null and w.queue > n.name
            order by w.queue limit 1) from names n where n.name is not null)
  select array_agg(name) into v_queues from names
  where exists (select from waiting w where w.queue = names.name and w.deadline < v_now and w.started_at is null)
    and not exists (select from queue q where q.name = names.name and q.paused_at is not null);
  if v_queues is not null then
    with passed as materialized (
        select w.* from unnest(v_queues) q(name) cross join lateral (
          select w.id, w.deadline, paused_between(w.queue, greatest(w.run_at, w.pauses_from), v_now) as stood from waiting w
          where w.queue = q.name and w.deadline < v_now and w.started_at is null
          order by w.deadline limit greatest(10, p_limit / cardinality(v_queues)) for update of w skip locked) w),
      moved as (update waiting w set deadline = w.deadline + p.stood, pauses_from = v_now from passed p
                where w.id = p.id and p.stood > interval '0')
    select array_agg(id) into v_late from passed where deadline + stood < v_now;
  end if;
  with late as materialized (                           -- looks of their own, each in the order of its index
      select unnest(v_late) as id
      union
      select id from (select id from waiting where deadline < v_now and started_at is not null
                      order by deadline limit p_limit for update skip locked) started
      union
      select id from (select id from waiting where state = 'i' and asked_until < v_now
                      order by asked_until limit p_limit for update skip locked) asked),
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
