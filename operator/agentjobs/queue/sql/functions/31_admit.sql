-- admit: jobs of shared sessions that are due take their session, or their place behind its holder, in the order of their
-- places in line (H12, H17). Jobs of paused queues stay new. Answers how many it looked at.
-- A short transaction of its own: enqueue() cannot do this, because its caller's transaction may stay open. One process at a
-- time, by an advisory lock. Index: waiting_new. Lock order: waiting rows, those that nobody has locked; then sessions by key.
create or replace function admit(p_limit int default 1000) returns int language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_ids bigint[]; v_heads bigint[]; v_ready text[]; v_mirrored bigint[];
begin
  if not exists (select from waiting where state = 'n') then return 0; end if;
  perform pg_advisory_xact_lock(hashtext('agentjobs admit'));
  select array_agg(id order by place) into v_ids
  from (select w.id, place(w.pos) as place from waiting w where w.state = 'n'
          and not exists (select from queue q where q.name = w.queue and q.paused_at is not null)
        order by place(w.pos) limit p_limit for update of w skip locked) n;
  if v_ids is null then return 0; end if;
  -- opens the sessions that nobody holds; locks the others until commit (the conflict arm writes nothing)
  with first as (select distinct on (w.session) w.session, w.id from waiting w where w.id = any(v_ids) order by w.session, place(w.pos)),
    opened as (insert into session (key, holder) select session, id from first order by session
               on conflict (key) do update set key = excluded.key where false returning holder)
  select array_agg(holder) into v_heads from opened;
  with moved as (
      update waiting w set state = case when w.id = any(v_heads) then ready_state(w.losses) else 'b' end,
             reason = case when w.id = any(v_heads) then '' else 'BehindSession' end, message = null
      where w.id = any(v_ids) returning w.id, w.queue, w.state, w.mirrored)
  select array_agg(distinct queue) filter (where state <> 'b'), array_agg(id) filter (where mirrored)
    into v_ready, v_mirrored from moved;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_ready);
  return cardinality(v_ids);
end $$;
