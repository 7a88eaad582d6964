-- explain: a ready job says why it is not claimed: QueuePaused, NoWorkers, QueueFull; empty: its turn has not come. Only jobs with an
-- object, at most p_limit per queue, of so many queues as one call looks at, and only those whose reason changes. Answers how many were
-- changed.
-- Jobs that a pause keeps from their session are told by admit() and yield_paused().
-- Index: waiting_reason, walked queue by queue (walk_queues). Lock order: waiting rows, those that nobody has locked.
create or replace function explain(p_expiry interval, p_limit int) returns int language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare v_alive timestamptz := clock_timestamp() - p_expiry; q record; n int := 0; v_served text; v_ids bigint[];
  c_last constant text := 'zzzz';                       -- behind every reason: a bound that the index can use
  c_names constant int := 500;
begin
  select string_agg(distinct s, ', ' order by s) into v_served from worker, json_object_keys(queues) s
    where beat_at > v_alive;
  for q in
    select x.name, case when u.paused_at is not null then 'QueuePaused'
                        when not exists (select from worker k where k.beat_at > v_alive and (k.queues->x.name) is not null)
                        then 'NoWorkers'
                        when u.max_running <= (select count(*) from running r where r.queue = x.name and r.limited) then 'QueueFull'
                        else '' end as reason,
           u.paused_by, u.paused_reason, u.max_running, null::text as spared
    from walk_queues('ready', c_names) x(name) left join queue u on u.name = x.name
  loop
    -- a slot that is free at this moment: those that said QueueFull go on saying so, most of them rightly
    if q.reason = '' and q.max_running is not null then q.spared := 'QueueFull'; end if;
    with mine as materialized (
        select id from (
          select id from (select id from waiting where state = 'r' and mirrored and queue = q.name and reason < q.reason
                          limit p_limit for update skip locked) below
          union all
          select id from (select id from waiting where state = 'r' and mirrored and queue = q.name and reason > q.reason
                            and reason < coalesce(q.spared, c_last)
                          limit p_limit for update skip locked) above
          union all
          select id from (select id from waiting where state = 'r' and mirrored and queue = q.name and reason > q.spared
                          limit p_limit for update skip locked) beyond) m
        limit p_limit),
      u as (update waiting w set reason = q.reason,
              message = case q.reason when 'QueuePaused' then paused_message(q.name, q.paused_by, q.paused_reason)
                                      when 'NoWorkers' then 'no live worker serves queue ' || q.name || '; served: '
                                        || coalesce(v_served, 'none')
                                      when 'QueueFull' then 'queue ' || q.name || ' runs its limit of ' || q.max_running || ' jobs' end
            from mine where w.id = mine.id returning w.id)
    select array_agg(id) into v_ids from u;
    if v_ids is not null then perform touch(v_ids); n := n + cardinality(v_ids); end if;
  end loop;
  return n;
end $$;
