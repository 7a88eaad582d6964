-- Schedules. A tick is a row from its decision until its child has ended: so schedule_tick is at once the list of children still to
-- be created and the list of unfinished ones; schedule.last_tick, which only moves on, is the lock of invariant 9.
-- Lock order in all of them: schedule rows by uid, then their ticks.

-- schedule_rows: schedules with their ticks, and the time. claimed_for: seconds that the claim on the child still holds.
create or replace function schedule_rows(p_uids uuid[]) returns json language sql stable
  set enable_seqscan = off set jit = off as $$
  select json_build_object('now', clock_timestamp(), 'rows', (
    select json_agg(json_build_object(
      'uid', s.uid, 'version', s.version, 'generation', s.generation, 'created_at', s.created_at,
      'accepted', s.accepted, 'accepted_at', s.accepted_at, 'changed_at', s.changed_at,
      'suspended', s.suspended, 'suspended_at', s.suspended_at, 'unsuspended_at', s.unsuspended_at,
      'last_tick', s.last_tick, 'last_successful', s.last_successful, 'last_finished', s.last_finished,
      'last_result', s.last_result, 'missed', s.missed, 'run_handled', s.run_handled,
      'ticks', (select json_agg(json_build_object(
                  'child', t.child, 'tick', t.tick, 'manual', t.manual, 'claimant', t.claimant, 'uid', t.child_uid,
                  'decided_at', t.decided_at, 'claimed_for', extract(epoch from t.claimed_until - clock_timestamp()))
                    order by t.tick, t.child)
                from schedule_tick t where t.schedule = s.uid)))
    from schedule s where s.uid = any (p_uids))) $$;

-- record_schedule_acts: the rows of audit of those of these objects that are newer than their rows, and suspend or resume them.
-- Index: schedule's primary key. Lock order: schedule rows by uid, as the caller's.
create or replace function record_schedule_acts(p_seen json) returns void language plpgsql as $$ #variable_conflict use_column
declare c record;
begin
  for c in
    select s.uid, s.namespace, s.name, s.suspended as was, n.suspended,
           case when n.suspended then 'suspend' else 'resume' end as verb,
           case when n.act_key is distinct from s.act_handled then n.act end as act
    from json_to_recordset(p_seen) as n(uid uuid, generation bigint, suspended boolean, act json, act_key text)
    join schedule s on s.uid = n.uid
    where n.generation > s.generation and n.suspended <> s.suspended order by s.uid for update of s
  loop
    perform record_act(c.verb, c.namespace, c.name, c.uid, null,
                       case when c.act->>'verb' = c.verb then c.act else '{"source": "object"}' end,
                       jsonb_build_object('suspended', c.was), jsonb_build_object('suspended', c.suspended));
  end loop;
end $$;

-- schedule_save: what was seen of objects. Only a newer generation changes a row, or an older one where a sweep has read the row (as
-- it was in row_generation) before the object: etcd was restored. Nothing is written where nothing changed. A new
-- row goes on where the object's own status stands: a restored database repeats no tick.
-- Whoever suspends or resumes a schedule that is known acts, and gets a row of audit. act, act_key: as apply(); one annotation stands
-- for one change, that with which it came.
create or replace function schedule_save(p_seen json, p_now timestamptz) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
begin
  perform record_schedule_acts(p_seen);
  insert into schedule as s (uid, cluster_id, namespace, name, version, generation, times, created_at, saved_at, accepted, accepted_at,
                             changed_at, suspended, suspended_at, unsuspended_at, last_tick, last_successful, missed, act_handled)
  select n.uid, n.cluster_id, n.namespace, n.name, coalesce(n.revision, 0) + 1, n.generation, n.times, n.created_at,
         clock_timestamp(), n.accepted, clock_timestamp(), case when n.generation > 1 then least(n.edited_at, p_now) end,
         n.suspended, case when n.suspended then least(n.edited_at, p_now) end,
         case when n.was_suspended and not n.suspended then least(n.edited_at, p_now) end,
         n.last_tick, n.last_successful, coalesce(n.missed, 0), n.act_key
  from json_to_recordset(p_seen) as n(uid uuid, cluster_id text, namespace text, name text, revision bigint, generation bigint, times text,
    created_at timestamptz, edited_at timestamptz, accepted boolean, suspended boolean, was_suspended boolean, last_tick timestamptz,
    last_successful timestamptz, missed bigint, act_key text)
  order by n.uid
  on conflict (uid) do update set
    version = greatest(s.version, excluded.version - 1) + 1, generation = excluded.generation,
    times = excluded.times, accepted = excluded.accepted,
    accepted_at = case when s.accepted = excluded.accepted then s.accepted_at else clock_timestamp() end,
    changed_at = case when s.times = excluded.times then s.changed_at else coalesce(excluded.changed_at, p_now) end,
    suspended = excluded.suspended,
    suspended_at = case when excluded.suspended and not s.suspended then coalesce(excluded.suspended_at, p_now) else s.suspended_at end,
    unsuspended_at = case when s.suspended and not excluded.suspended then coalesce(excluded.changed_at, p_now) else s.unsuspended_at end,
    last_tick = greatest(s.last_tick, excluded.last_tick), last_successful = greatest(s.last_successful, excluded.last_successful),
    act_handled = coalesce(excluded.act_handled, s.act_handled)
  where excluded.generation > s.generation
     or (excluded.generation < s.generation and exists (
           select from json_to_recordset(p_seen) as n(uid uuid, row_generation bigint)
           where n.uid = s.uid and n.row_generation = s.generation))
     or (excluded.generation = s.generation and excluded.accepted <> s.accepted)
     or (excluded.generation = s.generation and excluded.act_handled <> coalesce(s.act_handled, ''))
     or excluded.last_tick > coalesce(s.last_tick, '-infinity') or excluded.version - 1 > s.version;
  return schedule_rows(array(select uid from json_to_recordset(p_seen) as n(uid uuid)));
end $$;

-- schedule_decide: what a process decided upon a row of this version, with the tick whose child is to be created. Of two processes
-- that decide at once one comes first, and the decision of the other counts for nothing. A run that a person asked for gets its row of
-- audit; act: who and why, as an annotation of the schedule says.
create or replace function schedule_decide(p_claimant uuid, p_claim interval, p_decided json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp(); v_decided uuid[]; v_told bigint;
begin
  with said as materialized (
      select * from json_to_recordset(p_decided) as n(uid uuid, version bigint, last_tick timestamptz, run_handled text, missed bigint,
                                                      abandon text, child text, tick timestamptz, manual boolean,
                                                      act json)),
    mine as materialized (select s.uid from schedule s join said n on n.uid = s.uid and n.version = s.version order by s.uid
                          for update of s),
    changed as (update schedule s set version = s.version + 1, last_tick = greatest(s.last_tick, n.last_tick),
                       run_handled = coalesce(n.run_handled, s.run_handled), missed = s.missed + coalesce(n.missed, 0)
                from said n join mine using (uid) where s.uid = n.uid returning s.uid),
    abandoned as (delete from schedule_tick t using said n, changed c
                  where c.uid = n.uid and t.schedule = n.uid and t.child = n.abandon and t.child_uid is null),
    made as (insert into schedule_tick (schedule, child, tick, manual, decided_at, claimant, claimed_until)
             select n.uid, n.child, n.tick, n.manual, v_now, p_claimant, v_now + p_claim from said n join changed using (uid)
               where n.child is not null
             order by n.uid on conflict do nothing returning schedule, child),
    told as (select record_act('run-now', s.namespace, s.name, s.uid, null, coalesce(n.act, '{"source": "object"}'), null,
                               jsonb_build_object('child', m.child))
             from made m join said n on n.uid = m.schedule join schedule s on s.uid = m.schedule where n.manual)
  select array_agg(uid), (select count(*) from told) into v_decided, v_told from changed;
  return json_build_object('decided', v_decided,
                           'found', schedule_rows(array(select uid from json_to_recordset(p_decided) as n(uid uuid))));
end $$;

-- schedule_claim: the right to create these children from now on, where nobody else has it. A child that the queue knows exists,
-- whatever has become of its object since: it is not created again. Index: job_by_object.
create or replace function schedule_claim(p_claimant uuid, p_claim interval, p_ticks json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  perform 1 from schedule where uid in (select schedule from json_to_recordset(p_ticks) as n(schedule uuid)) order by uid for update;
  with said as materialized (
      select t.schedule, t.child, j.uid as found
      from json_to_recordset(p_ticks) as n(schedule uuid, child text)
      join schedule s on s.uid = n.schedule join schedule_tick t on t.schedule = n.schedule and t.child = n.child
      left join lateral (select j.uid from job j where j.namespace = s.namespace and j.name = n.child and j.cluster_id = s.cluster_id
                           and j.payload->'schedule'->>'uid' = n.schedule::text order by j.id limit 1) j on true
      where t.child_uid is null order by t.schedule, t.child for update of t),
    claimed as (update schedule_tick t set child_uid = n.found,
                       claimant = case when n.found is null then p_claimant else t.claimant end,
                       claimed_until = case when n.found is null then v_now + p_claim else t.claimed_until end
                from said n where t.schedule = n.schedule and t.child = n.child
                  and (n.found is not null or t.claimant = p_claimant or t.claimed_until < v_now))
  update schedule s set version = version + 1 where s.uid in (select schedule from said where found is not null);
  return schedule_rows(array(select distinct schedule from json_to_recordset(p_ticks) as n(schedule uuid)));
end $$;

-- schedule_confirm: these children exist.
create or replace function schedule_confirm(p_ticks json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
begin
  with said as materialized (select * from json_to_recordset(p_ticks) as n(schedule uuid, child text, uid uuid)),
    mine as materialized (select s.uid from schedule s where s.uid in (select schedule from said) order by s.uid for update),
    confirmed as (update schedule_tick t set child_uid = n.uid from said n join mine on mine.uid = n.schedule
                  where t.schedule = n.schedule and t.child = n.child and t.child_uid is null returning t.schedule)
  update schedule s set version = version + 1 where s.uid in (select schedule from confirmed);
  return schedule_rows(array(select distinct schedule from json_to_recordset(p_ticks) as n(schedule uuid)));
end $$;

-- schedule_settled: which of these children may be deleted. A tick that is known to be created needs no name of a child to keep it
-- from being created again (H29).
create or replace function schedule_settled(p_ticks json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  perform schedule_confirm(json_agg(n)) from json_to_recordset(p_ticks) as n(schedule uuid, child text, uid uuid)
    join schedule_tick t on t.schedule = n.schedule and t.child = n.child where t.child_uid is null and t.claimed_until < v_now
    having count(*) > 0;
  return (select json_agg(n.uid) from json_to_recordset(p_ticks) as n(schedule uuid, child text, uid uuid)
          where not exists (select from schedule_tick t where t.schedule = n.schedule and t.child = n.child and t.child_uid is null));
end $$;

-- schedule_close: ticks whose child has ended, by the queue's own record. p_children: look at these only; null: at all of the cluster.
-- p_gone: children whose object is gone, and that the queue may never have seen. Answers what ended. Index: schedule_tick_child.
create or replace function schedule_close(p_cluster text, p_children uuid[], p_gone uuid[]) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_ended json; v_schedules uuid[];
begin
  with those as materialized (
      select t.schedule, t.child_uid from schedule_tick t where p_children is not null and t.child_uid = any (p_children)
      union all
      select t.schedule, t.child_uid from schedule s join schedule_tick t on t.schedule = s.uid
        where p_children is null and s.cluster_id = p_cluster and t.child_uid is not null),
    mine as materialized (select s.uid from schedule s where s.uid in (select schedule from those) order by s.uid for update),
    ended as materialized (
      select t.schedule, t.child, t.child_uid, t.tick, t.manual, coalesce(o.state, j.tombstone, 'k') as state, o.reason, o.started_at,
             coalesce(o.finished_at, clock_timestamp()) as finished_at
      from those join mine on mine.uid = those.schedule join schedule_tick t on t.child_uid = those.child_uid
      left join job j on j.uid = t.child_uid left join outcome o on o.id = j.id
      where o.id is not null or j.tombstone is not null or t.child_uid = any (p_gone)
      order by t.schedule, t.child for update of t),
    closed as (delete from schedule_tick t using ended e where t.schedule = e.schedule and t.child = e.child returning t.schedule),
    last as (select distinct on (schedule) schedule, state, finished_at from ended order by schedule, finished_at desc),
    good as (select schedule, max(finished_at) as finished_at from ended where state = 'c' group by 1),
    told as (update schedule s set version = version + 1, last_successful = greatest(s.last_successful, good.finished_at),
                    last_finished = greatest(s.last_finished, last.finished_at),
                    last_result = case when s.last_finished > last.finished_at then s.last_result else last.state end
             from last left join good using (schedule) where s.uid = last.schedule
               and exists (select from closed c where c.schedule = s.uid))
  select json_agg(json_build_object('schedule', schedule, 'child', child, 'uid', child_uid, 'tick', tick, 'manual', manual, 'state', state,
                                    'reason', coalesce(reason, ''), 'started_at', started_at, 'finished_at', finished_at)),
         array_agg(distinct schedule) into v_ended, v_schedules from ended;
  return json_build_object('ended', v_ended, 'found', schedule_rows(coalesce(v_schedules, '{}')));
end $$;

-- schedule_forget: the objects of these schedules are gone.
create or replace function schedule_forget(p_uids uuid[]) returns void language sql as $$
  delete from schedule where uid in (select uid from schedule where uid = any (p_uids) order by uid for update) $$;

-- schedule_waiting: what other processes have left behind: ticks whose child nobody creates, and children whose object the queue has
-- not seen for a minute. Index: schedule_tick_pending.
create or replace function schedule_waiting(p_cluster text) returns json language plpgsql stable
  set jit = off as $$
declare v_now timestamptz := clock_timestamp();
begin
  return json_build_object('now', v_now,
    'pending', (select json_agg(distinct t.schedule) from schedule_tick t join schedule s on s.uid = t.schedule
                where t.child_uid is null and t.claimed_until < v_now and s.cluster_id = p_cluster),
    'unseen', (select json_agg(json_build_array(t.schedule, t.child, t.child_uid))
               from schedule_tick t join schedule s on s.uid = t.schedule
               where t.child_uid is not null and t.decided_at < v_now - interval '1 minute' and s.cluster_id = p_cluster
                 and not exists (select from job j where j.uid = t.child_uid)));
end $$;

-- schedule_known: what a LIST of the objects is compared with, page by page. Index: schedule_by_cluster.
create or replace function schedule_known(p_cluster text, p_after uuid, p_limit int)
  returns table (uid uuid, namespace text, name text, generation bigint, saved_at timestamptz)
  language sql stable as $$
  select uid, namespace, name, generation, saved_at from schedule where cluster_id = p_cluster and uid > p_after
    order by uid limit p_limit $$;
