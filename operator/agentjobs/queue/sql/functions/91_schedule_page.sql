-- schedule_page: schedules as people see them, by namespace and name, after a place; p_namespace null: all; p_accepted null: accepted or
-- not. Each with the number of its children that have not ended, and with the last p_runs children of its ticks that the database still
-- has, the newest first: [[name, uid, created_at, state, reason, seconds that the last run took]].
-- A child of a tick is <name>-<unix minute>; runs by hand have other names.
-- Indexes: schedule_by_name, schedule_refused (each call is planned with its p_accepted), schedule_tick's primary key,
-- job_by_object backwards, primary keys. It locks nothing.
create or replace function schedule_page(p_namespace text, p_after_namespace text, p_after_name text, p_limit int, p_runs int,
                              p_accepted boolean default null)
  returns table (uid uuid, namespace text, name text, times text, created_at timestamptz, accepted boolean, suspended boolean,
                 missed bigint, active bigint, runs json)
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
  set plan_cache_mode = force_custom_plan
  as $$ #variable_conflict use_column
declare v_minute text := (extract(epoch from clock_timestamp())::bigint / 60 + 1440)::text;
        v_first text := greatest(coalesce(p_after_namespace, ''), coalesce(p_namespace, ''));
begin
  return query
  select s.uid, s.namespace, s.name, s.times, s.created_at, s.accepted, s.suspended, s.missed,
         (select count(*) from schedule_tick t where t.schedule = s.uid),
         (select json_agg(json_build_array(r.name, r.uid, r.created_at,
                   state_name(case when w.id is not null then w.state when n.id is not null then '@'
                                   else coalesce(o.state, r.tombstone) end, w.started_at is not null),
                   coalesce(w.reason, o.reason, ''),
                   extract(epoch from o.finished_at - coalesce(o.run_started_at, o.started_at)))
                   order by r.name desc)
          from (select j.id, j.uid, j.name, j.created_at, j.tombstone
                from (select * from job where namespace = s.namespace and name >= s.name || '-1' and name < s.name || '-' || v_minute
                      order by name desc limit 2 * p_runs) j
                where substr(j.name, length(s.name) + 2) ~ '^[0-9]+$' limit p_runs) r
          left join waiting w on w.id = r.id left join running n on n.id = r.id left join outcome o on o.id = r.id)
  from (select * from schedule where (namespace, name) > (v_first, case when p_after_namespace = v_first then p_after_name else '' end)
          and (p_namespace is null or namespace = p_namespace) and (p_accepted is null or accepted = p_accepted)
        order by namespace, name limit p_limit) s
  order by s.namespace, s.name;
end $$;
