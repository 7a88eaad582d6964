-- Counts of what has ended, by the minute (tables tally, tally_minute, tally_key and tally_first).

-- count_ended: counts these jobs, which the caller has just ended, and tells who awaits them; ack() does the same for runs that end their
-- jobs at once. Each end counts, also that of a later round. Index: outcome's primary key. It only inserts: nobody waits for it.
create or replace function count_ended(p_ids bigint[]) returns void language sql as $$
  insert into tally (minute, facet, state, reason, n, tokens, seconds, first_id, last_id)
  select date_trunc('minute', finished_at), facet, state, left(reason, 64), count(*),
         least(9007199254740991, sum((coalesce(spent[3], 0) + coalesce(usage[3], 0))::float8))::bigint,
         coalesce(sum(date_part('epoch', finished_at - run_started_at)), 0), min(id), max(id)
  from outcome where id = any (p_ids) group by 1, 2, 3, 4;
  select tell_ended(p_ids) $$;

-- roll_up: adds up at most p_limit rows of tally, of minutes before p_before. A job that ends in such a minute and commits later makes
-- one more row of its group. A row is in tally, or in all sums that it belongs to. One process at a time: the caller has retention's lock.
-- Indexes: tally has none, for it has the rows of two minutes or so, and is read in its order; facet's and tally_key's primary keys.
create or replace function roll_up(p_before timestamptz, p_limit int) returns void language sql as $$
  with gone as (delete from tally where ctid = any (array(select ctid from tally where minute < p_before limit p_limit))
                returning *),
    firsts as (insert into tally_first (minute, first_id) select minute, min(first_id) from gone group by 1),
    minutes as (
      insert into tally_minute (minute, facet, state, reason, n, tokens, seconds, first_id, last_id)
      select minute, facet, state, reason, sum(n), least(9007199254740991, sum(tokens)), sum(seconds), min(first_id), max(last_id)
      from gone group by 1, 2, 3, 4)
  insert into tally_key as t (by, minutes, begins, key, state, n, tokens, seconds)
  select k.by, p.minutes, date_bin(make_interval(mins => p.minutes), g.minute, '1970-01-01Z'), k.key, g.state, sum(g.n),
         least(9007199254740991, sum(g.tokens)), sum(g.seconds)
  from gone g join facet f on f.id = g.facet
  cross join lateral (values ('q'::"char", f.queue), ('n', f.namespace), ('a', f.agent), ('m', f.model), ('r', g.reason)) k(by, key)
  cross join (values (5::smallint), (60)) p(minutes)
  group by 1, 2, 3, 4, 5
  on conflict (by, minutes, begins, key, state) do update
  set n = t.n + excluded.n, tokens = least(9007199254740991, t.tokens + excluded.tokens), seconds = t.seconds + excluded.seconds $$;
