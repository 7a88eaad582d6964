-- Who did what. The functions that act write the rows of audit, each in the transaction of its act. Only what changed something is an
-- act: what was refused, came too late or was so already writes no row.

-- act_state: what an act may change of a job: names and numbers, no text of a person or an agent. Indexes: primary keys.
create or replace function act_state(p_id bigint) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'state', state_name(case when w.id is not null then w.state when r.id is not null then '@' else coalesce(o.state, j.tombstone) end,
                        w.started_at is not null),
    'reason', nullif(coalesce(w.reason, o.reason), ''),
    'asked', case r.control when 'k' then 'cancel' when 'd' then 'deadline' when 's' then 'suspend' end,
    'question', left(q.id, 128), 'tool', left(q.tool, 128),
    'priority', j.priority, 'maxAttempts', j.max_attempts, 'round', j.round))
  from job j left join waiting w on w.id = j.id left join running r on r.id = j.id left join outcome o on o.id = j.id
  left join lateral (select e->>'id' as id, e->>'tool' as tool from json_array_elements(w.asked->'requests') with ordinality as x(e, n)
                     where e->'answer' is null order by n limit 1) q on true
  where j.id = p_id $$;

-- lock_place: locks the row of where a job is now, so that what act_state() reads stays until the act. It looks again as cancel_job().
-- Indexes: primary keys. Lock order: one waiting or running row; the caller has the job's row.
create or replace function lock_place(p_id bigint) returns void language plpgsql as $$
begin
  for i in 1..5 loop
    perform 1 from waiting where id = p_id for update;
    if found then return; end if;
    perform 1 from running where id = p_id for update;
    if found or exists (select from outcome where id = p_id)
       or not exists (select from job where id = p_id and tombstone is null) then return; end if;
  end loop;
  raise 'job % keeps moving', p_id using errcode = 'serialization_failure';
end $$;

-- record_act: one row of audit, where the act has changed something. p_by: {actor, reason, source}. Lock order: none.
create or replace function record_act(p_verb text, p_namespace text, p_name text, p_uid uuid, p_queue text, p_by json, p_before jsonb,
                                      p_after jsonb) returns void language sql as $$
  insert into audit (at, actor, verb, namespace, name, uid, queue, reason, before, after, source, role)
  select clock_timestamp(), left(coalesce(p_by->>'actor', ''), 256), p_verb, coalesce(p_namespace, ''), coalesce(p_name, ''), p_uid,
         p_queue, left(coalesce(p_by->>'reason', ''), 1024), p_before, p_after, left(coalesce(p_by->>'source', 'sql'), 32), session_user
  where p_before is distinct from p_after $$;

-- record_job_act: the same for a job, as it is now. Index: job's primary key.
create or replace function record_job_act(p_id bigint, p_verb text, p_by json, p_before jsonb) returns void language sql as $$
  select record_act(p_verb, j.namespace, j.name, j.uid, j.queue, p_by, p_before, act_state(j.id)) from job j where j.id = p_id $$;

-- audit_page: the newest rows before p_before (null: from the newest), of one namespace ('': of none), queue or job (null: any).
-- Indexes: audit_by_uid, audit_by_namespace_queue, audit_by_namespace, audit_by_queue or the primary key; backwards. Those of one uid
-- are few, so the rest is looked at among them.
create or replace function audit_page(p_namespace text, p_queue text, p_uid uuid, p_before bigint, p_limit int) returns setof audit
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
  as $$ #variable_conflict use_column
declare v_before bigint := coalesce(p_before, 9223372036854775807);
begin
  if p_uid is not null then
    return query select * from audit where uid = p_uid and id < v_before and (p_namespace is null or namespace = p_namespace)
                   and (p_queue is null or queue = p_queue) order by id desc limit p_limit;
  elsif p_namespace is not null and p_queue is not null then
    return query select * from audit where namespace || '/' || queue = p_namespace || '/' || p_queue and queue is not null
                   and id < v_before order by id desc limit p_limit;
  elsif p_namespace is not null then
    return query select * from audit where namespace = p_namespace and id < v_before order by id desc limit p_limit;
  elsif p_queue is not null then
    return query select * from audit where queue = p_queue and id < v_before order by id desc limit p_limit;
  else
    return query select * from audit where id < v_before order by id desc limit p_limit;
  end if;
end $$;

-- prune_audit: removes the oldest rows that are past their own retention; how many. It looks at p_limit rows at most, and at one where
-- that is young. Index: the primary key, whose order is that of the times but for transactions that were open at once.
create or replace function prune_audit(p_age interval, p_limit int) returns int language plpgsql as $$ #variable_conflict use_column
declare v_before timestamptz := clock_timestamp() - p_age; n int;
begin
  if not exists (select from (select at from audit order by id limit 1) oldest where at < v_before) then return 0; end if;
  delete from audit where id = any (array(select id from (select id, at from audit order by id limit p_limit) a where at < v_before));
  get diagnostics n = row_count;
  return n;
end $$;
