"""The SQL of the session store: ADK's tables, and the statements that read and write them.

Every name has its schema, since a pooler in transaction mode keeps no search path. Index: each statement
finds its rows by primary key, the events of a session by idx_events_app_user_session_ts_id. Lock order: ADK's own. For a new
session the app's state, the user's state, the session; for an event the fence, the session, the app's state, the user's state.
"""

from __future__ import annotations

from typing import LiteralString

SCHEMA_VERSION = "1"
"""ADK's version of the tables below. JobSessions leaves tables of another version to ADK's own service."""

# Held by the process that makes the tables, so that concurrent first starts make them once. The lock ends
# with its transaction.
LOCK: LiteralString = "select pg_advisory_xact_lock(hashtext('agentjobs-adk-tables'))"

# Asked first, since CREATE SCHEMA IF NOT EXISTS wants the privilege to create even where the schema exists.
SCHEMA_EXISTS: LiteralString = "select to_regnamespace('adk') is not null"

CREATE_SCHEMA: LiteralString = "create schema if not exists adk"

# What is there already is locked in the order in which events are written, before an index or a key is added: ADK's own service may be at
# work with these tables, and would meet the locks the other way round.
LOCK_TABLES: LiteralString = """
do $$ begin
    if to_regclass('adk.fence') is not null then lock table adk.fence in access exclusive mode; end if;
    if to_regclass('adk.sessions') is not null then lock table adk.sessions in share row exclusive mode; end if;
end $$
"""

TABLES: LiteralString = """
create table if not exists adk.adk_internal_metadata (
    key   varchar(128) not null primary key,
    value varchar(256) not null
);
create table if not exists adk.sessions (
    app_name    varchar(128) not null,
    user_id     varchar(128) not null,
    id          varchar(128) not null,
    state       jsonb        not null,
    create_time timestamp    not null,
    update_time timestamp    not null,
    primary key (app_name, user_id, id)
);
create table if not exists adk.events (
    id            varchar(128) not null,
    app_name      varchar(128) not null,
    user_id       varchar(128) not null,
    session_id    varchar(128) not null,
    invocation_id varchar(256) not null,
    timestamp     timestamp    not null,
    event_data    jsonb,
    primary key (id, app_name, user_id, session_id),
    foreign key (app_name, user_id, session_id) references adk.sessions (app_name, user_id, id) on delete cascade
);
create index if not exists idx_events_app_user_session_ts_id
    on adk.events (app_name, user_id, session_id, timestamp desc, id desc);
create table if not exists adk.app_states (
    app_name    varchar(128) not null primary key,
    state       jsonb        not null,
    update_time timestamp    not null
);
create table if not exists adk.user_states (
    app_name    varchar(128) not null,
    user_id     varchar(128) not null,
    state       jsonb        not null,
    update_time timestamp    not null,
    primary key (app_name, user_id)
);
insert into adk.adk_internal_metadata (key, value) values ('schema_version', '1') on conflict do nothing;
"""
"""The tables exactly as ADK's own service makes them: a test compares the two."""

# Which of the tables exist. Events without the metadata table are those of ADK's oldest schema.
THERE: LiteralString = """
    select to_regclass('adk.adk_internal_metadata') is not null,
           to_regclass('adk.events') is not null,
           to_regclass('adk.user_states') is not null
           and exists (select from pg_attribute where attrelid = to_regclass('adk.fence') and attname = 'claim')
           and to_regclass('adk.idx_events_app_user_session_ts_id') is not null
           and to_regclass('adk.credential') is not null and to_regclass('adk.memory') is not null
           and exists (select from pg_constraint where conrelid = to_regclass('adk.artifact') and conname = 'artifact_session')
"""

VERSION: LiteralString = "select value from adk.adk_internal_metadata where key = 'schema_version'"

# One row: the session's state, its revision, and the state of its app and user.
READ: LiteralString = """
    select s.state, s.update_time, coalesce(a.state, '{}'), coalesce(u.state, '{}')
      from adk.sessions s
      left join adk.app_states a on a.app_name = s.app_name
      left join adk.user_states u on u.app_name = s.app_name and u.user_id = s.user_id
     where s.app_name = %(app_name)s and s.user_id = %(user_id)s and s.id = %(session_id)s
"""

# Events of a session, the newest first. The id orders events of the same time, as in ADK: each read must give
# the same order.
EVENTS: LiteralString = """
    select id, invocation_id, timestamp, event_data
      from adk.events
     where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
       and (%(after)s::timestamp is null or timestamp >= %(after)s)
     order by timestamp desc, id desc
     limit %(limit)s
"""

# A new session, with the states of its app and its user; where the session exists, nothing is written. In ADK's order: the app's
# state, the user's, the session; in another one, this statement and ADK's own service could wait for each other.
CREATE: LiteralString = """
    with app as (
        insert into adk.app_states as a (app_name, state, update_time)
        select %(app_name)s::varchar, %(app_state)s::jsonb, now()
         where not exists (select from adk.sessions where app_name = %(app_name)s and user_id = %(user_id)s and id = %(session_id)s)
        on conflict (app_name) do update
           set state = a.state || excluded.state, update_time = now()
         where excluded.state <> '{}'
        returning 1
    ), app_first as (
        select count(*) as n from app
    ), its_user as (
        insert into adk.user_states as u (app_name, user_id, state, update_time)
        select %(app_name)s::varchar, %(user_id)s::varchar, %(user_state)s::jsonb, now() from app_first
         where not exists (select from adk.sessions where app_name = %(app_name)s and user_id = %(user_id)s and id = %(session_id)s)
        on conflict (app_name, user_id) do update
           set state = u.state || excluded.state, update_time = now()
         where excluded.state <> '{}'
        returning 1
    ), user_first as (
        select count(*) as n from its_user
    ), made as (
        insert into adk.sessions (app_name, user_id, id, state, create_time, update_time)
        select %(app_name)s::varchar, %(user_id)s::varchar, %(session_id)s::varchar, %(session_state)s::jsonb, %(at)s, %(at)s from user_first
        on conflict do nothing
        returning 1
    )
    select count(*) from made
"""

# One event in one transaction. Count 0: refused, because the fence names another run (H13), the session is
# gone or was written since it was read, or its app's or user's state is missing. A state without a change is
# not written.
APPEND: LiteralString = """
    with held as (
        select 1 from adk.fence
         where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
           and job = %(job)s and run = %(run)s and claim = %(claim)s
           for share
    ), written as (
        update adk.sessions
           set update_time = %(at)s,
               state = case %(session_delta)s::jsonb when '{}' then state else state || %(session_delta)s::jsonb end
         where app_name = %(app_name)s and user_id = %(user_id)s and id = %(session_id)s
           and update_time = %(revision)s
           and (%(job)s::text is null or exists (select from held))
           and exists (select from adk.app_states where app_name = %(app_name)s)
           and exists (select from adk.user_states where app_name = %(app_name)s and user_id = %(user_id)s)
        returning 1
    ), app as (
        update adk.app_states
           set state = state || %(app_delta)s::jsonb, update_time = now()
         where app_name = %(app_name)s and %(app_delta)s::jsonb <> '{}' and exists (select from written)
        returning 1
    ), its_user as (
        update adk.user_states
           set state = state || %(user_delta)s::jsonb, update_time = now()
         where app_name = %(app_name)s and user_id = %(user_id)s and %(user_delta)s::jsonb <> '{}'
           and exists (select from written) and (select count(*) from app) >= 0
    ), event as (
        insert into adk.events (id, app_name, user_id, session_id, invocation_id, timestamp, event_data)
        select %(event_id)s, %(app_name)s, %(user_id)s, %(session_id)s, %(invocation_id)s, %(at)s, %(event)s::jsonb
          from written
        returning 1
    )
    select count(*) from event
"""

# The revision and the last event of a stored session, and whether its app's and user's states exist. Read
# after a refused append, and for a session that comes without a revision.
REVISION: LiteralString = """
    select s.update_time,
           (select id from adk.events e
             where e.app_name = s.app_name and e.user_id = s.user_id and e.session_id = s.id
             order by timestamp desc, id desc limit 1),
           exists (select from adk.app_states a where a.app_name = s.app_name),
           exists (select from adk.user_states u where u.app_name = s.app_name and u.user_id = s.user_id)
      from adk.sessions s
     where s.app_name = %(app_name)s and s.user_id = %(user_id)s and s.id = %(session_id)s
"""

# The sessions of an app, or of one of its users, the least recently written first.
LIST: LiteralString = """
    select s.user_id, s.id, s.state, s.update_time, coalesce(a.state, '{}'), coalesce(u.state, '{}')
      from adk.sessions s
      left join adk.app_states a on a.app_name = s.app_name
      left join adk.user_states u on u.app_name = s.app_name and u.user_id = s.user_id
     where s.app_name = %(app_name)s and (%(user_id)s::text is null or s.user_id = %(user_id)s)
     order by s.update_time, s.user_id, s.id
"""

# One session. Its events go by the foreign key's cascade.
DELETE: LiteralString = """
    delete from adk.sessions where app_name = %(app_name)s and user_id = %(user_id)s and id = %(session_id)s
"""

USER_STATE: LiteralString = (
    "select state from adk.user_states where app_name = %(app_name)s and user_id = %(user_id)s"
)
