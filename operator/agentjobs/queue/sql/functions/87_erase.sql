-- Erasing what was said by, to and for one person. What has happened stays: states, reasons, times, counts, tokens.

-- readable: a payload as JSON functions can read it. Callers may have stored one with escapes that Postgres takes and does not read
-- (NUL, half a surrogate pair): without those; {} where that does not help.
create or replace function readable(p_payload json) returns json language plpgsql as $$
begin
  perform p_payload->>'userID';
  return p_payload;
exception when data_exception then
  begin
    return regexp_replace(p_payload::text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '', 'g')::json;
  exception when data_exception then return '{}';
  end;
end $$;

-- is_of: whether a job's payload is one of this person, with the defaults of the worker. A job with an object is in the object's
-- namespace, whatever its payload says; one without is where its payload says. A job that retention has trimmed has no payload: of it
-- the user tells with its object's namespace, and the session, whose first and third part are the namespace and the user (p_key: as
-- they are written there).
create or replace function is_of(p_payload json, p_session text, p_object_namespace text, p_job_user text, p_namespace text, p_user text,
                                 p_key text[]) returns boolean language sql immutable as $$
  select case when p_payload is null
              then coalesce(p_object_namespace = p_namespace and p_job_user = left(p_user, 253), false)
                   or split_part(p_session, '/', 1) = p_key[1] and split_part(p_session, '/', 3) = p_key[2]
                   and split_part(p_session, '/', 4) <> '' and split_part(p_session, '/', 5) = ''
              else coalesce(p_object_namespace, p_payload->>'namespace', 'default') = p_namespace
                   and coalesce(p_payload->>'userID', 'system') = p_user end $$;

-- jobs_of: those of these jobs that are one person's. Where one of them cannot be read, each alone. Index: job's primary key.
create or replace function jobs_of(p_ids bigint[], p_namespace text, p_user text, p_key text[]) returns bigint[]
  language plpgsql as $$ #variable_conflict use_column
begin
  return array(select id from job where id = any (p_ids) and not erased
                 and is_of(payload, session, namespace, user_id, p_namespace, p_user, p_key) order by id);
exception when data_exception then
  return array(select id from job where id = any (p_ids) and not erased
                 and is_of(readable(payload), session, namespace, user_id, p_namespace, p_user, p_key) order by id);
end $$;

-- erase_job: what was said in a job that has ended. It keeps which agent ran, for lists, and its schedule, for the history. The audit's
-- rows of it keep who did what, and lose why: people write of whom they speak. Indexes: primary keys, audit_by_uid.
-- Lock order: the outcome, attempt and file rows; the caller has the job's row.
create or replace function erase_job(p_id bigint) returns void language plpgsql as $$ #variable_conflict use_column
declare p json; v_inline json;
begin
  select readable(payload) into p from job where id = p_id;
  v_inline := case when p->'agent'->'inline'->'model' is not null then json_build_object('model', p->'agent'->'inline'->'model') end;
  update outcome set message = null, result = null, log_tail = null, session_id = null, imported = null where id = p_id;
  update attempt set message = null, log_tail = null where id = p_id;
  delete from output_tail where id = p_id;
  delete from saved_file where id = p_id;
  update audit set reason = '' where uid = (select uid from job where id = p_id) and reason <> '';
  update job set erased = true, session = null, user_id = null, input_handled = null, refused = null,
         payload = case when payload is not null then json_strip_nulls(json_build_object(
             'v', p->'v', 'namespace', p->'namespace', 'name', p->'name', 'schedule', p->'schedule',
             'agent', json_build_object('module', p->'agent'->'module', 'inline', v_inline))) end
    where id = p_id;
  update job set bytes = octet_length(payload::text) where id = p_id and payload is not null;
  perform touch(array[p_id]) from job where id = p_id and cluster_id is not null and not object_gone and tombstone is null;
end $$;

-- erase: one slice of an erasure: it looks at the next p_look jobs after p_after. A job of the person that waits is cancelled, and one
-- that runs is asked to stop: it is erased by a later call, once it has ended. p_erasure: the erasure's number, of the caller's choice;
-- its row of audit names that and no person, and is written with its first slice. p_by: as record_act(). p_key: as is_of().
-- p_after null: after the last slice of this erasure, as its row of audit knows it; of the same actor alone, or it is not known.
-- seen: p_after of the next slice; null: this was the last. jobs, cancelled, running: of all slices so far; jobs null: an erasure that is
-- not known, nothing was done. objects: [[namespace, name]] of those that still are in Kubernetes, of this slice.
-- Indexes: job's primary key, audit_by_uid. Lock order: an advisory lock of this erasure, of which one slice is done at a time; job rows
-- by id, each with its waiting or running row; sessions by key, last; the audit's row.
create or replace function erase(p_erasure uuid, p_namespace text, p_user text, p_key text[], p_by json, p_after bigint, p_look int,
                                 out seen bigint, out jobs int, out cancelled int, out running int, out objects json)
  language plpgsql as $$ #variable_conflict use_column
declare v_looked bigint[]; v_ids bigint[]; v_before jsonb; v_key text; v_keys text[]; v_answer text; v_objects jsonb := '[]'; c record;
  v_after jsonb;
begin
  perform pg_advisory_xact_lock(hashtextextended(p_erasure::text, 0));
  if p_after is null then
    select a.after::jsonb into v_after from audit a
    where a.uid = p_erasure and a.verb = 'erase' and a.namespace = p_namespace and a.actor = left(coalesce(p_by->>'actor', ''), 256);
    if not found then return; end if;
    if (v_after->>'done')::boolean then
      jobs := (v_after->>'jobs')::int; cancelled := (v_after->>'cancelled')::int; running := (v_after->>'running')::int; objects := '[]';
      return;
    end if;
    p_after := coalesce((v_after->>'seen')::bigint, 0);
  end if;
  v_looked := array(select id from job where id > p_after order by id limit p_look);
  seen := case when cardinality(v_looked) = p_look then v_looked[p_look] end;
  v_ids := jobs_of(v_looked, p_namespace, p_user, p_key);
  jobs := 0; cancelled := 0; running := 0;
  for c in
    select id, namespace, name, cluster_id is not null and not object_gone as has_object from job
    where id = any (v_ids) and not erased order by id for update
  loop
    perform lock_place(c.id);
    v_before := act_state(c.id);
    select x.answer, x.key into v_answer, v_key from cancel_job(c.id, null) x;
    if v_key is not null then v_keys := v_keys || v_key; end if;
    if v_answer is not null then perform record_job_act(c.id, 'cancel', p_by, v_before); end if;
    if c.has_object then v_objects := v_objects || jsonb_build_array(jsonb_build_array(c.namespace, c.name)); end if;
    if v_answer = 'Running' then running := running + 1; continue; end if;
    if v_answer = 'Cancelled' then cancelled := cancelled + 1; end if;
    perform erase_job(c.id);
    jobs := jobs + 1;
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  objects := v_objects::json;
  update audit set after = json_strip_nulls(json_build_object(
      'jobs', (after->>'jobs')::int + jobs, 'cancelled', (after->>'cancelled')::int + cancelled,
      'running', (after->>'running')::int + running, 'done', seen is null, 'seen', seen))
    where uid = p_erasure and verb = 'erase' returning after::jsonb into v_after;
  if not found then
    v_after := jsonb_strip_nulls(jsonb_build_object('jobs', jobs, 'cancelled', cancelled, 'running', running, 'done', seen is null,
                                                    'seen', seen));
    perform record_act('erase', p_namespace, '', p_erasure, null, p_by, null, v_after);
  end if;
  jobs := (v_after->>'jobs')::int; cancelled := (v_after->>'cancelled')::int; running := (v_after->>'running')::int;
end $$;
