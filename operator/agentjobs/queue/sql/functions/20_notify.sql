-- Wake-ups. They are hints only: polling finds the same facts. Postgres sends each once per transaction, at its commit.

-- touch: marks the objects of these jobs as stale, for the operator to project. The caller holds the rows of the jobs (waiting,
-- running or job), so no two transactions mark the same job at once. Of the operator's own calls, touch_uids() and projected() hold
-- none: beside a step that marks several jobs one of them may end in a deadlock, and is repeated. The status writer is told of new
-- marks and of ends: an older mark it has read, or will when that is due; an end it writes at once. Indexes: the primary keys of
-- outbox and outcome; rows in the order of the ids.
create or replace function touch(p_ids bigint[]) returns void language sql as $$
  with marked as (
    insert into outbox (id, version, marked_at)
    select i, nextval('outbox_version'), clock_timestamp() from unnest(p_ids) i order by i
    on conflict (id) do update set version = excluded.version
    returning id, xmax = 0 as new)
  select pg_notify('agentjobs_outbox', '')
  where exists (select from marked m where m.new or exists (select from outcome o where o.id = m.id));
$$;

-- notify_ready: wakes those who look out for these queues; a queue is named once for each job that is ready. Channel agentjobs_ready says
-- which queue; agentjobs_call also says how many jobs, and a number by which each of the lookouts knows whether it is meant (44_beat).
-- p_many: there may be more jobs than the names say.
create or replace function notify_ready(p_queues text[], p_many boolean default false) returns void language sql as $$
  select pg_notify('agentjobs_ready', q),
         pg_notify('agentjobs_call', concat_ws(' ', q, case when p_many then 1000000 else count(*) end,
                                               mod(pg_current_xact_id()::text::bigint, 1000000)))
  from unnest(p_queues) q where q is not null group by q $$;

-- tell_ended: tells of those of these jobs, which the caller has just ended, that somebody awaits (await_ends): channel
-- agentjobs_ended says the uid. It locks nothing: who awaits may hold a row of awaited as long as he likes. Each end of a job runs it, so
-- it has no settings of its own: the statement is written row by row instead. Indexes: awaited_until for the first look, primary keys.
create or replace function tell_ended(p_ids bigint[]) returns void language plpgsql as $$
begin
  if not exists (select from awaited) then return; end if;
  perform pg_notify('agentjobs_ended', j.uid::text)
  from unnest(p_ids) i cross join lateral (select job.uid from job where job.id = i offset 0) j
  where (select true from awaited a where a.uid = j.uid);
end $$;
