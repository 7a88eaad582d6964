"""The SQL of artifacts: the files that agents save, in a table of ours beside ADK's sessions.

Every name has its schema, since a pooler in transaction mode keeps no search path. Index: each statement finds its rows by primary
key. Lock order of a save and a deletion: the fence, the session or the user's state, the artifact's row, as an event's in ``sql``.
"""

from __future__ import annotations

from typing import LiteralString

ARTIFACT_TABLE: LiteralString = """
create table if not exists adk.artifact (
    app_name   varchar(128) not null,
    user_id    varchar(128) not null,
    shelf      varchar(128) not null,  -- id of the session; '' of the files that a user's sessions share
    filename   text         not null,
    version    int          not null,
    mime_type  text,
    size_bytes bigint       not null,  -- of the content
    part       jsonb        not null,  -- ADK's Part without its content
    content    bytea,                  -- null of a file that is elsewhere, at an address in part
    metadata   jsonb        not null,
    saved_at   timestamptz  not null default now(),
    session_id varchar(128) generated always as (nullif(shelf, '')) stored,
    primary key (app_name, user_id, shelf, filename, version)
);
do $$ begin  -- uncompressed, so that a reader of one piece reads that piece alone; asked first, since the change locks the table
    if exists (select from pg_attribute
                where attrelid = 'adk.artifact'::regclass and attname = 'content' and attstorage <> 'e') then
        alter table adk.artifact alter column content set storage external;
    end if;
end $$;
"""

# A session's files go with its row, whoever deletes that. For ADK's tables of our version alone: others may have other keys. The index
# is the deletion's: by the primary key it would read all files of the user, who is the same one for all jobs that name none.
WITH_SESSION: LiteralString = """
create index if not exists idx_artifact_session on adk.artifact (app_name, user_id, session_id);
do $$ begin
    if not exists (select from pg_constraint where conname = 'artifact_session' and conrelid = 'adk.artifact'::regclass) then
        delete from adk.artifact a
         where session_id is not null
           and not exists (select from adk.sessions s where s.app_name = a.app_name and s.user_id = a.user_id and s.id = a.session_id);
        alter table adk.artifact add constraint artifact_session
            foreign key (app_name, user_id, session_id) references adk.sessions (app_name, user_id, id) on delete cascade;
    end if;
end $$
"""

# Held by a save, so that two of one session, or of one user, get different versions and see each other's bytes.
LOCK_SESSION: LiteralString = """
    select 1 from adk.sessions
     where app_name = %(app_name)s and user_id = %(user_id)s and id = %(shelf)s
       for no key update
"""
LOCK_USER: LiteralString = """
    select 1 from adk.user_states
     where app_name = %(app_name)s and user_id = %(user_id)s
       for no key update
"""

# The next version, where the shelf has room for it. A null version: nothing was written, for the shelf has so many files and bytes.
SAVE: LiteralString = """
    with shelf as (
        select count(*) as files, coalesce(sum(size_bytes), 0) as bytes,
               coalesce(max(version) filter (where filename = %(filename)s) + 1, 0) as next
          from adk.artifact
         where app_name = %(app_name)s and user_id = %(user_id)s and shelf = %(shelf)s
    ), saved as (
        insert into adk.artifact (app_name, user_id, shelf, filename, version, mime_type, size_bytes, part, content, metadata)
        select %(app_name)s, %(user_id)s, %(shelf)s, %(filename)s, next, %(mime_type)s, %(size_bytes)s, %(part)s::jsonb,
               %(content)b::bytea, %(metadata)s::jsonb
          from shelf
         where bytes + %(size_bytes)s <= %(most_bytes)s and files < %(most_files)s
        returning version
    )
    select (select version from saved), files, bytes::bigint from shelf
"""

LOAD: LiteralString = """
    select part::text, content from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf = %(shelf)s and filename = %(filename)s
       and (%(version)s::bigint is null or version = %(version)s::bigint)
     order by version desc
     limit 1
"""

KEYS: LiteralString = """
    select distinct filename from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf = any (%(shelves)s::varchar[])
"""

VERSIONS: LiteralString = """
    select version, mime_type, metadata, extract(epoch from saved_at)::float8 from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf = %(shelf)s and filename = %(filename)s
       and (%(version)s::bigint is null or version = %(version)s::bigint)
     order by version
"""

DELETE: LiteralString = """
    delete from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf = %(shelf)s and filename = %(filename)s
"""
