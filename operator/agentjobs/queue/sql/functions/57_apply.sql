-- apply: what intake saw of objects (H4). New objects are enqueued and known ones changed, in one statement; only what is newer
-- than the row counts. Answers [[uid, inserted | changed | retry_refused, why]].
-- p_changes: as enqueue(), with gone: the object was deleted. A change without a priority is of an object that is rejected: nothing
-- but its generation is stored.
-- Index: job's unique uid. Lock order: job rows by id, each with its waiting or running row; sessions by key, last.
create or replace function apply(p_changes json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_new uuid[]; v_keys text[]; v_key text; c record; v_state "char"; v_touched boolean; v_refused text; v_answers jsonb := '[]';
begin
  v_new := enqueue(p_changes);
  for c in
    select j.id, j.uid, j.generation as known, j.priority as old_priority, j.max_attempts as old_max, j.retry_handled as handled,
           j.object_gone, j.cluster_id, j.tombstone, w.state as waiting_state, n.*
    from json_to_recordset(p_changes) as n(uid uuid, generation bigint, priority smallint, max_attempts int, suspend boolean,
                                           cancel_wanted boolean, gone boolean, hold text, message text, retry_handled text, "end" "char")
    join job j on j.uid = n.uid left join waiting w on w.id = j.id
    where n.uid <> all (coalesce(v_new, '{}'))
      and (n.generation > j.generation or (n.gone and not j.object_gone)
           or (n.retry_handled is not null and n.retry_handled is distinct from j.retry_handled)
           or (w.state = 'h' and n.hold is null))
    order by j.id
  loop
    v_key := null; v_refused := null;
    if c.gone then
      update job set object_gone = true, generation = greatest(generation, c.generation) where id = c.id;
      select x.key into v_key from cancel_job(c.id, 'the object was deleted') x;
      delete from outbox where id = c.id;
    elsif c.priority is not null then         -- a job came along; "end" is only for those that are new here
      -- Its own lock first: of two operators that saw different generations the newer one stays, and compares with what
      -- the older one has set meanwhile.
      select priority, max_attempts into c.old_priority, c.old_max from job where id = c.id for update;
      if c.generation > c.known then
        update job set generation = c.generation, cancel_wanted = cancel_wanted or coalesce(c.cancel_wanted, false)
          where id = c.id and generation < c.generation;
        if found then
          if c.max_attempts <> c.old_max then
            v_key := set_max_attempts_job(c.id, c.max_attempts);
            if v_key is not null then v_keys := v_keys || v_key; v_key := null; end if;
          end if;
          if c.priority <> c.old_priority then perform reprioritise_job(c.id, c.priority); end if;
          if c.cancel_wanted then select x.key into v_key from cancel_job(c.id, 'spec.cancel was set') x;
          elsif c.suspend then
            update waiting set state = 's', reason = 'Suspended', message = null, since = clock_timestamp()
              where id = c.id and state = 'h' and c.hold is null;
            select x.key into v_key from suspend_job(c.id) x;
          elsif c.hold is null then perform resume_job(c.id); end if;
        end if;
      elsif c.waiting_state = 'h' and c.hold is null then
        if c.suspend then
          update waiting set state = 's', reason = 'Suspended', message = null, since = clock_timestamp() where id = c.id and state = 'h';
        else perform resume_job(c.id); end if;
      end if;
      if c.retry_handled is not null and c.retry_handled is distinct from c.handled then
        update job set retry_handled = c.retry_handled where id = c.id and retry_handled is distinct from c.retry_handled;
        if found then
          v_refused := retry_job(c.id);
          if v_refused is null and c.suspend then perform suspend_job(c.id); end if;     -- the new round begins as the object says
        end if;
      end if;
      perform touch(array[c.id]) where c.cluster_id is not null and c.tombstone is null;     -- observedGeneration moves on
    elsif c.generation > c.known then                -- rejected: nothing to change but what was observed
      update job set generation = c.generation where id = c.id;
      perform touch(array[c.id]) where c.tombstone is null;
    end if;
    if v_key is not null then v_keys := v_keys || v_key; end if;
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(
      c.uid, case when v_refused is null then 'changed' else 'retry_refused' end, v_refused));
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return (select json_agg(x) from (select jsonb_build_array(u, 'inserted', null) x from unnest(v_new) u
                                   union all select jsonb_array_elements(v_answers)) y);
end $$;
