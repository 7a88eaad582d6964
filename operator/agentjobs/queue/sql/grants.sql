-- What each role may do in schema agentjobs. `agentjobs migrate up` runs it, as the schema's owner, for the roles that were
-- granted to before and for those of --grant-to. May be repeated.
--
-- A function that a role may call runs with its owner's rights (security definer, with a search_path of its own, so the
-- caller cannot put objects in its way): the role needs no right on a table, and can do nothing but what the function
-- does. The other functions are parts of these and keep the caller's rights.

revoke all on schema agentjobs from public, @worker@, @operator@, @web@, @app@, @read@;
revoke all on all tables in schema agentjobs from public, @worker@, @operator@, @web@, @app@, @read@;
revoke all on all sequences in schema agentjobs from public, @worker@, @operator@, @web@, @app@, @read@;
revoke all on all functions in schema agentjobs from public, @worker@, @operator@, @web@, @app@, @read@;
grant usage on schema agentjobs to @worker@, @operator@, @web@, @app@, @read@;

do $do$
declare v_one record;
begin
  for v_one in
    select p.oid::regprocedure as f, p.prosecdef as definer, p.provolatile = 'i' as pure, g.roles,
           coalesce(array_to_string(p.proconfig, ',') like '%search_path=%', false) as sealed
    from pg_proc p
    left join (values
      ('register', '@worker@, @operator@'), ('unregister', '@worker@, @operator@'), ('beat', '@worker@, @operator@'),
      ('tick', '@worker@, @operator@'), ('retention', '@worker@, @operator@'),
      ('admit', '@worker@, @operator@'), ('yield_paused', '@worker@, @operator@, @web@'),
      ('step', '@worker@'), ('pass_on', '@worker@'), ('anything_for', '@worker@'), ('disown', '@worker@'),
      ('progress', '@worker@'), ('store_output', '@worker@'), ('note_files', '@worker@'), ('kept_records', '@worker@'),
      ('timeline', '@worker@, @operator@'),
      ('apply', '@operator@'), ('outbox_read', '@operator@'), ('projected', '@operator@'), ('unchanged', '@operator@'),
      ('outbox_drop', '@operator@'), ('respond', '@operator@'), ('touch_uids', '@operator@'), ('mirrored', '@operator@'),
      ('gone', '@operator@'), ('explain', '@operator@'), ('installation', '@operator@'), ('projections', '@operator@'),
      ('reach_revision', '@operator@'), ('adopt_end', '@operator@'), ('release_objects', '@operator@'),
      ('schedule_save', '@operator@'), ('schedule_decide', '@operator@'), ('schedule_claim', '@operator@'),
      ('schedule_confirm', '@operator@'), ('schedule_settled', '@operator@'), ('schedule_close', '@operator@'),
      ('schedule_forget', '@operator@'), ('schedule_waiting', '@operator@'), ('schedule_known', '@operator@'),
      ('model_health', '@operator@, @web@, @read@'), ('models_of', '@web@'), ('open_breakers', '@operator@, @web@, @read@'),
      ('state_name', '@operator@, @web@, @read@'), ('counts', '@web@, @read@'), ('queues', '@web@'),
      ('board', '@web@, @read@'), ('wanted_slots', '@read@'), ('series', '@web@, @read@'),
      ('show', '@web@, @app@'), ('want_output', '@web@'),
      ('list', '@web@'), ('list_ids', '@web@'), ('job_at', '@web@'), ('audit_page', '@web@'), ('schedule_page', '@web@'),
      ('control', '@web@, @app@'), ('set_queue', '@web@'), ('reset_model', '@web@'), ('act_on_jobs', '@web@'), ('erase', '@web@'),
      ('enqueue', '@app@'), ('await_ends', '@app@'), ('answer', '@app@')
    ) g(name, roles) on g.name = p.proname
    where p.pronamespace = 'agentjobs'::regnamespace
  loop
    if v_one.roles is null then continue; end if;
    if v_one.roles <> '' then execute format('grant execute on function %s to %s', v_one.f, v_one.roles); end if;
    if v_one.definer or v_one.pure then continue; end if;
    if not v_one.sealed then raise 'function % has no search_path of its own', v_one.f; end if;
    execute format('alter function %s security definer', v_one.f);
  end loop;
end $do$;

do $do$
begin
  if to_regclass('agentjobs.worker') is null then return; end if;      -- before the first migration
  -- what the operator's metrics count
  grant select (id, marked_at) on agentjobs.outbox to @operator@;
  grant select (pool, queues, beat_at) on agentjobs.worker to @operator@;
  grant select (id, queue, state, started_at, since, target) on agentjobs.waiting to @operator@;
  grant select (queue) on agentjobs.running to @operator@;
  grant select (name, paused_at, max_running) on agentjobs.queue to @operator@;
  -- `agentjobs migrate status` in an operator's pod
  grant select on agentjobs.migration, agentjobs.bundle to @operator@;
end $do$;

-- numbers, times and names; of texts and JSON only those named here: no message, no result, no payload, no log, and of the audit not
-- by whom, nor why
do $do$
declare v_grant text;
begin
  for v_grant in
    select format('grant select (%s) on agentjobs.%I to @read@',
                  string_agg(quote_ident(a.attname), ', ' order by a.attnum), c.relname)
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'agentjobs'::regnamespace and c.relkind = 'r'
      and (c.relname, a.attname) not in (('audit', 'reason'), ('audit', 'role'))
      and (a.atttypid not in ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'text[]'::regtype)
           or a.attname in ('queue', 'queues', 'cluster_id', 'namespace', 'name', 'pool', 'version', 'kind', 'reason',
                            'agent', 'worker_name', 'session_id', 'trace_id', 'paused_by', 'paused_reason', 'model', 'target',
                            'verb'))
    group by c.relname
  loop execute v_grant; end loop;
end $do$;
