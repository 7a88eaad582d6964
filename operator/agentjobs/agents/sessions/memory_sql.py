"""The SQL of memories: a table of ours beside ADK's. Index: primary key; each statement reads one user's rows, which are bounded.

Lock order of a write: the fence, the user's state, the user's memories.
"""

from __future__ import annotations

from typing import LiteralString

MEMORY_TABLE: LiteralString = """
create table if not exists adk.memory (
    app_name   varchar(128) not null,
    user_id    varchar(128) not null,
    session_id varchar(128) not null,  -- empty: of no session
    event_id   text         not null,
    place      bigint       generated always as identity,  -- the order in which they came
    author     text,
    said_at    double precision not null,  -- Unix seconds
    content    jsonb,                  -- ADK's Content; null: the agent has deleted this one, and it does not come back
    words      text[]       not null,  -- what it is found by
    lowered    text         not null,  -- its text, in which words without spaces between them are looked for
    saved_at   timestamptz  not null default now(),
    primary key (app_name, user_id, session_id, event_id)
);
"""

# A session that is added again is as it is now. What the agent has deleted stays deleted.
LEAVE_OUT: LiteralString = """
    delete from adk.memory
     where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
       and content is not null and event_id <> all (%(event_ids)s::text[])
"""

SAVE: LiteralString = """
    insert into adk.memory as m (app_name, user_id, session_id, event_id, author, said_at, content, words, lowered)
    select %(app_name)s::varchar, %(user_id)s::varchar, %(session_id)s::varchar,
           said.event_id, said.author, said.said_at, said.content, said.words, said.lowered
      from json_to_recordset(%(rows)s::json)
           as said(n int, event_id text, author text, said_at double precision, content jsonb, words text[], lowered text)
     where not exists (select from adk.memory d where d.app_name = %(app_name)s::varchar and d.user_id = %(user_id)s::varchar
                                                  and d.event_id = said.event_id and d.content is null)
     order by said.n
    on conflict (app_name, user_id, session_id, event_id) do update
       set author = excluded.author, said_at = excluded.said_at, content = excluded.content, words = excluded.words,
           lowered = excluded.lowered, saved_at = now()
     where %(again)s::boolean
"""

# The oldest ones of a user that has more than are kept.
FORGET: LiteralString = """
    delete from adk.memory
     where app_name = %(app_name)s and user_id = %(user_id)s and place <= (
        select place from adk.memory where app_name = %(app_name)s and user_id = %(user_id)s
         order by place desc offset %(most)s limit 1)
"""

# Those that share most words with the query; of the same number those that came first, sessions together.
SEARCH: LiteralString = """
    select event_id, author, said_at, content::text from (
        select m.*, min(place) over (partition by session_id) as session_place,
               (select count(*) from unnest(%(words)s::text[]) w where w = any (m.words))
               + (select count(*) from unnest(%(pieces)s::text[]) w where w = any (m.words) or strpos(m.lowered, w) > 0) as matched
          from adk.memory m
         where app_name = %(app_name)s and user_id = %(user_id)s and content is not null) found
     where matched > 0
     order by matched desc, session_place, place
     limit %(most)s
"""

DELETE: LiteralString = """
    update adk.memory set content = null, words = '{}', lowered = '', author = null
     where app_name = %(app_name)s and user_id = %(user_id)s and event_id = %(event_id)s
"""
