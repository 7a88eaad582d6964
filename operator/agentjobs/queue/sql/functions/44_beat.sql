-- beat: the heartbeat of a worker or an operator. Nothing that it reads or writes is ever held by a claim or an ack (H12).
-- alive is false where the worker's row is gone: its jobs belong to others. release: the release of these functions; a worker
-- that does not know it drains (H30). controls: what is asked of its runs. disowned: runs that were claimed for it and that it
-- does not know, because the reply was lost (H8): neither held, nor in flight, and older than a beat, for a claim may have been
-- sent after this beat was composed.
-- wanted: runs whose output somebody reads (want_output), and whether some is stored.
-- p_room: the queues for which this worker has free slots, {} where it has none; null: it claims nothing. p_hears: it hears notifications.
-- seats, ready, p_low: look_out(). workers: how many there are, counted to 100, for one without a seat, which looks for jobs the less
-- often. ticks: it is one of two that tick each second; the others do seldom, in case these are gone.
-- A gap of half the expiry starts the steady time anew (H11): the others may have beaten almost a whole beat earlier. So does a
-- beat before the last one: the database's clock was set back.
-- Indexes: worker's primary key, running_control, output_tail_wanted, running's primary key. Lock order: the worker's own row alone.
create or replace function beat(p_worker uuid, p_held json, p_in_flight bigint[], p_expiry interval,
                     p_room text[] default null, p_low bigint[] default null, p_hears boolean default true,
                     out alive boolean, out release int, out controls json, out disowned json, out wanted json,
                     out seats json, out ready boolean, out workers int, out ticks boolean) language plpgsql
  set jit = off as $$ #variable_conflict use_column
declare v_now timestamptz := clock_timestamp();
begin
  update worker set steady_since = case when beat_at between v_now - p_expiry / 2 and v_now then steady_since else v_now end,
                    beat_at = v_now, room = p_room
    where id = p_worker;
  alive := found;
  select max(b.release) into release from bundle b;
  if not alive then return; end if;
  select json_agg(json_build_array(id, token, control)) into controls from running where worker = p_worker and control is not null;
  select json_agg(json_build_array(o.id, r.token, o.at is not null)) into wanted
  from output_tail o
  cross join lateral (select x.token from running x where x.id = o.id and x.run = o.run and x.worker = p_worker offset 0) r
  where o.wanted_until > v_now;
  select json_agg(json_build_array(r.id, r.token)) into disowned
  from running r where r.worker = p_worker and r.token <> all (p_in_flight) and r.since < v_now - p_expiry / 3
    and not exists (select from json_to_recordset(p_held) as h(i bigint, t bigint) where h.i = r.id and h.t = r.token);
  if p_room is null or not p_hears then
    delete from lookout where worker = p_worker;
  end if;
  if p_room is not null then
    select l.seats, l.ready into seats, ready from look_out(p_worker, p_room, p_low, p_hears, p_expiry) l;
    if seats is null then
      select count(*) into workers from (select from worker k where k.queues::text <> '{}' limit 100) k;
    end if;
  end if;
  select count(*) < 2 into ticks from (
    select from worker k where k.id < p_worker and k.queues::text <> '{}' and k.beat_at > v_now - p_expiry * 2 / 3 limit 2) before;
end $$;

-- disown: gives back runs whose claim never arrived at the worker; the attempt is refunded (H8). Answers how many.
-- Lock order: as ack(), then sessions by key.
create or replace function disown(p_worker uuid, p_runs json) returns int language plpgsql as $$ #variable_conflict use_column
declare v_back json; v_missed json; v_keys text[];
begin
  select json_agg(json_build_object('i', r.id, 't', r.token, 'k', 'lost', 'y', 'ClaimLost',
                                    'm', 'the reply to the claim was lost; given back unharmed')) into v_back
  from json_to_recordset(p_runs) as t(i bigint, t bigint) join running r on r.id = t.i and r.token = t.t and r.worker = p_worker;
  if v_back is null then return 0; end if;
  select a.missed, a.keys into v_missed, v_keys from ack(p_worker, null, v_back) a;
  if v_keys is not null then perform session_next(v_keys); end if;
  return json_array_length(v_back) - coalesce(json_array_length(v_missed), 0);
end $$;
