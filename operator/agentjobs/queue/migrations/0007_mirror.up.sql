-- outbox_read: jobs whose object shows a stale status: final ones at once, others when older than
-- p_coalesce, so that a short job costs one write. Read, project, then delete what did not change.
create function outbox_read(p_limit int, p_coalesce interval, p_exclude bigint[]) returns table (id bigint, version bigint, marked_at timestamptz, job json)
  language plpgsql stable set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from (
    select x.id from outbox x
    where x.id <> all (p_exclude)
      and (x.marked_at < clock_timestamp() - p_coalesce or exists (select from outcome o where o.id = x.id))
    order by x.version limit p_limit) due;
  if v_ids is null then return; end if;
  return query select x.id, x.version, x.marked_at, v.job from view(v_ids, 4, false) v join outbox x on x.id = v.id order by x.version;
end $$;

-- projected: removes exactly the versions that were written. A row that somebody else removed is marked
-- again: an older projector may have written last (H3). Returns the ids that are still, or again, stale.
create function projected(p_done json) returns bigint[] language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_gone bigint[]; v_missing bigint[];
begin
  with said as materialized (select * from json_to_recordset(p_done) as t(i bigint, v bigint, r int) order by i),
    mine as materialized (select x.id from outbox x join said on said.i = x.id and said.v = x.version order by x.id for update of x skip locked),
    d as (delete from outbox x using mine where x.id = mine.id)
  select array_agg(id) into v_gone from mine;
  with said as materialized (select * from json_to_recordset(p_done) as t(i bigint, v bigint, r int)),
    free as materialized (select j.id, said.r from job j join said on said.i = j.id where j.posted_run < said.r order by j.id for update of j skip locked)
  update job j set posted_run = free.r from free where j.id = free.id;
  select array_agg(t.i) into v_missing from json_to_recordset(p_done) as t(i bigint, v bigint, r int)
    where t.i <> all (coalesce(v_gone, '{}')) and not exists (select from outbox x where x.id = t.i)
      and exists (select from job j where j.id = t.i and not j.object_gone and j.tombstone is null);
  if v_missing is not null then perform touch(v_missing); end if;
  return array(select t.i from json_to_recordset(p_done) as t(i bigint, v bigint, r int) where t.i <> all (coalesce(v_gone, '{}')));
end $$;

-- outbox_drop: the object is not there to be written to.
create function outbox_drop(p_ids bigint[]) returns int language sql as $$
  with mine as materialized (select id from outbox where id = any (p_ids) order by id for update skip locked),
    d as (delete from outbox x using mine where x.id = mine.id returning 1)
  select count(*)::int from d $$;

-- touch_uids: status was wiped, or is not to be trusted.
create function touch_uids(p_uids uuid[]) returns int language plpgsql as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from job where uid = any (p_uids) and cluster_id is not null and not object_gone and tombstone is null;
  if v_ids is null then return 0; end if;
  perform touch(v_ids);
  return cardinality(v_ids);
end $$;

-- mirrored: what the sweeper compares with a LIST, by keyset on the primary key.
create function mirrored(p_after bigint, p_limit int, p_cluster text) returns table
  (id bigint, uid uuid, namespace text, name text, accepted_at timestamptz, final boolean, generation bigint, trimmed boolean) language sql stable as $$
  select j.id, j.uid, j.namespace, j.name, j.accepted_at,
         j.tombstone is not null or exists (select from outcome o where o.id = j.id), j.generation, j.tombstone is not null
  from job j where j.id > p_after and j.cluster_id = p_cluster and not j.object_gone order by j.id limit p_limit $$;

-- gone: a GET said that these objects are gone. A trimmed job has nothing left to protect (H1).
create function gone(p_uids uuid[]) returns int language plpgsql as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select array_agg(id) into v_ids from (select id from job where uid = any (p_uids) and not object_gone order by id for update) j;
  if v_ids is null then return 0; end if;
  update job set object_gone = true where id = any (v_ids);
  delete from outbox where id = any (v_ids);
  delete from job where id = any (v_ids) and tombstone is not null;
  return cardinality(v_ids);
end $$;

-- explain: a waiting job says why (QueuePaused, NoWorkers, QueueFull). Only mirrored jobs, a bounded number at
-- a time, and only those whose reason changes. Index: waiting_reason.
create function explain(p_expiry interval, p_limit int) returns int language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare q record; n int := 0; v_served text; v_ids bigint[];
begin
  select string_agg(distinct s, ', ' order by s) into v_served from worker, json_object_keys(queues) s where beat_at > clock_timestamp() - p_expiry;
  for q in
    with recursive names as (select min(queue) as name from waiting where state = 'r' and mirrored
                             union all select (select min(queue) from waiting where state = 'r' and mirrored and queue > names.name) from names where names.name is not null)
    select x.name, case when u.paused_at is not null then 'QueuePaused'
                        when not exists (select from worker k where k.beat_at > clock_timestamp() - p_expiry and (k.queues->x.name) is not null) then 'NoWorkers'
                        when u.max_running <= (select count(*) from running r where r.queue = x.name and r.limited) then 'QueueFull' else '' end as reason,
           u.paused_by, u.paused_reason, u.max_running
    from names x left join queue u on u.name = x.name where x.name is not null
  loop
    with mine as materialized (
        select id from (
          select id from (select id from waiting where state = 'r' and mirrored and queue = q.name and reason < q.reason limit p_limit for update skip locked) below
          union all
          select id from (select id from waiting where state = 'r' and mirrored and queue = q.name and reason > q.reason
             and not (q.reason = '' and q.max_running is not null and reason = 'QueueFull') limit p_limit for update skip locked) above) m limit p_limit),
      u as (update waiting w set reason = q.reason,
              message = case q.reason when 'QueuePaused' then paused_message(q.name, q.paused_by, q.paused_reason)
                                      when 'NoWorkers' then 'no live worker serves queue ' || q.name || '; served: ' || coalesce(v_served, 'none')
                                      when 'QueueFull' then 'queue ' || q.name || ' runs its limit of ' || q.max_running || ' jobs' end
            from mine where w.id = mine.id returning w.id)
    select array_agg(id) into v_ids from u;
    if v_ids is not null then perform touch(v_ids); n := n + cardinality(v_ids); end if;
  end loop;
  -- those that a pause keeps from their session. Index: waiting_new.
  with mine as materialized (
      select w.id, paused_message(u.name, u.paused_by, u.paused_reason) as message from waiting w join queue u on u.name = w.queue
      where w.state = 'n' and w.mirrored and w.reason <> 'QueuePaused' and u.paused_at is not null
      order by w.id limit p_limit for update of w skip locked),
    u as (update waiting w set reason = 'QueuePaused', message = mine.message from mine where w.id = mine.id returning w.id)
  select array_agg(id) into v_ids from u;
  if v_ids is not null then perform touch(v_ids); n := n + cardinality(v_ids); end if;
  return n;
end $$;
