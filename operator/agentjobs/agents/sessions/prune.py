"""Retention of conversations: a job's own session goes, with events, artifacts and fence, some time after the job's record.

A job that names no session has its own, ``job-<uid>``. Nothing leads to it once retention has removed the job's record, but another job's
``artifactRef``; it would stay for ever. Sessions that jobs name are their users' and stay. ADK's tables may be in a database of their own, so this
is a call of its own beside ``Queue.prune``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from agentjobs.agents.sessions.connection import SessionConnection, Statements
from agentjobs.dsn import Dsn
from agentjobs.values.names import OWN_SESSION_PREFIX

LOOKED_AT = 5000
"""Sessions that one statement looks at, and that one question to the queue may be about."""
SLICE = 20
"""Sessions of one transaction. The events of a session, thousands maybe, go with it."""

# Nobody may have had a conversation yet, and ADK's own service makes neither fences nor artifacts. With the time before which a session was
# written last that may go, as ADK writes times.
THERE: LiteralString = """
    select to_regclass('adk.sessions') is not null and to_regclass('adk.fence') is not null,
           to_regclass('adk.artifact') is not null, clock_timestamp() at time zone 'utc' - %(idle)s
"""

# The next sessions by primary key: those that a job has as its own and nobody has written or opened since, and the last one that was
# looked at.
PAGE: LiteralString = """
    with looked_at as materialized (
        select app_name, user_id, id, update_time from adk.sessions
         where (app_name, user_id, id) > (%(app_name)s::varchar, %(user_id)s::varchar, %(id)s::varchar)
         order by app_name, user_id, id limit %(limit)s
    )
    select s.app_name, s.user_id, s.id, false from looked_at s
      left join adk.fence f on f.app_name = s.app_name and f.user_id = s.user_id and f.session_id = s.id
     where s.id ~ %(own)s and s.update_time < %(before)s
       and coalesce(f.raised_at < %(before)s at time zone 'utc', true)
    union all
    (select app_name, user_id, id, true from looked_at order by app_name desc, user_id desc, id desc limit 1)
"""

# Of these sessions those that nobody has written or opened since are locked, each with its fence, as they are by now. Then they go: fences and
# sessions by primary key, events and artifacts by their foreign keys' cascade. Lock order: the fences, the sessions, as an event's.
_IDLE: LiteralString = """
    with wanted as materialized (
        select * from unnest(%(apps)s::varchar[], %(users)s::varchar[], %(ids)s::varchar[]) as w (app_name, user_id, id)
    ), fences as materialized (
        select f.app_name, f.user_id, f.session_id, f.raised_at
          from wanted w join adk.fence f on f.app_name = w.app_name and f.user_id = w.user_id and f.session_id = w.id
           for update of f
    ), idle as materialized (
        select s.app_name, s.user_id, s.id
          from wanted w join adk.sessions s on s.app_name = w.app_name and s.user_id = w.user_id and s.id = w.id
         where s.update_time < %(before)s and (select count(*) from fences) >= 0
           and not exists (select from fences f where f.app_name = s.app_name and f.user_id = s.user_id and f.session_id = s.id
                              and f.raised_at >= %(before)s at time zone 'utc')
           for update of s
    ), fences_gone as (
        delete from adk.fence f using idle i
         where f.app_name = i.app_name and f.user_id = i.user_id and f.session_id = i.id
    )"""

# Where ADK's tables are of another version, artifacts do not go with their session. By primary key.
_ARTIFACTS: LiteralString = """, artifacts_gone as (
        delete from adk.artifact a using idle i
         where a.app_name = i.app_name and a.user_id = i.user_id and a.shelf = i.id
    )"""

_SESSIONS: LiteralString = """
    delete from adk.sessions s using idle i
     where s.app_name = i.app_name and s.user_id = i.user_id and s.id = i.id
    returning 1
"""

DELETE: LiteralString = _IDLE + _SESSIONS
DELETE_WITH_ARTIFACTS: LiteralString = _IDLE + _ARTIFACTS + _SESSIONS

_OWN = f"^{OWN_SESSION_PREFIX}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$"
Key = tuple[str, str, str]
"""App, user and id of a session."""
Kept = Callable[[Sequence[UUID]], Awaitable[frozenset[UUID]]]
"""Those of these jobs whose record retention has not removed: ``Queue.kept_records``."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one pass over the sessions did."""

    removed: int = 0
    """Sessions that went; in a dry run, that would."""
    kept: int = 0
    """Idle ones that stay, since a job that has them still has its record."""


async def prune_sessions(session_dsn: Dsn, kept: Kept, idle: timedelta, *, dry_run: bool = False) -> Pruned:
    """Removes the own sessions of jobs that nobody has written for ``idle``, and whose jobs' records are gone.

    In transactions of 20 sessions; whatever ends it, the same call again does what is left.

    :param kept: asked about 5000 jobs at once at most. Its errors end the pass.
    :raises SessionStoreUnavailable: the database cannot be reached, or used.
    :raises ValueError: the URL is not one of Postgres.
    """
    connection = SessionConnection(session_dsn)
    try:
        return await _prune(Statements(connection), kept, idle, dry_run)
    finally:
        await connection.release()


async def _prune(store: Statements, kept: Kept, idle: timedelta, dry_run: bool) -> Pruned:
    ((sessions, artifacts, before),) = await store.rows(THERE, idle=idle)
    found = Pruned()
    at: Key | None = ("", "", "") if sessions else None
    while at is not None:
        page = await store.rows(PAGE, **_named(at), limit=LOOKED_AT, own=_OWN, before=before)
        uids: dict[Key, UUID] = {
            (app, user, id): UUID(id.removeprefix(OWN_SESSION_PREFIX))
            for app, user, id, last in page
            if not last
        }
        at = next(((app, user, id) for app, user, id, last in page if last), None)
        recorded = await kept(list(uids.values())) if uids else frozenset()
        unused = [key for key, uid in uids.items() if uid not in recorded]
        gone = len(unused) if dry_run else await _remove(store, unused, before, artifacts)
        found = Pruned(found.removed + gone, found.kept + len(uids) - len(unused))
    return found


async def _remove(store: Statements, keys: Sequence[Key], before: datetime, artifacts: bool) -> int:
    removed = 0
    for first in range(0, len(keys), SLICE):
        columns = _columns(keys[first : first + SLICE])
        removed += len(
            await store.rows(DELETE_WITH_ARTIFACTS if artifacts else DELETE, **columns, before=before)
        )
    return removed


def _named(key: Key) -> dict[str, str]:
    return dict(zip(("app_name", "user_id", "id"), key, strict=True))


def _columns(keys: Sequence[Key]) -> dict[str, list[str]]:
    return {name: [key[place] for key in keys] for place, name in enumerate(("apps", "users", "ids"))}
