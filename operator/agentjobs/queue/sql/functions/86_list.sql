-- list, and what it is made of: which lanes (86_lanes) it goes down, and what is known of the jobs that it finds.

-- first_accepted: the id from which on jobs were accepted at this time or later; the last job's, where none was. Ids are given in the
-- order of time, but for those that several callers draw at once. Index: job's primary key, some 30 probes.
create or replace function first_accepted(p_time timestamptz) returns bigint language plpgsql stable
  set enable_seqscan = off set jit = off as $$ #variable_conflict use_column
declare v_low bigint; v_high bigint; v_id bigint; v_at timestamptz; v_middle bigint;
begin
  select id into v_low from job order by id limit 1;
  select id into v_high from job order by id desc limit 1;
  while v_low < v_high loop
    v_middle := v_low + (v_high - v_low) / 2;
    select id, accepted_at into v_id, v_at from job where id >= v_middle order by id limit 1;
    if v_at < p_time then v_low := v_id + 1; else v_high := v_middle; end if;
  end loop;
  return coalesce(v_low, 0);
end $$;

-- first_ended: the lowest id of the jobs that ended in this minute or later. Null: none did; 0: not known, for there are too many
-- tallies to look at. Index: tally_first_time, with a row or so per minute; tally has the rows of two minutes or so.
create or replace function first_ended(p_minute timestamptz, p_most int) returns bigint language sql stable
  set enable_seqscan = off set jit = off as $$
  with looked as materialized (
      select first_id from (
        (select first_id from tally_first where minute >= p_minute order by minute limit p_most)
        union all (select first_id from tally limit p_most)) t)
  select case when count(*) >= p_most then 0 else min(first_id) end from looked $$;

-- facets_with_reason: the facets of which jobs wait or have ended for this reason. Null: there are more than p_most.
-- Indexes: waiting_by_reason, outcome_by_reason, from one facet to the next.
create or replace function facets_with_reason(p_reason text, p_most int) returns int[] language plpgsql stable
  set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
declare c_last constant bigint := 9223372036854775807; v_ids int[];
begin
  with recursive waits(facet) as (
      (select w.facet from waiting w
       where w.reason <> '' and (left(w.reason, 64), w.facet, w.id) > (p_reason, 0, 0)
         and (left(w.reason, 64), w.facet, w.id) <= (p_reason, 2147483647, c_last)
       order by left(w.reason, 64), w.facet, w.id limit 1)
      union all
      select n.facet from waits cross join lateral (
        select w.facet from waiting w
        where w.reason <> '' and (left(w.reason, 64), w.facet, w.id) > (p_reason, waits.facet, c_last)
          and (left(w.reason, 64), w.facet, w.id) <= (p_reason, 2147483647, c_last)
        order by left(w.reason, 64), w.facet, w.id limit 1) n),
    ends(facet) as (
      (select o.facet from outcome o
       where o.reason <> '' and (left(o.reason, 64), o.facet, o.id) > (p_reason, 0, 0)
         and (left(o.reason, 64), o.facet, o.id) <= (p_reason, 2147483647, c_last)
       order by left(o.reason, 64), o.facet, o.id limit 1)
      union all
      select n.facet from ends cross join lateral (
        select o.facet from outcome o
        where o.reason <> '' and (left(o.reason, 64), o.facet, o.id) > (p_reason, ends.facet, c_last)
          and (left(o.reason, 64), o.facet, o.id) <= (p_reason, 2147483647, c_last)
        order by left(o.reason, 64), o.facet, o.id limit 1) n)
  select array_agg(distinct x.facet) into v_ids
  from (select facet from (select facet from waits limit p_most + 1) a
        union all select facet from (select facet from ends limit p_most + 1) b) x;
  return case when coalesce(cardinality(v_ids), 0) <= p_most then coalesce(v_ids, '{}') end;
end $$;

-- list_ids: the newest jobs below p_before that p_filter lets pass, at most p_limit. seen: where the next call goes on; null: there are
-- no more. It may answer fewer than p_limit, even none, and more will come: one call looks at about p_look rows of each table.
-- p_filter: {namespace ('': jobs without an object), states, reason, queue, agent, model, user, sessions (ways to write its id), since
-- (accepted or ended at that time or later)}; what is absent: any.
-- A user's or a session's own index leads where no state and no reason is asked, or where it has not very many jobs. Else the lanes of
-- the states do, and of each job that they find is looked at what they do not know. With `since`, lanes end where jobs were accepted
-- then; those of finished jobs at the lowest id that has ended since; a job that was accepted a minute after `since` or later is not
-- looked at again. No lane goes on below where one before it was cut off.
-- Indexes: those of the lanes; job_by_user, job_by_session; primary keys.
create or replace function list_ids(p_filter json, p_before bigint, p_limit int, p_look int, out ids bigint[], out seen bigint)
  language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare
  c_facets constant int := 500;      -- as many are gone through one by one
  c_reason_facets constant int := 2000;
  c_many constant int := 2000;       -- so many jobs of a user or a session are not gone through for a state
  c_tallies constant int := 20000;   -- some two weeks
  v_before bigint := coalesce(p_before, 9223372036854775807); v_floor bigint := 0; v_sure bigint := 0;
  v_ended_floor bigint; v_cut bigint;
  v_lanes int := greatest(1, least(p_limit, 100));
  v_found bigint[] := '{}'; v_more bigint[]; v_more_cut bigint; v_facets int[]; v_some boolean; v_by_state boolean; v_look boolean;
  v_leads boolean := false; v_any_facet boolean; v_any boolean;
  v_states text[]; v_letters "char"[]; v_ends "char"[]; f record;
begin
  select * into f from json_to_record(p_filter) as x(namespace text, states text[], reason text, queue text, agent text, model text,
                                                     "user" text, sessions text[], since timestamptz);
  v_some := num_nonnulls(f.namespace, f.queue, f.agent, f.model) > 0;
  v_by_state := f.states is not null or f.reason is not null;
  if v_some or v_by_state or f.since is not null then
    v_facets := facets_of(f.namespace, f.queue, f.agent, f.model, c_facets);
    if v_facets = '{}' then return; end if;
  end if;
  v_any_facet := v_some and v_facets is null;                -- the lanes have jobs that the filter does not let pass
  v_any := num_nonnulls(f."user", f.sessions) > 0 or v_any_facet;
  v_look := v_any or f.since is not null;
  if v_facets is null and f.reason <> '' then
    v_facets := facets_with_reason(f.reason, c_reason_facets);
    if v_facets = '{}' then return; end if;
  end if;
  if f.since is not null then
    v_floor := first_accepted(f.since - interval '1 minute');
    v_sure := first_accepted(f.since + interval '1 minute');
    if (select accepted_at from job where id >= v_sure order by id limit 1) < f.since + interval '1 minute' then v_sure := v_before; end if;
  end if;

  if f.sessions is not null then
    v_leads := not v_by_state or (
      select count(*) from (
        select from unnest(f.sessions) s cross join lateral (
          select j.id from job j
          where j.session is not null and (split_part(j.session, '/', -1), j.id) < (s, v_before)
            and (split_part(j.session, '/', -1), j.id) >= (s, 0)
          order by split_part(j.session, '/', -1) desc, j.id desc limit c_many) j) n) < c_many;
  elsif f."user" is not null then
    v_leads := not v_by_state or (
      select count(*) from (
        select from job j
        where j.user_id is not null and (j.user_id, j.id) < (f."user", v_before) and (j.user_id, j.id) >= (f."user", 0)
        order by j.user_id desc, j.id desc limit c_many) n) < c_many;
  end if;

  if v_leads and f.sessions is not null then
    with seen as (select s, j.id from unnest(f.sessions) s cross join lateral (
                    select j.id from job j
                    where j.session is not null and (split_part(j.session, '/', -1), j.id) < (s, v_before)
                      and (split_part(j.session, '/', -1), j.id) >= (s, 0)
                    order by split_part(j.session, '/', -1) desc, j.id desc limit p_look) j),
      cuts as (select min(id) as at from seen group by s having count(*) = p_look)
    select coalesce(array_agg(id), '{}'), (select max(at) from cuts) into v_found, v_cut from seen;
  elsif v_leads then
    with seen as (select j.id from job j
                  where j.user_id is not null and (j.user_id, j.id) < (f."user", v_before) and (j.user_id, j.id) >= (f."user", 0)
                  order by j.user_id desc, j.id desc limit p_look)
    select coalesce(array_agg(id), '{}'), case when count(*) = p_look then min(id) end into v_found, v_cut from seen;
  else
    if not v_by_state and f.since is null then
      select l.ids, l.cut into v_found, v_cut from job_lanes(v_facets, null, v_before, 0, v_lanes, p_look) l;
    else
      v_states := coalesce(f.states, array['Queued', 'Scheduled', 'Retrying', 'Suspended', 'InputRequired', 'Running', 'Complete',
                                           'Failed', 'Cancelled', 'Rejected']);
      v_letters := array(select x from unnest('{n,p,r,b,q,l,m,i,s,h}'::"char"[]) x
                         where state_name(x, false) = any (v_states) or state_name(x, true) = any (v_states));
      v_ends := array(select x from unnest('{c,f,k,x}'::"char"[]) x where state_name(x, false) = any (v_states));
      select l.ids, l.cut into v_found, v_cut
      from waiting_lanes(v_facets, v_letters, v_states, f.reason, v_before, v_floor, v_lanes, p_look) l;
      if f.reason is null then
        if 'Running' = any (v_states) then
          select l.ids, l.cut into v_more, v_more_cut from running_lane(v_facets, v_before, greatest(v_floor, v_cut), p_look) l;
          v_found := v_found || v_more; v_cut := greatest(v_cut, v_more_cut);
        end if;
        select l.ids, l.cut into v_more, v_more_cut from job_lanes(v_facets, v_ends, v_before, greatest(v_floor, v_cut), v_lanes, p_look) l;
        v_found := v_found || v_more; v_cut := greatest(v_cut, v_more_cut);
      end if;
      v_ended_floor := v_floor;
      if f.since is not null and v_ends <> '{}' then
        v_ended_floor := least(v_floor, first_ended(date_trunc('minute', f.since), c_tallies));
      end if;
      select l.ids, l.cut into v_more, v_more_cut
      from outcome_lanes(v_facets, v_ends, f.reason, v_before, greatest(v_ended_floor, v_cut), v_lanes, p_look) l;
      v_found := v_found || v_more; v_cut := greatest(v_cut, v_more_cut);
    end if;
  end if;

  if v_look then
    ids := array(
      select x.id from (select distinct x.id from unnest(v_found) x(id) where x.id >= coalesce(v_cut, 0)) x
      where (not v_any and x.id >= v_sure) or exists (
        select from (select * from job where job.id = x.id offset 0) j
        where (f."user" is null or j.user_id = f."user")
          and (f.sessions is null or split_part(j.session, '/', -1) = any (f.sessions))
          and (f.since is null or j.accepted_at >= f.since
               or exists (select from outcome o where o.id = j.id and o.finished_at >= f.since))
          and (not (v_some and v_leads or v_any_facet) or exists (
                 select from facet c where c.id = j.facet
                   and (f.namespace is null or c.namespace = f.namespace) and (f.queue is null or c.queue = f.queue)
                   and (f.agent is null or c.agent = f.agent) and (f.model is null or c.model = f.model)))
          and (not (v_leads and v_by_state) or exists (
                 select from (select) one left join waiting w on w.id = j.id left join running r on r.id = j.id
                   left join outcome o on o.id = j.id
                 where (f.reason is null or left(coalesce(w.reason, o.reason, ''), 64) = f.reason)
                   and (f.states is null or state_name(
                          case when w.id is not null then w.state when r.id is not null then '@' else coalesce(o.state, j.tombstone) end,
                          w.started_at is not null) = any (f.states)))))
      order by x.id desc limit p_limit);
  else
    ids := array(select distinct x.id from unnest(v_found) x(id) where x.id >= coalesce(v_cut, 0) order by x.id desc limit p_limit);
  end if;
  seen := case when cardinality(ids) = p_limit then ids[p_limit] else v_cut end;
end $$;

-- list: the same, with what a list shows of each job, in order. Indexes: as list_ids(); primary keys.
create or replace function list(p_filter json, p_before bigint, p_limit int, p_look int, out jobs json, out seen bigint)
  language plpgsql stable set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off
  set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[];
begin
  select l.ids, l.seen into v_ids, seen from list_ids(p_filter, p_before, p_limit, p_look) l;
  jobs := (
    select json_agg(json_build_object(
      'id', j.id, 'uid', j.uid, 'ref', case when j.cluster_id is not null then json_build_array(j.cluster_id, j.namespace, j.name) end,
      'queue', j.queue, 'priority', j.priority,
      'place', case when w.id is not null then w.state when r.id is not null then '@' else coalesce(o.state, j.tombstone) end,
      'reason', coalesce(w.reason, o.reason, ''), 'message', left(coalesce(w.message, o.message, ''), 256),
      'agent', c.agent, 'model', c.model, 'user', coalesce(j.user_id, ''), 'session', coalesce(j.session, ''),
      'attempts', coalesce(w.attempt, r.attempt, o.attempt, 0), 'max_attempts', j.max_attempts, 'round', j.round,
      'created_at', j.created_at, 'since', coalesce(w.since, r.since, o.finished_at, j.accepted_at),
      'started_at', coalesce(w.started_at, r.started_at, o.started_at), 'finished_at', o.finished_at,
      'due_at', coalesce(w.run_at, r.run_at, j.due_at), 'next_at', w.next_at,
      'worker', coalesce(k.name, o.worker_name, ''), 'step', coalesce(r.step, ''),
      'usage', plus(coalesce(w.spent, r.spent, o.spent), coalesce(r.usage, o.usage)), 'result_bytes', octet_length(o.result))
      order by j.id desc)
    from unnest(v_ids) i cross join lateral (select * from job where job.id = i offset 0) j join facet c on c.id = j.facet
    left join waiting w on w.id = j.id left join running r on r.id = j.id left join outcome o on o.id = j.id
    left join worker k on k.id = r.worker);
end $$;

-- job_at: the newest job of that name. Index: job_by_object.
create or replace function job_at(p_namespace text, p_name text) returns uuid language sql stable set enable_seqscan = off as
  $$ select uid from job where namespace = p_namespace and name = p_name order by id desc limit 1 $$;
