-- Small pieces. The immutable ones have no search_path of their own, so that Postgres puts them inline.

-- pos: the sort key of claims (waiting.pos): the priority in the top byte, the place in line below it.
create or replace function pos(p_priority smallint, p_place bigint) returns bigint
  language sql immutable as 'select (p_priority::bigint << 56) | p_place';

-- place: the place in line of such a key. The index waiting_behind has this expression, written out.
create or replace function place(p_pos bigint) returns bigint
  language sql immutable as 'select p_pos & 72057594037927935';

-- priority: the priority of such a key.
create or replace function priority(p_pos bigint) returns smallint
  language sql immutable as 'select (p_pos >> 56)::smallint';

-- sum_of: two counts added up, at most 2^53 - 1, as the workers bound them: a job may run for ever.
create or replace function sum_of(a bigint, b bigint) returns bigint language sql immutable as
  'select least(9007199254740991, least(a, 9007199254740991) + least(b, 9007199254740991))';

-- plus: two usages added up, number by number; null counts as nothing.
create or replace function plus(a bigint[], b bigint[]) returns bigint[] language sql immutable as $$
  select case when a is null then b when b is null then a
              else array[sum_of(a[1], b[1]), sum_of(a[2], b[2]), sum_of(a[3], b[3]), sum_of(a[4], b[4]), sum_of(a[5], b[5])] end $$;

-- ready_state: where a job goes that is due: to the ready ones, and after its third lost worker into quarantine (H14).
create or replace function ready_state(p_losses smallint) returns "char"
  language sql immutable as 'select case when p_losses >= 3 then ''q''::"char" else ''r''::"char" end';

-- is_drain: whether a worker gave back a run because of its own end. What it gives back for another reason charges nothing, however
-- often: the job could not begin there (H16).
create or replace function is_drain(p_kind text, p_reason text) returns boolean language sql immutable as
  'select p_kind = ''release'' and coalesce(p_reason, '''') in (''Drained'', ''LeaseExpired'')';

-- release_delay: seconds until the next run after one that could not begin: twice as long with each in a row, up to 5 minutes.
create or replace function release_delay(p_seconds double precision, p_releases int) returns double precision language sql immutable as
  'select greatest(p_seconds, least(300, p_seconds * 2 ^ least(coalesce(p_releases, 0), 20)))';

-- state_name: the state that people see, from the letter of a job's place (0001_tables has the letters; @ is running). A job
-- that waits for its time, or for its model, and has run before, is Retrying.
create or replace function state_name(p_place "char", p_started boolean) returns text language sql immutable as $$
  select case p_place when '@' then 'Running' when 'c' then 'Complete' when 'f' then 'Failed' when 'k' then 'Cancelled'
                      when 'n' then 'Queued' when 'p' then 'Queued' when 'r' then 'Queued' when 'b' then 'Queued' when 'q' then 'Queued'
                      when 'l' then case when p_started then 'Retrying' else 'Scheduled' end
                      when 'm' then case when p_started then 'Retrying' else 'Queued' end
                      when 'i' then 'InputRequired' when 's' then 'Suspended' when 'h' then 'Suspended' else 'Rejected' end $$;

-- paused_message: what a waiting job says while its queue is paused.
create or replace function paused_message(p_name text, p_by text, p_reason text) returns text language sql immutable as $$
  select 'queue ' || p_name || ' is paused' || coalesce(' by ' || nullif(p_by, ''), '') || coalesce(': ' || nullif(p_reason, ''), '') $$;

-- iso_time: a time as people read it in a message.
create or replace function iso_time(p_time timestamptz) returns text language sql stable as
  $$ select to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;

-- precedes: whether a transaction has a number before p_next, the next to be given out. Numbers of 32 bits begin again.
create or replace function precedes(p_xid xid, p_next bigint) returns boolean language sql immutable as $$
  select (p_xid::text::bigint - p_next) & 4294967295 > 2147483647 $$;
