-- control: one request of a person for one job, by uid. p_what: cancel, suspend, resume, retry, priority, maxAttempts; the
-- last two with p_value. answer: the state that people see next, ok, or why it was refused; null: the job is not known, or has
-- finished. Lock order: the job's row first, as apply() and prune() take it; then one waiting or running row, then its session.
create or replace function control(p_uid uuid, p_what text, p_value int default null,
                                   out answer text) language plpgsql as $$ #variable_conflict use_column
declare v_id bigint; v_key text;
begin
  select id into v_id from job where uid = p_uid for update;
  if not found then return; end if;
  case p_what
    when 'cancel' then select c.answer, c.key into answer, v_key from cancel_job(v_id, 'cancelled on request') c;
    when 'suspend' then select c.answer, c.key into answer, v_key from suspend_job(v_id) c;
    when 'resume' then answer := resume_job(v_id, false);
    when 'retry' then answer := coalesce('refused: ' || retry_job(v_id), 'Queued');
    when 'priority' then answer := case when reprioritise_job(v_id, p_value::smallint) then 'ok' end;
    when 'maxAttempts' then v_key := set_max_attempts_job(v_id, p_value); answer := 'ok';
  end case;
  if p_what in ('priority', 'maxAttempts') then perform touch(array[v_id]) from job where id = v_id and cluster_id is not null; end if;
  if v_key is not null then perform session_next(array[v_key]); end if;
end $$;
