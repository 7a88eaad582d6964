-- session_next: the holders of these sessions have left. The first job behind each gate becomes ready and the new holder; a
-- session without one is closed. Each transaction calls it once, as its last step, with all sessions at once.
-- Indexes: session's primary key, waiting_behind. Lock order: session rows by key, then the waiting row that goes next.
create or replace function session_next(p_keys text[]) returns void language plpgsql as $$ #variable_conflict use_column
declare v_queues text[]; v_mirrored bigint[];
begin
  -- its own statement: the next one must see what committed while it waited
  perform 1 from session where key = any(p_keys) order by key for update;
  with gone as materialized (
      select k.key, b.id
      from (select distinct unnest(p_keys) as key) k
      left join lateral (select w.id from waiting w where w.session = k.key and w.state = 'b'
                         order by w.pos & 72057594037927935 limit 1 for update) b on true),
    freed as (update waiting w set state = ready_state(w.losses), since = clock_timestamp(), reason = ''
              from gone where w.id = gone.id returning w.id, w.queue, w.mirrored),
    kept as (update session s set holder = gone.id from gone where s.key = gone.key and gone.id is not null),
    closed as (delete from session s using gone where s.key = gone.key and gone.id is null)
  select array_agg(queue), array_agg(id) filter (where mirrored) into v_queues, v_mirrored from freed;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_queues);
end $$;
