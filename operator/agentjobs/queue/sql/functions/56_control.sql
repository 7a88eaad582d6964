-- control_job: one request of a person for one job, with its row of audit. p_what, p_value, answer: as control(). p_by: as record_act().
-- p_delay: of a retry, until it is due. key: the session that lost its holder; session_next() is the caller's, once, as its last step.
-- Lock order: one waiting or running row; the caller has the job's row.
create or replace function control_job(p_id bigint, p_what text, p_value int, p_by json, p_delay interval, out answer text, out key text)
  language plpgsql as $$ #variable_conflict use_column
declare v_before jsonb; v_verb text := case p_what when 'priority' then 'reprioritise' when 'maxAttempts' then 'set-max-attempts'
                                                   else p_what end;
begin
  perform lock_place(p_id);
  v_before := act_state(p_id);
  case p_what
    when 'cancel' then select c.answer, c.key into answer, key from cancel_job(p_id, 'cancelled on request') c;
    when 'suspend' then select c.answer, c.key into answer, key from suspend_job(p_id) c;
    when 'resume' then answer := resume_job(p_id, false);
    when 'retry' then answer := coalesce('refused: ' || retry_job(p_id, p_delay), case when p_delay > interval '0' then 'Scheduled'
                                                                                        else 'Queued' end);
    when 'priority' then answer := case when reprioritise_job(p_id, p_value::smallint) then 'ok' end;
    when 'maxAttempts' then key := set_max_attempts_job(p_id, p_value); answer := 'ok';
  end case;
  if p_what in ('priority', 'maxAttempts') then perform touch(array[p_id]) from job where id = p_id and cluster_id is not null; end if;
  perform record_job_act(p_id, v_verb, p_by, v_before);
end $$;

-- control: one request of a person for one job, by uid. p_what: cancel, suspend, resume, retry, priority, maxAttempts; the
-- last two with p_value. p_by: who asks, as record_act(). answer: the state that people see next, ok, or why it was refused; null: the
-- job is not known, or has finished. Lock order: the job's row first, as apply() and prune() take it; then one waiting or running row,
-- then its session.
create or replace function control(p_uid uuid, p_what text, p_value int default null, p_by json default null,
                                   out answer text) language plpgsql as $$ #variable_conflict use_column
declare v_id bigint; v_key text;
begin
  select id into v_id from job where uid = p_uid for update;
  if not found then return; end if;
  select c.answer, c.key into answer, v_key from control_job(v_id, p_what, p_value, p_by, interval '0') c;
  if v_key is not null then perform session_next(array[v_key]); end if;
end $$;
