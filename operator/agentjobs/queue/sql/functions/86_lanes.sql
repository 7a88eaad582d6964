-- Lists of jobs, the newest first. Nothing here locks anything.
--
-- A list goes down the ids of one *lane* or more: of each table that may hold such jobs, one lane per facet and state, or per reason
-- and facet, in the order of an index. It takes up to p_look ids in all, the same number of each lane that begins among the first
-- p_lanes. From the highest id at which a lane was cut off, all lanes are known, and the rest is left to the next call (cut). So a call
-- reads a bounded number of rows, and no page leaves out or repeats a job.
-- Conditions on an index are written as comparisons of rows, and ordered by all of its columns: so the planner has no other index to
-- choose, such as a primary key whose rows it would walk for ever.

-- facets_of: the facets that have these values; null values: any. Null: there are more than p_most, or too many to look at.
-- Indexes: facet_by_namespace, or its primary key.
create or replace function facets_of(p_namespace text, p_queue text, p_agent text, p_model text, p_most int) returns int[]
  language plpgsql stable set enable_seqscan = off set jit = off as $$ #variable_conflict use_column
declare v_ids int[]; v_read int;
begin
  if p_namespace is null then
    with looked as (select * from facet order by id limit 4 * p_most + 1)
    select array_agg(id) filter (where (p_queue is null or queue = p_queue) and (p_agent is null or agent = p_agent)
                                   and (p_model is null or model = p_model)), count(*) into v_ids, v_read from looked;
  else
    with looked as (select * from facet where namespace = p_namespace limit 4 * p_most + 1)
    select array_agg(id) filter (where (p_queue is null or queue = p_queue) and (p_agent is null or agent = p_agent)
                                   and (p_model is null or model = p_model)), count(*) into v_ids, v_read from looked;
  end if;
  return case when v_read <= 4 * p_most and coalesce(cardinality(v_ids), 0) <= p_most then coalesce(v_ids, '{}') end;
end $$;

-- waiting_lanes: ids of waiting jobs with these states, below p_before and from p_floor on. p_facets null: of all facets.
-- cut: the ids from there on are all; null: there are no more below.
-- Indexes: waiting_by_facet; with p_reason waiting_by_reason; without facets waiting_by_state, where p_letters has only its states, else
-- the primary key.
create or replace function waiting_lanes(p_facets int[], p_letters "char"[], p_states text[], p_reason text, p_before bigint,
                                         p_floor bigint, p_lanes int, p_look int, out ids bigint[], out cut bigint)
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
begin
  if p_letters = '{}' then return; end if;
  if p_facets is null and not p_letters && '{n,p,r}' then
    with seen as materialized (
        select s, t.* from unnest(p_letters) s cross join lateral (
          select w.id, w.started_at, w.reason from waiting w
          where w.state not in ('n', 'p', 'r') and (w.state, w.id) < (s, p_before) and (w.state, w.id) >= (s, p_floor)
          order by w.state desc, w.id desc limit p_look) t),
      cuts as (select min(id) as at from seen group by s having count(*) = p_look)
    select array_agg(id) filter (where state_name(s, started_at is not null) = any (p_states)
                                   and (p_reason is null or left(reason, 64) = p_reason)), (select max(at) from cuts)
      into ids, cut from seen;
  elsif p_facets is null then
    with seen as materialized (
        select w.id, w.state, w.started_at, w.reason from waiting w where w.id < p_before and w.id >= p_floor
        order by w.id desc limit p_look)
    select array_agg(id) filter (where state_name(state, started_at is not null) = any (p_states)
                                   and (p_reason is null or left(reason, 64) = p_reason)),
           case when count(*) = p_look then min(id) end
      into ids, cut from seen;
  elsif p_reason is not null then
    with top as materialized (
        select f, t.id from unnest(p_facets) f cross join lateral (
          select w.id from waiting w
          where w.reason <> '' and (left(w.reason, 64), w.facet, w.id) < (p_reason, f, p_before)
            and (left(w.reason, 64), w.facet, w.id) >= (p_reason, f, p_floor)
          order by left(w.reason, 64) desc, w.facet desc, w.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, t.* from (select f from top order by id desc limit p_lanes) l cross join lateral (
          select w.id, w.state, w.started_at from waiting w
          where w.reason <> '' and (left(w.reason, 64), w.facet, w.id) < (p_reason, l.f, p_before)
            and (left(w.reason, 64), w.facet, w.id) >= (p_reason, l.f, p_floor)
          order by left(w.reason, 64) desc, w.facet desc, w.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id) filter (where state_name(state, started_at is not null) = any (p_states)), (select max(at) from cuts)
      into ids, cut from seen;
  else
    with top as materialized (
        select f, s, t.id from unnest(p_facets) f cross join unnest(p_letters) s cross join lateral (
          select w.id from waiting w
          where (w.facet, w.state, w.id) < (f, s, p_before) and (w.facet, w.state, w.id) >= (f, s, p_floor)
          order by w.facet desc, w.state desc, w.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, l.s, t.* from (select f, s from top order by id desc limit p_lanes) l cross join lateral (
          select w.id, w.started_at from waiting w
          where (w.facet, w.state, w.id) < (l.f, l.s, p_before) and (w.facet, w.state, w.id) >= (l.f, l.s, p_floor)
          order by w.facet desc, w.state desc, w.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f, s having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id) filter (where state_name(s, started_at is not null) = any (p_states)), (select max(at) from cuts)
      into ids, cut from seen;
  end if;
end $$;

-- running_lane: the same of running jobs. There are no more of them than slots, so it goes by the primary key.
create or replace function running_lane(p_facets int[], p_before bigint, p_floor bigint, p_limit int, out ids bigint[], out cut bigint)
  language sql stable set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
  with seen as materialized (select r.id, r.facet from running r where r.id < p_before and r.id >= p_floor order by r.id desc limit p_limit)
  select array_agg(id) filter (where p_facets is null or facet = any (p_facets)), case when count(*) = p_limit then min(id) end
  from seen $$;

-- complete_lanes: the same of complete jobs of these facets. Nearly all that ends is complete, so these have no index of their own, which
-- each ack would pay for: the lanes are those of all jobs, from the highest id on that tallies know as complete (without a tally there
-- is none: retention keeps tallies longer than jobs).
-- Indexes: job_by_facet, outcome's primary key, tally_minute_complete; tally has the rows of two minutes or so.
create or replace function complete_lanes(p_facets int[], p_before bigint, p_floor bigint, p_lanes int, p_look int,
                                          out ids bigint[], out cut bigint)
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare c_tallies constant int := 20000; v_last bigint[]; v_most bigint := 9223372036854775807;
begin
  with looked as materialized (select facet, state, last_id from tally limit c_tallies),
    recent as materialized (select facet, max(last_id) as last from looked where state = 'c' group by facet)
  select array_agg(case when (select count(*) from looked) < c_tallies
                        then greatest((select r.last from recent r where r.facet = f),
                                      (select m.last_id from tally_minute m
                                       where m.state = 'c' and (m.facet, m.last_id) < (f, v_most) and (m.facet, m.last_id) >= (f, 0)
                                       order by m.facet desc, m.last_id desc limit 1))
                        else v_most - 1 end order by n)
    into v_last from unnest(p_facets) with ordinality x(f, n);
  with top as materialized (
      select f, t.id from unnest(p_facets, v_last) x(f, last) cross join lateral (
        select j.id from job j where (j.facet, j.id) < (f, least(p_before, last + 1)) and (j.facet, j.id) >= (f, p_floor)
        order by j.facet desc, j.id desc limit 1) t
      where last is not null order by t.id desc limit p_lanes + 1),
    share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
    seen as materialized (
      select l.f, t.id from (select f, id from top order by id desc limit p_lanes) l cross join lateral (
        select j.id from job j where (j.facet, j.id) <= (l.f, l.id) and (j.facet, j.id) >= (l.f, p_floor)
        order by j.facet desc, j.id desc limit (select n from share)) t),
    cuts as (select min(id) as at from seen group by f having count(*) = (select n from share)
             union all (select id + 1 from top order by id desc offset p_lanes))
  select array_agg(id) filter (where (select o.state from outcome o where o.id = s.id) = 'c'), (select max(at) from cuts)
    into ids, cut from seen s;
end $$;

-- outcome_lanes: the same of finished jobs. Indexes: outcome_not_complete_by_facet, and complete_lanes'; with p_reason
-- outcome_by_reason; without facets outcome_not_complete, where p_letters has not the complete ones, else the primary key.
create or replace function outcome_lanes(p_facets int[], p_letters "char"[], p_reason text, p_before bigint, p_floor bigint, p_lanes int,
                                         p_look int, out ids bigint[], out cut bigint)
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[]; v_cut bigint;
begin
  if p_letters = '{}' then return; end if;
  if p_facets is null and 'c' = any (p_letters) then
    with seen as materialized (
        select o.id, o.state, o.reason from outcome o where o.id < p_before and o.id >= p_floor order by o.id desc limit p_look)
    select array_agg(id) filter (where state = any (p_letters) and (p_reason is null or left(reason, 64) = p_reason)),
           case when count(*) = p_look then min(id) end
      into ids, cut from seen;
  elsif p_facets is null then
    with seen as materialized (
        select s, t.* from unnest(p_letters) s cross join lateral (
          select o.id, o.reason from outcome o
          where o.state <> 'c' and (o.state, o.id) < (s, p_before) and (o.state, o.id) >= (s, p_floor)
          order by o.state desc, o.id desc limit p_look) t),
      cuts as (select min(id) as at from seen group by s having count(*) = p_look)
    select array_agg(id) filter (where p_reason is null or left(reason, 64) = p_reason), (select max(at) from cuts)
      into ids, cut from seen;
  elsif p_reason is not null then
    with top as materialized (
        select f, t.id from unnest(p_facets) f cross join lateral (
          select o.id from outcome o
          where o.reason <> '' and (left(o.reason, 64), o.facet, o.id) < (p_reason, f, p_before)
            and (left(o.reason, 64), o.facet, o.id) >= (p_reason, f, p_floor)
          order by left(o.reason, 64) desc, o.facet desc, o.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, t.* from (select f from top order by id desc limit p_lanes) l cross join lateral (
          select o.id, o.state from outcome o
          where o.reason <> '' and (left(o.reason, 64), o.facet, o.id) < (p_reason, l.f, p_before)
            and (left(o.reason, 64), o.facet, o.id) >= (p_reason, l.f, p_floor)
          order by left(o.reason, 64) desc, o.facet desc, o.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id) filter (where state = any (p_letters)), (select max(at) from cuts) into ids, cut from seen;
  else
    with top as materialized (
        select f, s, t.id from unnest(p_facets) f cross join unnest(array_remove(p_letters, 'c')) s cross join lateral (
          select o.id from outcome o
          where o.state <> 'c' and (o.facet, o.state, o.id) < (f, s, p_before)
            and (o.facet, o.state, o.id) >= (f, s, p_floor)
          order by o.facet desc, o.state desc, o.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, l.s, t.id from (select f, s from top order by id desc limit p_lanes) l cross join lateral (
          select o.id from outcome o
          where o.state <> 'c' and (o.facet, o.state, o.id) < (l.f, l.s, p_before)
            and (o.facet, o.state, o.id) >= (l.f, l.s, p_floor)
          order by o.facet desc, o.state desc, o.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f, s having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id), (select max(at) from cuts) into ids, cut from seen;
    if 'c' = any (p_letters) then
      select l.ids, l.cut into v_ids, v_cut from complete_lanes(p_facets, p_before, p_floor, p_lanes, p_look) l;
      ids := ids || v_ids; cut := greatest(cut, v_cut);
    end if;
  end if;
end $$;

-- job_lanes: the same of all jobs, in whatever state; with p_letters of those that are tombstones of these final states.
-- Indexes: job_by_facet, or the primary key; of tombstones job_trimmed_by_facet, or job_trimmed.
create or replace function job_lanes(p_facets int[], p_letters "char"[], p_before bigint, p_floor bigint, p_lanes int, p_look int,
                                     out ids bigint[], out cut bigint)
  language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off as $$ #variable_conflict use_column
begin
  if p_letters = '{}' then return; end if;
  if p_letters is null and p_facets is null then
    with seen as materialized (select j.id from job j where j.id < p_before and j.id >= p_floor order by j.id desc limit p_look)
    select array_agg(id), case when count(*) = p_look then min(id) end into ids, cut from seen;
  elsif p_letters is null then
    with top as materialized (
        select f, t.id from unnest(p_facets) f cross join lateral (
          select j.id from job j where (j.facet, j.id) < (f, p_before) and (j.facet, j.id) >= (f, p_floor)
          order by j.facet desc, j.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, t.id from (select f from top order by id desc limit p_lanes) l cross join lateral (
          select j.id from job j where (j.facet, j.id) < (l.f, p_before) and (j.facet, j.id) >= (l.f, p_floor)
          order by j.facet desc, j.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id), (select max(at) from cuts) into ids, cut from seen;
  elsif p_facets is null then
    with seen as materialized (
        select s, t.id from unnest(p_letters) s cross join lateral (
          select j.id from job j
          where j.tombstone is not null and (j.tombstone, j.id) < (s, p_before) and (j.tombstone, j.id) >= (s, p_floor)
          order by j.tombstone desc, j.id desc limit p_look) t),
      cuts as (select min(id) as at from seen group by s having count(*) = p_look)
    select array_agg(id), (select max(at) from cuts) into ids, cut from seen;
  else
    with top as materialized (
        select f, s, t.id from unnest(p_facets) f cross join unnest(p_letters) s cross join lateral (
          select j.id from job j
          where j.tombstone is not null and (j.facet, j.tombstone, j.id) < (f, s, p_before)
            and (j.facet, j.tombstone, j.id) >= (f, s, p_floor)
          order by j.facet desc, j.tombstone desc, j.id desc limit 1) t
        order by t.id desc limit p_lanes + 1),
      share as materialized (select greatest(1, p_look / greatest(1, least(p_lanes, count(*)::int))) as n from top),
      seen as materialized (
        select l.f, l.s, t.id from (select f, s from top order by id desc limit p_lanes) l cross join lateral (
          select j.id from job j
          where j.tombstone is not null and (j.facet, j.tombstone, j.id) < (l.f, l.s, p_before)
            and (j.facet, j.tombstone, j.id) >= (l.f, l.s, p_floor)
          order by j.facet desc, j.tombstone desc, j.id desc limit (select n from share)) t),
      cuts as (select min(id) as at from seen group by f, s having count(*) = (select n from share)
               union all (select id + 1 from top order by id desc offset p_lanes))
    select array_agg(id), (select max(at) from cuts) into ids, cut from seen;
  end if;
end $$;
