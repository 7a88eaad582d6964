"""Erasing one person's conversations: sessions with events and artifacts, the user's state, credentials and memories, and the fences.

ADK's tables are in a database of their own where ``session_database_url`` says so, so this is a call of its own beside
``Queue.erase`` (docs/audit.md): after that one has told that none of the person's jobs runs any more.
"""

from __future__ import annotations

from typing import LiteralString

from agentjobs.agents.sessions.connection import SessionConnection, Statements
from agentjobs.dsn import Dsn

SLICE = 20
"""Sessions of one transaction. The events of a session, thousands maybe, go with it."""

# Which of the tables exist: nobody may have had a conversation yet, and ADK's own service makes none of the last four.
THERE: LiteralString = """
    select to_regclass('adk.app_states') is not null, to_regclass('adk.fence') is not null,
           to_regclass('adk.artifact') is not null, to_regclass('adk.credential') is not null,
           to_regclass('adk.memory') is not null
"""

# The apps of a namespace. Each app that ever had a session has its row, and there are few of them.
APPS: LiteralString = (
    "select app_name from adk.app_states where starts_with(app_name, %(prefix)s) order by app_name"
)

# Sessions by primary key, with events and artifacts by their foreign keys' cascade (idx_events_app_user_session_ts_id,
# idx_artifact_session). Lock order: sessions by
# key; one statement is one transaction, so nothing else is locked meanwhile.
SESSIONS: LiteralString = """
    delete from adk.sessions where (app_name, user_id, id) in (
        select app_name, user_id, id from adk.sessions
         where app_name = any (%(apps)s::varchar[]) and user_id = %(user_id)s
         order by app_name, user_id, id limit %(slice)s for update)
    returning 1
"""

# By primary key. One with a writer's claim in it goes too: the person's runs have ended.
FENCES: LiteralString = (
    "delete from adk.fence where app_name = any (%(apps)s::text[]) and user_id = %(user_id)s"
)

# What the user's sessions shared; and where ADK's tables are of another version, what the sessions had. By primary key.
ARTIFACTS: LiteralString = (
    "delete from adk.artifact where app_name = any (%(apps)s::varchar[]) and user_id = %(user_id)s"
)

# By primary key.
CREDENTIALS: LiteralString = (
    "delete from adk.credential where app_name = any (%(apps)s::varchar[]) and user_id = %(user_id)s"
)

# By primary key.
MEMORIES: LiteralString = (
    "delete from adk.memory where app_name = any (%(apps)s::varchar[]) and user_id = %(user_id)s"
)

USER_STATES: LiteralString = (
    "delete from adk.user_states where app_name = any (%(apps)s::varchar[]) and user_id = %(user_id)s"
)


async def erase_sessions(session_dsn: Dsn, namespace: str, user: str, app: str | None = None) -> int:
    """Erases a person's conversations, and returns how many sessions there were.

    In transactions of 20 sessions; whatever ends it, the same call again does what is left.

    :param namespace: of the jobs: ``namespace`` in their payloads.
    :param user: ``userID`` in the payloads.
    :param app: ``appName`` in the payloads; None: all apps of the namespace.
    :raises SessionStoreUnavailable: the database cannot be reached, or used.
    :raises ValueError: the URL is not one of Postgres, or the namespace or the user is empty.
    """
    if not namespace or not user:
        raise ValueError("namespace and user: a text is wanted for each")
    connection = SessionConnection(session_dsn)
    try:
        return await _erase(Statements(connection), f"{namespace}/", user, app)
    finally:
        await connection.release()


async def _erase(store: Statements, prefix: str, user: str, app: str | None) -> int:
    ((tables, fences, artifacts, credentials, memories),) = await store.rows(THERE)
    if not tables:
        return 0
    apps = [row[0] for row in await store.rows(APPS, prefix=prefix)] if app is None else [prefix + app]
    whose = {"apps": apps, "user_id": user}
    found = 0
    while gone := len(await store.rows(SESSIONS, **whose, slice=SLICE)):
        found += gone
    if artifacts:
        await store.do(ARTIFACTS, **whose)
    if credentials:
        await store.do(CREDENTIALS, **whose)
    if memories:
        await store.do(MEMORIES, **whose)
    await store.do(USER_STATES, **whose)
    if fences:
        await store.do(FENCES, **whose)
    return found
