"""The SQL of credentials: a table of ours beside ADK's. Index: primary key. Lock order of a save: the fence, the row."""

from __future__ import annotations

from typing import LiteralString

CREDENTIAL_TABLE: LiteralString = """
create table if not exists adk.credential (
    app_name varchar(128) not null,
    user_id  varchar(128) not null,
    name     text         not null,
    sealed   bytea        not null,  -- ADK's AuthCredential as JSON, encrypted
    saved_at timestamptz  not null default now(),
    primary key (app_name, user_id, name)
);
"""

SAVE: LiteralString = """
    insert into adk.credential (app_name, user_id, name, sealed)
    values (%(app_name)s, %(user_id)s, %(name)s, %(sealed)s)
    on conflict (app_name, user_id, name) do update set sealed = excluded.sealed, saved_at = now()
"""

FORGET: LiteralString = (
    "delete from adk.credential where app_name = %(app_name)s and user_id = %(user_id)s and name = %(name)s"
)

LOAD: LiteralString = """
    select sealed from adk.credential where app_name = %(app_name)s and user_id = %(user_id)s and name = %(name)s
"""
