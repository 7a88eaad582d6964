-- What a job is, is written once (job); where it is now is which small table holds its id (waiting,
-- running, outcome: exactly one); how each run ended is appended (attempt).
--
-- Lock order in every transaction: job rows (waiting, running) by id, then session rows by key, then
-- queue rows by name. An outbox row is written only by who holds the job's row; the projector skips
-- locked ones. Times are the database's: clock_timestamp().

create sequence position;         -- ids, and the places in line: order is by this, never by the clock
create sequence outbox_version;   -- status.revision

create table job (
  id                bigint primary key,
  uid               uuid not null unique,
  queue             text collate "C" not null,
  priority          smallint not null,
  session           text collate "C",          -- lock shared with other jobs; null: a session of its own
  due_at            timestamptz not null,
  max_attempts      int not null,
  retry             int[],                     -- initial delay, factor, max delay, max wait (s); null: 15, 2, 3600, 86400
  attempt_timeout   int not null,              -- s
  starting_deadline int,                       -- s, from due to first start
  active_deadline   int,                       -- s, from first start
  payload           json,                      -- null once retention trimmed the job (H1)
  bytes             int not null,
  cluster_id        text,                      -- uid of the namespace kube-system; null: no object
  namespace         text collate "C",
  name              text collate "C",
  generation        bigint not null default 0, -- of the object, as last applied (H4)
  retry_handled     text,                      -- value of the retry annotation, as last applied
  cancel_wanted     boolean not null default false,   -- spec.cancel: a retry is refused
  object_gone       boolean not null default false,   -- confirmed: nothing to project, and no tombstone needed
  posted_run        int not null default 0,    -- Kubernetes Events of runs up to this one are posted
  round             smallint not null default 1,
  round_at          timestamptz not null,
  created_at        timestamptz not null,      -- of the request (an object's creationTimestamp)
  accepted_at       timestamptz not null,
  resumed_at        timestamptz,
  tombstone         "char"                     -- final state of a trimmed job
);
create index job_by_queue on job (queue, id);
create index job_by_object on job (namespace, name) where namespace is not null;

create table waiting (
  id            bigint primary key,
  queue         text collate "C" not null,
  pos           bigint not null,               -- priority << 56 | place in line: claim order in one column that no other index offers
  state         "char" not null,               -- n new (to be admitted to its session), r ready, l later, b behind its session,
                                               -- s suspended, h held (not accepted yet), q quarantined (H14)
  mirrored      boolean not null,
  session       text collate "C",
  bytes         int not null,
  run_at        timestamptz not null,          -- due; survives a suspend
  since         timestamptz not null,          -- the state was entered
  attempt       int not null default 0,        -- charged runs of this round
  run           int not null default 0,        -- claims of all rounds
  started_at    timestamptz,                   -- first start of this round; not null: it holds its session (H17)
  deadline      timestamptz,
  deadline_left interval,                      -- what was left of the starting deadline when it was suspended (H20)
  reason        text not null default '',
  message       text,
  snoozes       smallint,                      -- in a row (H16)
  wait_since    timestamptz,                   -- of the first of them
  drains        smallint,
  losses        smallint,
  spent         bigint[]                       -- by earlier runs of this round: prompt, output, total tokens, model calls, tool calls
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index waiting_ready on waiting (queue, pos) where state = 'r';
create index waiting_quarantined on waiting (queue, pos) where state = 'q';
create index waiting_later on waiting (run_at) where state = 'l';
create index waiting_new on waiting (id) where state = 'n';
create index waiting_behind on waiting (session, (pos & 72057594037927935)) where state = 'b';
create index waiting_deadline on waiting (deadline) where deadline is not null;
create index waiting_reason on waiting (queue, reason) where state = 'r' and mirrored;

create table running (
  id            bigint primary key,
  worker        uuid not null,                 -- (worker, token) is the fence of this run
  token         bigint not null,
  queue         text collate "C" not null,
  pos           bigint not null,
  mirrored      boolean not null,
  session       text collate "C",
  bytes         int not null,
  run_at        timestamptz not null,
  since         timestamptz not null,
  attempt       int not null,
  run           int not null,
  started_at    timestamptz not null,
  deadline      timestamptz,
  control       "char",                        -- asked: k cancel, d deadline, s suspend (H15)
  solo          boolean not null,
  limited       boolean not null,              -- its queue has a limit: it counts
  snoozes       smallint,
  wait_since    timestamptz,
  drains        smallint,
  losses        smallint,
  spent         bigint[],
  step          text,                          -- progress: an author's or a tool's name
  event_count   int,
  usage         bigint[]
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index running_limited on running (queue) where limited;   -- jobs of unlimited queues pay nothing
create index running_control on running (worker) where control is not null;
create index running_deadline on running (deadline) where deadline is not null;

create table outcome (
  id               bigint primary key,
  state            "char" not null,            -- c complete, f failed, k cancelled, x rejected
  reason           text not null,
  message          text,
  queue            text collate "C" not null,
  attempt          int not null,
  run              int not null,
  worker           uuid,
  worker_name      text,
  token            bigint,
  started_at       timestamptz,                -- first start of the round
  run_started_at   timestamptz,
  finished_at      timestamptz not null,
  result           text,
  result_truncated boolean,
  spent            bigint[],                   -- by earlier runs of the round
  usage            bigint[],                   -- by the last one
  event_count      int,
  log_tail         text,
  session_id       text,
  trace_id         text,
  imported         json                        -- status of an object that had ended before this database knew it (H1)
);
create index outcome_time on outcome using brin (finished_at);
create index outcome_not_complete on outcome (state, id) where state <> 'c';

create table attempt (
  id          bigint not null,
  run         int not null,
  attempt     int not null,
  round       smallint not null,
  worker      uuid,
  worker_name text,
  token       bigint,
  started_at  timestamptz not null,
  ended_at    timestamptz not null,
  kind        text not null,                   -- complete, fail, retry, snooze, release, cancel, lost
  reason      text not null,
  message     text,
  charged     boolean not null,
  next_at     timestamptz,
  usage       bigint[],
  event_count int,
  log_tail    text,
  trace_id    text,
  primary key (id, run)
);

create table session (key text collate "C" primary key, holder bigint not null);   -- exists <=> a started or admitted unfinished job
create table queue (name text collate "C" primary key, paused_at timestamptz, paused_by text, paused_reason text, max_running int);
create table worker (
  id           uuid primary key,
  name         text not null,
  pool         text not null,
  queues       json not null,                  -- slots by queue; {} for an operator
  version      text not null,
  started_at   timestamptz not null,
  beat_at      timestamptz not null,
  steady_since timestamptz not null            -- beaten without a gap since (H11)
) with (fillfactor = 50);
create table outbox (id bigint primary key, version bigint not null, marked_at timestamptz not null) with (fillfactor = 50);
create table schedule_tick (schedule uuid not null, tick timestamptz not null, primary key (schedule, tick));
create table upkeep (pruned_at timestamptz not null);
insert into upkeep values ('-infinity');

-- pure pieces -------------------------------------------------------------------------------------

create function pos(p_priority smallint, p_place bigint) returns bigint
  language sql immutable as 'select (p_priority::bigint << 56) | p_place';
create function place(p_pos bigint) returns bigint
  language sql immutable as 'select p_pos & 72057594037927935';
create function priority(p_pos bigint) returns smallint
  language sql immutable as 'select (p_pos >> 56)::smallint';
-- two usages added up; null is nothing
create function plus(a bigint[], b bigint[]) returns bigint[] language sql immutable as
  'select case when a is null then b when b is null then a else array[a[1]+b[1], a[2]+b[2], a[3]+b[3], a[4]+b[4], a[5]+b[5]] end';
-- where a job that is due goes: the third loss puts it into quarantine (H14)
create function ready_state(p_losses smallint) returns "char"
  language sql immutable as 'select case when p_losses >= 3 then ''q''::"char" else ''r''::"char" end';

-- marks objects stale; callers hold the rows of these jobs
create function touch(p_ids bigint[]) returns void language sql as $$
  insert into outbox (id, version, marked_at)
  select i, nextval('outbox_version'), clock_timestamp() from unnest(p_ids) i order by i
  on conflict (id) do update set version = excluded.version;
  select pg_notify('agentjobs_outbox', '');
$$;

create function notify_ready(p_queues text[]) returns void language sql as
  $$ select pg_notify('agentjobs_ready', q) from unnest(p_queues) q $$;

-- the next job behind each session's gate becomes ready; a session with none is closed.
-- Called once per transaction, last, with all sessions whose holder left.
create function session_next(p_keys text[]) returns void language plpgsql as $$ #variable_conflict use_column
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
  select array_agg(distinct queue), array_agg(id) filter (where mirrored) into v_queues, v_mirrored from freed;
  if v_mirrored is not null then perform touch(v_mirrored); end if;
  perform notify_ready(v_queues);
end $$;
