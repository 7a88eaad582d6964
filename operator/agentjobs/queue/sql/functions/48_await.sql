-- await_ends: how jobs have ended, and that somebody awaits the others for p_for from now on: their ends are notified (tell_ended). A row
-- for each job that is known: state is the letter of outcome.state, null while it has not ended. A job whose caller has not committed is
-- not known, and awaited all the same. Who awaits asks again a little later: a transaction that was ending a job while this one said that
-- it is awaited has told nobody. A job that ends after the first look is answered as one that has not ended, for it is awaited now.
-- Indexes: job's unique uid, primary keys. Lock order: rows of awaited by uid; nobody else waits for them.
create or replace function await_ends(p_uids uuid[], p_for interval)
  returns table (uid uuid, state text, reason text, message text, result text, truncated boolean, erased boolean) language plpgsql
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$ #variable_conflict use_column
declare v_until timestamptz := clock_timestamp() + p_for; v_ended uuid[];
begin
  v_ended := array(select u from unnest(p_uids) u join job j on j.uid = u
                   where j.tombstone is not null or exists (select from outcome o where o.id = j.id));
  insert into awaited as a (uid, until)
  select distinct u, v_until from unnest(p_uids) u where u <> all (v_ended) order by u
  on conflict (uid) do update set until = excluded.until where a.until < excluded.until - p_for / 2;
  delete from awaited where uid = any (array(select a.uid from awaited a where a.uid = any (v_ended)
                                             order by a.uid for update skip locked));
  return query
    select j.uid, coalesce(o.state, case when u = any (v_ended) then j.tombstone end)::text, coalesce(o.reason, ''),
           coalesce(o.message, ''), o.result, coalesce(o.result_truncated, false), j.erased or j.tombstone is not null
    from unnest(p_uids) u join job j on j.uid = u left join outcome o on o.id = j.id and u = any (v_ended);
end $$;

-- forget_awaited: removes what nobody has said again. Index: awaited_until.
create or replace function forget_awaited(p_before timestamptz, p_limit int) returns void language sql as $$
  delete from awaited where ctid = any (array(
    select ctid from awaited where until < p_before order by until limit p_limit for update skip locked));
$$;
