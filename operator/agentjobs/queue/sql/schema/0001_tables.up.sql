-- The queue's tables. What a job is, is written once (job); where it is now, is which small table holds its id (waiting,
-- running or outcome: exactly one); how each of its runs ended is appended (attempt).
--
-- Lock order of every transaction: model_breaker rows by model, job rows by id, waiting and running rows by id, session
-- rows by key, queue rows by name. Schedules are apart: schedule rows by uid, then their schedule_tick rows.
-- An outbox row is written only by who holds the job's row; the status writer skips locked ones.
--
-- Times are the database's own: clock_timestamp() at the start of the function that writes them.
--
-- The letters of "char" columns:
--   waiting.state    n  new: due, and not admitted to its session yet      admit(): r, or b; or p
--                    p  new, and its queue is paused                       admit(), once the queue is open: r, or b
--                    r  ready                                              a claim
--                    l  later: due at run_at                               tick(), when due: n or r
--                    b  behind its session                                 the end of the job before it: r
--                    i  a tool's question waits for a person (asked)       answer(), respond(), asked_until
--                    s  suspended; due time and question survive           resume
--                    h  held: not accepted yet (queue not allowed, …)      a change of the object or of the settings
--                    q  quarantined after three lost workers (H14)         a claim by a worker that holds nothing else
--                    m  its model is held up                               a claim that the breaker lets through; tick(): r
--   running.control  k  cancel   d  deadline   s  suspend: what the run is asked, the first of them wins (H15)
--   outcome.state    c  complete   f  failed   k  cancelled   x  rejected;  also job.tombstone and schedule.last_result
--   place (in view)  the letter of waiting.state, @ for running, the letter of outcome.state
--   breaker kind     u  unavailable   a  the key is refused   r  rate limit;  o, where a run is heard of: it answered

-- One row: the identity of this database's installation. An object belongs to one installation (docs/production.md).
create table installation (
  id            uuid not null,
  database      oid not null,                  -- where the id was made: a copy of that database, beside it, gets another one
  database_name name not null
);
insert into installation select gen_random_uuid(), oid, datname from pg_database where datname = current_database();

create sequence position;         -- job ids, and places in line: the order of claims is this number's, never the clock's
create sequence outbox_version;   -- an object's status.revision
-- Of claims: the session fence lets the last one write (H13). It begins at the microseconds since 1970, far ahead of what an earlier
-- database gave: the sessions' database may have outlived that one.
create sequence claim_number;
select setval('claim_number', (extract(epoch from clock_timestamp()) * 1000000)::bigint);

-- jobs --------------------------------------------------------------------------------------------

-- One accepted job. Only people change it (control, apply); retention trims it.
create table job (
  id                bigint primary key,
  uid               uuid not null unique,             -- the caller's, or the object's: enqueueing it again does nothing
  queue             text collate "C" not null,
  priority          smallint not null,                -- 0, the most urgent, to 9
  session           text collate "C",                 -- jobs of one session run one at a time; null: a session of its own
  target            text collate "C",                 -- its model, or 'module:' and the module that chooses one; null: unknown
  -- Times that callers give are of the years that the resource allows: some beyond can be stored, and then not be read
  due_at            timestamptz not null              -- of this round
    constraint due_at_of_1970_to_2999 check (due_at >= '1970-01-01Z' and due_at < '3000-01-01Z'),
  max_attempts      int not null,
  retry             int[],                            -- initial delay, factor, longest delay, longest wait, in s; null: 15, 2, 3600, 86400
  attempt_timeout   int not null,                     -- s
  starting_deadline int,                              -- s from due to the first start
  active_deadline   int,                              -- s from the first start
  payload           json,                             -- null once retention has trimmed the job (H1)
  bytes             int not null,                     -- of the payload
  cluster_id        text,                             -- uid of the namespace kube-system; null: the job has no object
  namespace         text collate "C",
  name              text collate "C",
  generation        bigint not null default 0,        -- of the object, as last applied (H4)
  retry_handled     text,                             -- value of the retry annotation, as last applied
  input_handled     text,                             -- value of the response annotation, as last applied
  act_handled       text,                             -- digest of the act annotation, as last seen: it stands for one change only
  cancel_wanted     boolean not null default false,   -- spec.cancel is true: a retry is refused
  erased            boolean not null default false,   -- what was said in it is erased; it has finished, and cannot be retried
  object_gone       boolean not null default false,   -- a GET has said so: nothing to project, and no tombstone to keep
  posted_run        int not null default 0,           -- Kubernetes Events of runs up to this one are posted
  round             int not null default 1,           -- 1, and one more with each retry by a person (H21)
  round_at          timestamptz not null,             -- the round began
  created_at        timestamptz not null              -- of the request (an object's creationTimestamp)
    constraint created_at_of_1970_to_2999 check (created_at >= '1970-01-01Z' and created_at < '3000-01-01Z'),
  accepted_at       timestamptz not null,             -- of this row
  refused           text,                             -- why what its object asks for is not accepted (queue_access); null: it is
  refused_changed   timestamptz,                      -- refused last became null, or not null; null: as it was at accepted_at
  resumed_at        timestamptz,                      -- it last ceased to be suspended, by a resume or its end, in this round
  tombstone         "char",                           -- final state of a job that retention has trimmed
  -- What any caller may ask for: no value here can stop a claim or a tick, which handle many jobs at once.
  constraint job_priority check (priority between 0 and 9),
  constraint job_max_attempts check (max_attempts >= 1),
  constraint job_retry check (array_ndims(retry) = 1 and cardinality(retry) = 4 and array_position(retry, null) is null
                              and retry[1] between 0 and 86400 and retry[2] between 1 and 100
                              and retry[3] between 0 and 604800 and retry[4] between 1 and 31536000),
  constraint job_seconds check (attempt_timeout between 1 and 31536000 and starting_deadline between 1 and 31536000
                                and active_deadline between 1 and 31536000),
  constraint job_names check (octet_length(queue) <= 63 and octet_length(session) <= 1024 and octet_length(target) <= 1012),
  constraint job_payload check (json_typeof(payload) = 'object')
);
create index job_by_queue on job (queue, id);
create index job_by_object on job (namespace, name) where namespace is not null;
create index job_by_cluster on job (cluster_id, id) where not object_gone;
create index job_trimmed on job (tombstone, id) where tombstone is not null;

-- One job that waits: inserted and deleted as it moves.
create table waiting (
  id            bigint primary key,
  queue         text collate "C" not null,
  pos           bigint not null,               -- sort key of claims: the priority in the top byte, the place in line below it. One
                                               -- column, so that one partial index gives the jobs in claim order and the planner
                                               -- has no other to choose
  state         "char" not null,
  mirrored      boolean not null,              -- its object shows a status: changes go to the outbox
  session       text collate "C",
  bytes         int not null,
  run_at        timestamptz not null,          -- due; survives a suspend
  since         timestamptz not null,          -- the state was entered
  counts_from   timestamptz not null default clock_timestamp(),   -- pauses of the queue from here on are not yet in the clocks:
                                               -- deadline, wait_since, held_until, asked_until
  attempt       int not null default 0,        -- charged runs of this round
  run           int not null default 0,        -- claims of all rounds
  started_at    timestamptz,                   -- first start of this round; not null: the job holds its session (H17)
  deadline      timestamptz,                   -- starting deadline before the first start, active deadline after it
  deadline_left interval,                      -- what was left of the starting deadline when the job was suspended (H20)
  reason        text not null default '',
  message       text,
  snoozes       int,                           -- refunded waits in a row (H16)
  wait_since    timestamptz,                   -- the first of them began; later by all time since that does not count as waiting
  drains        smallint,                      -- times that a worker shut down or lost its lease while it ran, in this attempt
  releases      int,                           -- runs in a row that could not begin, and were given back
  losses        smallint,                      -- times that its worker was lost, in this round (H14)
  spent         bigint[],                      -- by earlier runs of this round: prompt, output and total tokens, model calls, tool calls
  target        text collate "C",              -- of job; in state m only
  held_until    timestamptz,                   -- state m: the longest wait (maxWaitSeconds) ends (H16)
  asked         json,                          -- {requests: [{id, tool, arguments, hint, payload, answer}], seconds}: what one answer of
                                               -- the model asked, in order. The first request without an answer is the present one. It
                                               -- survives a suspend; the last answer moves all of them into the job's payload
  asked_until   timestamptz                    -- inputDeadlineSeconds end
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index waiting_ready on waiting (queue, pos) where state = 'r';
create index waiting_quarantined on waiting (queue, pos) where state = 'q';
create index waiting_later on waiting (run_at) where state = 'l';
create index waiting_new on waiting ((pos & 72057594037927935)) where state = 'n';                -- the place in line
create index waiting_paused on waiting (queue, (pos & 72057594037927935)) where state = 'p';
create index waiting_yields on waiting (queue, id)                                                -- what a pause takes from its session
  where session is not null and started_at is null and state in ('r', 'q', 'm', 'b');
create index waiting_behind on waiting (session, (pos & 72057594037927935)) where state = 'b';
create index waiting_held on waiting (queue, target, pos) where state = 'm';
create index waiting_held_reason on waiting (queue, target, reason) where state = 'm';
-- An expression, so that the planner takes this index for nothing but the query that has it, too.
create index waiting_held_until on waiting ((queue || ''), held_until) where state = 'm';
create index waiting_asked on waiting (queue, asked_until) where state = 'i';
create index waiting_deadline on waiting (queue, deadline) where deadline is not null;
create index waiting_reason on waiting (queue, reason) where state = 'r' and mirrored;

-- One claimed job: inserted by the claim, deleted by the ack.
create table running (
  id            bigint primary key,
  worker        uuid not null,
  token         bigint not null,               -- of the claim; (worker, token) is the fence of this run
  queue         text collate "C" not null,
  pos           bigint not null,
  mirrored      boolean not null,
  session       text collate "C",
  bytes         int not null,
  run_at        timestamptz not null,
  since         timestamptz not null,          -- this run began
  attempt       int not null,                  -- this run's number, should it be charged
  run           int not null,
  started_at    timestamptz not null,
  deadline      timestamptz,
  control       "char",
  solo          boolean not null,              -- claimed from quarantine: alone in its worker
  limited       boolean not null,              -- its queue has a limit, towards which it counts
  breaker       int,                           -- the breaker that let it through, as a probe or in the ramp
  snoozes       int,
  wait_since    timestamptz,
  drains        smallint,
  releases      int,
  losses        smallint,
  spent         bigint[],
  step          text,                          -- progress: the name of an author or a tool
  event_count   int,
  usage         bigint[]                       -- of this run so far
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index running_limited on running (queue) where limited;   -- jobs of queues without a limit pay nothing
create index running_control on running (worker) where control is not null;
create index running_deadline on running (deadline) where deadline is not null;
create index running_let_through on running (breaker) where breaker is not null;

-- One finished job. A retry by a person moves the row to attempt.
create table outcome (
  id               bigint primary key,
  state            "char" not null,
  reason           text not null,
  message          text,
  queue            text collate "C" not null,
  attempt          int not null,
  run              int not null,
  worker           uuid,                       -- of the last run; null: the job ended while it waited
  worker_name      text,
  token            bigint,
  started_at       timestamptz,                -- first start of the round
  run_started_at   timestamptz,                -- start of the last run
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
-- Rows come in the order of this column, so the smallest kind of index is enough. autosummarize: without it a page range counts as
-- due for pruning until the next vacuum.
create index outcome_time on outcome using brin (finished_at) with (autosummarize = on);
create index outcome_not_complete on outcome (state, id) where state <> 'c';

-- One run that has ended; the last one of a finished job is in outcome.
create table attempt (
  id          bigint not null,
  run         int not null,
  attempt     int not null,
  round       int not null,
  worker      uuid,
  worker_name text,
  token       bigint,
  started_at  timestamptz not null,
  ended_at    timestamptz not null,
  kind        text not null,                   -- complete, fail, retry, snooze, release, ask, cancel, lost
  reason      text not null,
  message     text,
  charged     boolean not null,
  next_at     timestamptz,                     -- the next run is due
  usage       bigint[],
  event_count int,
  log_tail    text,
  trace_id    text,
  primary key (id, run)
);

-- sessions, queues, processes ---------------------------------------------------------------------

-- One session with an unfinished job that has started, or is the next: its holder. The others are behind it (state b).
create table session (key text collate "C" primary key, holder bigint not null);

-- One queue that was ever paused or limited; a queue without a row is open.
create table queue (name text collate "C" primary key, paused_at timestamptz, paused_by text, paused_reason text, max_running int);

-- One pause of a queue, the present one and those that have ended. Time during which a queue was paused is looked up here where
-- a job's deadline or longest wait is judged; no row of a job changes when a queue is paused or opened.
create table pause (
  queue       text collate "C" not null,
  paused_at   timestamptz not null,
  unpaused_at timestamptz,                      -- null: it is paused now
  before      interval not null,                -- all earlier pauses of the queue, added up
  primary key (queue, paused_at)
);

-- One live process, worker or operator: an update per heartbeat.
create table worker (
  id           uuid primary key,
  name         text not null,
  pool         text not null,
  queues       json not null,                  -- slots by queue; {} for an operator
  version      text not null,
  started_at   timestamptz not null,
  beat_at      timestamptz not null,
  steady_since timestamptz not null            -- it has beaten without a gap since, so it may judge others (H11)
) with (fillfactor = 50);

-- One process that is not live any more and has left runs, until all of them are rescued: their records name it.
create table lost_worker (id uuid primary key, name text not null);

-- One job whose object shows a stale status; deleted at the version that was written (H3).
create table outbox (id bigint primary key, version bigint not null, marked_at timestamptz not null) with (fillfactor = 50);

-- One row: when retention last ran.
create table upkeep (pruned_at timestamptz not null);
insert into upkeep values ('-infinity');

-- audit -------------------------------------------------------------------------------------------

-- One act of a person, or of a program in a person's name: written in the act's own transaction, where it changed something. Kept
-- longer than jobs (prune_audit); changed by nothing but erase(), which takes away the reasons of one person's jobs.
create table audit (
  id        bigint generated always as identity primary key,      -- the order of pages
  at        timestamptz not null,
  actor     text not null,                    -- as the caller says, or the object's annotation; '': nobody said
  verb      text not null,                    -- what was done (values/verbs.py)
  namespace text collate "C" not null,        -- of the job's object, of the schedule, of the erased person; '': none
  name      text collate "C" not null,        -- of the object, the schedule, the queue, the model; '': the job has no object
  uid       uuid,                             -- of the job, the schedule, the erasure
  queue     text collate "C",
  reason    text not null,                    -- why, in the actor's words
  before    json,
  after     json,
  source    text not null,                    -- python, kubectl, web, object, sql: how it came, as the caller says
  role      name not null                     -- the database role whose connection wrote it: all that Postgres can vouch for
);
create index audit_by_namespace on audit (namespace, id);
create index audit_by_uid on audit (uid, id) where uid is not null;
create index audit_by_queue on audit (queue, id) where queue is not null;
-- An expression, so that the planner takes this index for nothing but the query that has it, and no other for that one.
create index audit_by_namespace_queue on audit ((namespace || '/' || queue), id) where queue is not null;

-- models ------------------------------------------------------------------------------------------

-- One pool and model of which failures are counted, or which is held up (docs/model-health.md). While a breaker is open, its
-- pool claims no job of the model but one probe at a time; then, once the model answers, a ramp. The jobs that it keeps wait
-- in state m, in indexes of their own, so that claims do not walk over them. They belong to no pool: another pool of the
-- queue, whose breaker for the model is closed, takes them as if they were ready.
create table model_breaker (
  id            int generated always as identity primary key,
  pool          text collate "C" not null,
  model         text collate "C" not null,
  kind          "char",                           -- why it is open; null: closed, and counting
  failures      int not null default 0,           -- in a row
  failed        bigint[] not null default '{}',   -- jobs that failed in the row, refunded when it opens as u …
  failed_runs   int[] not null default '{}',      -- … and their runs
  since         timestamptz not null,             -- open: since when; closed: its first failure
  reason        text not null default '',         -- of the last failure
  failed_at     timestamptz not null,             -- the last failure
  probe_at      timestamptz not null,             -- nothing is let through before
  probe_seconds double precision not null default 0,   -- between two probes
  allowed       int not null default 0,           -- the ramp: how many may run at once; 0: a probe
  probe_worker  uuid,                             -- the next probe is this worker's for a minute: it may have come with another key
  suspects      bigint[] not null default '{}',   -- jobs that it kept after they failed: their prompts may be at fault
  unique (pool, model)
) with (fillfactor = 50);

-- What a breaker keeps: jobs of the model itself, and of targets that have failed by it.
create table model_target (
  breaker int not null references model_breaker on delete cascade,
  target  text collate "C" not null,
  primary key (target, breaker)
);
create index model_target_breaker on model_target (breaker);

-- schedules ---------------------------------------------------------------------------------------

-- One schedule: what of its object decides, and what was decided so far.
create table schedule (
  uid             uuid primary key,
  cluster_id      text not null,              -- uid of the namespace kube-system
  namespace       text collate "C" not null,
  name            text collate "C" not null,
  version         bigint not null,            -- of this row and its ticks: fences decisions; status.revision
  generation      bigint not null,            -- of the object, as last saved
  times           text not null,              -- schedule and zone, or the time of a one shot
  created_at      timestamptz not null,       -- of the object
  saved_at        timestamptz not null,       -- of this row
  accepted        boolean not null,
  accepted_at     timestamptz not null,       -- accepted last changed
  changed_at      timestamptz,                -- times last changed
  suspended       boolean not null,
  suspended_at    timestamptz,                -- suspended last became true
  unsuspended_at  timestamptz,                -- suspended last became false
  last_tick       timestamptz,                -- the last tick that was decided; never goes back (invariant 9)
  last_successful timestamptz,                -- a child last completed
  last_finished   timestamptz,                -- a child last ended …
  last_result     "char",                     -- … like this
  missed          bigint not null default 0,
  run_handled     text                        -- value of the run-now annotation, as last decided
);
create index schedule_by_cluster on schedule (cluster_id, uid);

-- One tick, from its decision until its child has ended: a child still to be created, or one that has not finished.
create table schedule_tick (
  schedule      uuid not null references schedule on delete cascade,
  child         text collate "C" not null,    -- its name
  tick          timestamptz not null,
  manual        boolean not null,
  decided_at    timestamptz not null,
  claimant      uuid not null,                -- only this process may create the child …
  claimed_until timestamptz not null,         -- … until then
  child_uid     uuid,                         -- null: the child is not known to exist
  primary key (schedule, child)
) with (fillfactor = 70);
create index schedule_tick_pending on schedule_tick (claimed_until) where child_uid is null;
create index schedule_tick_child on schedule_tick (child_uid) where child_uid is not null;
