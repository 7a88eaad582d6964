-- apply: what intake saw of objects (H4). New objects are enqueued and known ones changed, in one statement; only what is newer
-- than the row counts. Answers [[uid, inserted | changed | retry_refused, why, barred]]; barred: why what the object asks for is
-- refused, where that was not known yet.
-- p_changes: as enqueue(), with gone: the object was deleted. A change without a priority is of an object that is rejected: nothing
-- but its generation is stored. With listed_at a sweep has read the row (as it was in row_generation; null: as one whose object is
-- gone) in a LIST that began then, and only afterwards the object: so what the object says now is the truth, also where it is older
-- (etcd was restored).
-- A job that was not accepted takes its payload from the change by which it is.
-- Each change of a person's gets its row of audit. act, act_key: who and why, as an annotation of the object says, and its digest:
-- one annotation stands for one change, that with which it came; but for a delete, which carries none, and follows it.
-- Index: job's unique uid. Lock order: job rows by id, each with its waiting or running row; sessions by key, last.
create or replace function apply(p_changes json) returns json language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare
  v_new uuid[]; v_keys text[]; v_key text; c record; v_now timestamptz; v_bar text; v_before text; v_newer boolean; v_present boolean;
  v_refused text; v_back boolean; v_retried boolean; v_state jsonb; v_handled text; v_answers jsonb := '[]';
begin
  v_new := enqueue(p_changes);
  if v_new is not null and strpos(p_changes::text, '"act_key":') > 0 then perform record_new(p_changes, v_new); end if;
  for c in
    select j.id, j.uid, j.generation as known, j.priority as old_priority, j.max_attempts as old_max, j.retry_handled as handled,
           j.object_gone, j.cluster_id, j.tombstone, j.accepted_at, w.state as waiting_state, w.reason as waiting_reason, d.due, n.*
    from json_to_recordset(p_changes) as n(uid uuid, generation bigint, priority smallint, max_attempts int, suspend boolean,
                                           cancel_wanted boolean, gone boolean, hold text, bar text, retry_handled text,
                                           row_generation bigint, listed_at timestamptz, act json, act_key text, payload json)
    join job j on j.uid = n.uid left join waiting w on w.id = j.id
    cross join lateral (select (
           n.generation > j.generation or (n.gone and not j.object_gone)
           or (n.retry_handled is not null and n.retry_handled is distinct from j.retry_handled)
           or (n.priority is not null and ((w.state = 'h' and (n.hold is distinct from w.reason or n.bar is distinct from w.message))
                                           or (j.refused is not null and n.hold is distinct from 'QueueNotAllowed')))
           or (n.generation < j.generation and n.generation < n.row_generation)
           or (j.object_gone and n.listed_at is not null and not coalesce(n.gone, false))) is true as due) d
    where n.uid <> all (coalesce(v_new, '{}'))
      and (d.due or (n.act_key is not null and n.act_key is distinct from j.act_handled and n.generation >= j.generation))
    order by j.id
  loop
    select act_handled into v_handled from job where id = c.id for update;
    update job set act_handled = c.act_key
      where id = c.id and act_handled is distinct from c.act_key and c.act_key is not null and generation <= c.generation;
    continue when not c.due;
    perform lock_place(c.id);
    v_state := act_state(c.id);
    v_key := null; v_refused := null; v_before := null; v_bar := null; v_back := false; v_retried := false; v_now := clock_timestamp();
    if c.gone then
      update job set object_gone = true, generation = greatest(generation, c.generation) where id = c.id;
      select x.key into v_key from cancel_job(c.id, 'the object was deleted') x;
      delete from outbox where id = c.id;
    elsif c.priority is not null then         -- a job came along; "end" is only for those that are new here
      -- Its own lock first: of two operators that saw different generations the newer one stays, and compares with what
      -- the older one has set meanwhile.
      select priority, max_attempts, refused into c.old_priority, c.old_max, v_before from job where id = c.id for update;
      update job set object_gone = false, generation = c.generation, cancel_wanted = coalesce(c.cancel_wanted, false)
        where id = c.id and object_gone and accepted_at < c.listed_at - interval '5 seconds' and tombstone is null;
      v_back := found;
      update job set generation = c.generation,
                     cancel_wanted = coalesce(c.cancel_wanted, false) or (cancel_wanted and generation < c.generation)
        where id = c.id and (generation < c.generation or generation = c.row_generation and c.generation < c.row_generation);
      v_newer := found or v_back;
      v_present := v_newer or exists (select from job where id = c.id and generation = c.generation);
      -- the one place where a privilege decides about a job that is known: what the object asks for, against the settings
      if v_present then
        v_bar := case when c.hold = 'QueueNotAllowed' and (c.waiting_state is not distinct from 'h' or c.priority <> c.old_priority)
                      then c.bar end;
        if c.hold is distinct from 'QueueNotAllowed' and c.priority <> c.old_priority then
          perform reprioritise_job(c.id, c.priority);
        end if;
        if (c.waiting_state = 'h' or v_back) and c.hold is null then
          -- what it is given may have been read only now; nobody has claimed it yet
          update job set payload = c.payload, bytes = octet_length(c.payload::text)
            where id = c.id and payload is not null and not erased and payload::text <> c.payload::text
              and (exists (select from waiting where id = c.id and state = 'h')
                   or (v_back and not exists (select from attempt where id = c.id)));
          if found then update waiting set bytes = octet_length(c.payload::text) where id = c.id; end if;
        end if;
        if c.waiting_state = 'h' and c.hold is not null then
          update waiting set since = case when reason = c.hold then since else v_now end, reason = c.hold, message = c.bar
            where id = c.id and state = 'h';
        elsif c.waiting_state = 'h' and c.suspend then
          update waiting set state = 's', since = case when reason = 'Restored' then since else v_now end, reason = 'Suspended',
                             message = null where id = c.id and state = 'h';
        elsif c.waiting_state = 'h' then perform resume_job(c.id, true);
        end if;
      end if;
      if v_newer then
        if c.max_attempts <> c.old_max then
          v_key := set_max_attempts_job(c.id, c.max_attempts);
          if v_key is not null then v_keys := v_keys || v_key; v_key := null; end if;
        end if;
        if v_back and c.hold is null and not coalesce(c.cancel_wanted, false) then perform undelete_job(c.id); end if;
        if c.cancel_wanted then select x.key into v_key from cancel_job(c.id, 'spec.cancel was set') x;
        elsif c.suspend then select x.key into v_key from suspend_job(c.id) x;
        else perform resume_job(c.id, false); end if;
      end if;
      if c.retry_handled is not null and c.retry_handled is distinct from c.handled then
        update job set retry_handled = c.retry_handled where id = c.id and retry_handled is distinct from c.retry_handled;
        if found and v_present and c.hold = 'QueueNotAllowed' then
          v_refused := c.bar; v_bar := c.bar;          -- a new round needs the privilege anew
        elsif found then
          v_refused := retry_job(c.id);
          v_retried := v_refused is null;
          if v_refused is null and c.suspend then perform suspend_job(c.id); end if;     -- the new round begins as the object says
        end if;
      end if;
      if v_present then
        update job set refused = v_bar,
                       refused_changed = case when (refused is null) = (v_bar is null) then refused_changed else v_now end
          where id = c.id and refused is distinct from v_bar;
      end if;
      perform touch(array[c.id]) where c.cluster_id is not null and c.tombstone is null;     -- observedGeneration moves on
    elsif c.generation > c.known then                -- rejected: nothing to change but what was observed
      update job set generation = c.generation where id = c.id;
      perform touch(array[c.id]) where c.tombstone is null;
    end if;
    if v_key is not null then v_keys := v_keys || v_key; end if;
    if c.gone or v_retried or (c.generation > c.known and not v_back) or c.waiting_reason = 'Restored' then
      perform record_object_act(c.id, case when c.gone then 'delete' when v_retried then 'retry' end,
                                coalesce(c.cancel_wanted, false), coalesce(c.suspend, false),
                                case when c.gone or c.act_key is distinct from v_handled then c.act end,
                                v_state);
    end if;
    if c.gone then delete from job where id = c.id and tombstone is not null; end if;       -- nothing is left to protect (H1)
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(
      c.uid, case when v_refused is null then 'changed' else 'retry_refused' end, v_refused,
      case when v_bar is distinct from v_before then v_bar end));
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return (select json_agg(x) from (select jsonb_build_array(u, 'inserted', null, null) x from unnest(v_new) u
                                   union all select jsonb_array_elements(v_answers)) y);
end $$;

-- record_object_act: the row of audit of one change of an object, where it has changed the job. p_verb null: by what differs; one
-- change is one act, named after the heaviest thing that it did. p_act: what the object's annotation says, which counts where it names
-- this very act; null: nothing of this change. Indexes: primary keys.
create or replace function record_object_act(p_id bigint, p_verb text, p_cancel boolean, p_suspend boolean, p_act json,
                                             p_before jsonb) returns void language plpgsql as $$
declare
  v_after jsonb := act_state(p_id);
  v_moved boolean := (v_after->>'state', v_after->>'asked') is distinct from (p_before->>'state', p_before->>'asked');
  v_attempts boolean := v_after->>'maxAttempts' is distinct from p_before->>'maxAttempts';
  v_verb text := coalesce(p_verb, case when v_moved and p_cancel then 'cancel'
                                       when v_moved and v_attempts and v_after->>'state' = 'Failed' then 'set-max-attempts'
                                       when v_moved and p_suspend then 'suspend' when v_moved then 'resume'
                                       when v_after->>'priority' is distinct from p_before->>'priority' then 'reprioritise'
                                       else 'set-max-attempts' end);
begin
  perform record_job_act(p_id, v_verb, case when p_act->>'verb' = v_verb then p_act else '{"source": "object"}' end, p_before);
end $$;

-- record_new: the annotations of new objects, and the rows of audit of those that say by whom they were created. Index: job's unique
-- uid. Lock order: rows that are new, and nobody else's.
create or replace function record_new(p_changes json, p_new uuid[]) returns void language plpgsql as $$ #variable_conflict use_column
declare c record;
begin
  for c in
    select j.id, n.act, n.act_key, n."end" from json_to_recordset(p_changes) as n(uid uuid, act json, act_key text, "end" text)
    join job j on j.uid = n.uid where n.uid = any (p_new) and n.act_key is not null order by j.id
  loop
    update job set act_handled = c.act_key where id = c.id;
    if c."end" is null and c.act->>'verb' in ('create', 'run-again') then
      perform record_job_act(c.id, c.act->>'verb', c.act,
                             case when c.act->>'origin' is not null then jsonb_build_object('origin', c.act->>'origin') end);
    end if;
  end loop;
end $$;
