-- act_on_jobs: one act upon many jobs that have no object, each with its row of audit. p_what and p_value: as control(). The due times
-- of retries are spread over p_spread, by each job's uid: so parts of a bulk need not know of each other, and nobody has to stay.
-- Answers [[uid, answer]] of those that are known: what control() says, and of a job with an object that it is refused.
-- Index: job's unique uid. Lock order: job rows by id, each with its waiting or running row; sessions by key, last.
create or replace function act_on_jobs(p_uids uuid[], p_what text, p_value int, p_by json, p_spread interval) returns json
  language plpgsql as $$ #variable_conflict use_column
declare c record; v_key text; v_keys text[]; v_answer text; v_answers jsonb := '[]';
begin
  for c in
    select id, uid, cluster_id is not null as has_object,
           p_spread * ((hashtextextended(uid::text, 0) & 2147483647) / 2147483647.0) as delay
    from job where uid = any (p_uids) order by id for update
  loop
    if c.has_object then
      v_answer := 'refused: it has an object, through which it is changed';
    else
      select x.answer, x.key into v_answer, v_key from control_job(c.id, p_what, p_value, p_by, c.delay) x;
      if v_key is not null then v_keys := v_keys || v_key; end if;
    end if;
    v_answers := v_answers || jsonb_build_array(jsonb_build_array(c.uid, v_answer));
  end loop;
  if v_keys is not null then perform session_next(v_keys); end if;
  return v_answers::json;
end $$;
