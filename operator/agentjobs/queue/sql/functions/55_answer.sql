-- Answers to the questions that jobs wait with (waiting.asked).

-- answer_job: one answer to the present question of a job; after the last one the job goes on. An answer to any other question is
-- refused, so an answer that comes late, or twice, answers nothing. refused: why; null: taken.
-- A confirmation wants approved; a question of another kind wants a payload alone, which the caller has checked (queue/answers.py).
-- p_answer: {id, approved, reason, payload, by}. Indexes: primary keys. Lock order: the waiting row, after the job's row.
create or replace function answer_job(p_id bigint, p_answer json, out refused text) language plpgsql as $$ #variable_conflict use_column
declare w waiting; v_number int; v_id text; v_kind text; v_asked jsonb; v_bytes int; v_now timestamptz := clock_timestamp();
begin
  select * into w from waiting where id = p_id and asked is not null for update;
  if not found then refused := 'it does not wait for input'; return; end if;
  select n - 1, q->>'id', coalesce(q->>'kind', '') into v_number, v_id, v_kind
    from json_array_elements(w.asked->'requests') with ordinality as x(q, n)
    where q->'answer' is null order by n limit 1;
  if v_id is distinct from p_answer->>'id' then
    refused := 'it waits for an answer to the question ' || v_id || ', not ' || coalesce(p_answer->>'id', 'none'); return;
  end if;
  if v_kind = '' and p_answer->>'approved' is null then
    refused := 'approved is missing: the question ' || v_id || ' wants a yes or no'; return;
  elsif v_kind <> '' and p_answer->>'approved' is not null then
    refused := 'approved is ' || (p_answer->>'approved') || ': the question ' || v_id || ' wants a payload instead, and is not rejected; '
      'answer with a payload, or cancel the job'; return;
  elsif v_kind <> '' and p_answer->'payload' is null then
    refused := 'payload is missing: the question ' || v_id || ' wants one'; return;
  end if;
  v_asked := jsonb_set(w.asked::jsonb, array['requests', v_number::text, 'answer'],
                       p_answer::jsonb - 'id' || jsonb_build_object('at', v_now));
  if v_number + 1 < jsonb_array_length(v_asked->'requests') then
    update waiting set asked = v_asked::json where id = p_id;
  else
    -- a payload with answers is not for workers that know of none, and one with results and inputs not for those that know of
    -- confirmations alone (H30)
    update job set payload = (payload::jsonb || (
             select jsonb_build_object(
                      'v', greatest((payload->>'v')::int, case when bool_or(q ? 'kind') then 3 else 2 end),
                      'answers', jsonb_object_agg(
                        q->>'id', q->'answer' || jsonb_strip_nulls(jsonb_build_object('tool', q->'tool', 'kind', q->'kind'))))
             from jsonb_array_elements(v_asked->'requests') q))::json where id = p_id;
    update job set bytes = octet_length(payload::text) where id = p_id returning bytes into v_bytes;
    update waiting set asked = null, asked_until = null, bytes = v_bytes,
           state = case when state = 's' then state else ready_state(losses) end,
           since = case when state = 's' then since else v_now end,
           reason = case when state = 's' then reason else '' end, message = null where id = p_id;
    if w.state <> 's' then perform notify_ready(array[w.queue]); end if;
  end if;
  if w.mirrored then perform touch(array[p_id]); end if;
end $$;

-- audited_answer: answer_job() with its row of audit, where the answer is taken. p_by: as record_act(); what it does not say, the answer
-- does. Indexes: primary keys. Lock order: the waiting or running row; the caller has the job's row.
create or replace function audited_answer(p_id bigint, p_answer json, p_by json, out refused text)
  language plpgsql as $$ #variable_conflict use_column
declare v_before jsonb;
begin
  perform lock_place(p_id);
  v_before := act_state(p_id);
  refused := answer_job(p_id, p_answer);
  if refused is not null then return; end if;
  perform record_job_act(p_id, case p_answer->>'approved' when 'true' then 'approve' when 'false' then 'reject' else 'answer' end,
                         json_build_object('actor', coalesce(nullif(p_by->>'actor', ''), p_answer->>'by'),
                                           'reason', coalesce(nullif(p_by->>'reason', ''), p_answer->>'reason'),
                                           'source', p_by->>'source'), v_before);
end $$;

-- answer: one answer for one job by its uid. p_by: who gives it, as record_act(). Lock order: the job's row, as control() and apply()
-- take it; then its waiting or running row.
create or replace function answer(p_uid uuid, p_answer json, p_by json default null,
                                  out refused text) language plpgsql as $$ #variable_conflict use_column
declare v_id bigint;
begin
  select id into v_id from job where uid = p_uid for update;
  if not found then refused := 'the job is not known'; return; end if;
  refused := audited_answer(v_id, p_answer, p_by);
end $$;

-- respond: the response annotations of objects, each value once (H4): a relist does not fire it again. Answers [[uid, refused]]
-- of those that were handled now.
-- p_responses: [{uid, handled the annotation's value, answer, why it cannot be read}]. Lock order: job rows by id.
create or replace function respond(p_responses json) returns json language plpgsql as $$ #variable_conflict use_column
declare c record; v_answers jsonb := '[]';
begin
  for c in
    select j.id, n.* from json_to_recordset(p_responses) as n(uid uuid, handled text, answer json, why text)
    join job j on j.uid = n.uid where j.input_handled is distinct from n.handled and j.tombstone is null
      and not exists (select from outcome o where o.id = j.id and o.imported is not null) order by j.id
  loop
    update job set input_handled = c.handled where id = c.id and input_handled is distinct from c.handled;
    continue when not found;
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(
      c.uid, case when c.answer is null then c.why else audited_answer(c.id, c.answer, '{"source": "object"}') end));
  end loop;
  return v_answers::json;
end $$;
