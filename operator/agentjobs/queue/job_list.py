"""Lists of jobs, the newest first, by any combination of filters; a part of Queue.

A page is a few statements, each of which reads a bounded number of rows, whatever waits or has finished. Which index leads, and why
pages lose and repeat no job, stands in ``sql/functions/86_lanes.sql`` and ``86_list.sql``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import orjson

from agentjobs.queue import codec, numbers, replies
from agentjobs.queue.breakers import stored_name
from agentjobs.queue.connection import Database
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import ObjectRef, State
from agentjobs.values.json import JsonObject
from agentjobs.values.names import session_part
from agentjobs.values.text import clean, dumps
from agentjobs.values.usage import NO_USAGE, Usage

_LIST = "select array(select x::text from json_array_elements(jobs) x), seen from agentjobs.list(%s::json, %s, %s, %s)"
_COUNT = "select cardinality(ids), seen from agentjobs.list_ids(%s::json, %s, %s, %s)"
_TOKEN = "1-"
"""The version of a page's token, before the id of the last job that was looked at."""
_ID = re.compile("[0-9]{1,19}")
_SESSION_SLASHES = 3
"""Of a session's key that an object has: namespace/app/user/session."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """The jobs that a list shows: those that meet all of what is set."""

    namespace: str | None = None
    """The object's namespace; "": jobs without an object."""
    states: frozenset[State] = frozenset()
    """Empty: any."""
    reason: str | None = None
    """The present reason; Postgres compares its first 64 characters."""
    queue: str | None = None
    agent: str | None = None
    """The agent's module, or the name of an inline one."""
    model: str | None = None
    """The model of an inline agent. The models that a module chooses are not known."""
    user: str | None = None
    session: str | None = None
    """The session's id, as the user wrote it."""
    since: datetime | None = None
    """Accepted, or ended, at that time or later. A time with its zone."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as a list shows it."""

    id: int
    uid: UUID
    ref: ObjectRef | None
    queue: str
    priority: int
    state: State
    reason: str
    message: str
    """At most 256 characters."""
    agent: str
    """Empty: unknown; so are model, user and session."""
    model: str
    user: str
    session: str
    attempts: int
    max_attempts: int
    round: int
    created_at: datetime
    since: datetime
    """When the job came into its present state."""
    started_at: datetime | None
    """The first start in this round."""
    finished_at: datetime | None
    next_attempt_at: datetime | None
    worker: str
    step: str
    usage: Usage
    """Usage of the whole round."""
    result_bytes: int


@dataclass(frozen=True, slots=True)
class JobPage:
    """A part of a list. ``next`` may be set where ``jobs`` has fewer than were asked for, even none: the next page goes on."""

    jobs: Sequence[JobRow]
    next: str | None
    """The token of the next page; None: this was the last one."""


class JobLists:
    """Lists and counts jobs; a part of Queue."""

    _db: Database

    async def jobs(self, which: JobFilter, *, after: str | None = None, limit: int = 50) -> JobPage:
        """A page of jobs, the newest first. Jobs that move between two pages are in neither twice; those that stay are in one.

        :param after: ``next`` of the page before. Raises JobRejected where it is no such token.
        :param limit: the most jobs of a page, from 1 to 1000.
        """
        codec.check_whole("limit", limit, 1, numbers.LIST_JOBS)
        found: list[JobRow] = []
        before, wanted = _before(after), dumps(_filter_row(which))
        look = limit + 1
        for _ in range(numbers.LIST_STATEMENTS):
            missing = limit + 1 - len(found)  # one more: whether there is a next page
            ((jobs, before),) = await self._db.fetch(_LIST, (wanted, before, missing, look))
            found += [_job_row(orjson.loads(job)) for job in jobs or ()]
            if before is None or len(found) > limit:
                break
            look = min(4 * look, numbers.LIST_LOOK)
        if len(found) > limit:
            return JobPage(found[:limit], _token(found[limit - 1].id))
        return JobPage(found, None if before is None else _token(before))

    async def count_jobs(self, which: JobFilter) -> int:
        """How many jobs there are: exact, counted page by page. A job that moves meanwhile is counted once at most."""
        count, before, more = 0, None, True
        wanted = dumps(_filter_row(which))
        while more:
            ((n, before),) = await self._db.fetch(
                _COUNT, (wanted, before, numbers.LIST_COUNT, numbers.LIST_COUNT)
            )
            count += n or 0
            more = before is not None
        return count

    async def job_at(self, namespace: str, name: str) -> UUID | None:
        """The newest job of that name; None: there is none. In the namespace "" the name is a uid."""
        if namespace:
            rows = await self._db.fetch("select agentjobs.job_at(%s, %s)", (clean(namespace), clean(name)))
            found: UUID | None = rows[0][0]
            return found
        try:
            return UUID(name)
        except ValueError:
            return None


def _before(token: str | None) -> int | None:
    if token is None:
        return None
    number = token.removeprefix(_TOKEN)
    if number == token or not _ID.fullmatch(number) or int(number) >= 1 << 63:
        raise JobRejected("continue", token[:80], "the token of the page before is wanted")
    return int(number)


def _token(id_: int) -> str:
    return f"{_TOKEN}{id_}"


def _filter_row(which: JobFilter) -> JsonObject:
    """The argument p_filter of ``list``."""
    row: JsonObject = {
        field: stored_name(value)
        for field in ("namespace", "reason", "queue", "agent", "model", "user")
        if (value := getattr(which, field)) is not None
    }
    if which.states and which.states != frozenset(State):
        row["states"] = sorted(which.states)
    if which.session is not None:
        row["sessions"] = sorted(session_ends(which.session))
    if which.since is not None:
        row["since"] = codec.time_text(which.since, "since")
    return row


def session_ends(session: str) -> set[str]:
    """What the key of this session may end in, behind its last slash: an object's is percent-encoded, a caller's may be not."""
    text = clean(session)
    return {session_part(text), text.rpartition("/")[2]}


def session_id(key: str) -> str:
    """The id of a session as its user wrote it, from the key of an object's session; a caller's own key is the id."""
    return unquote(key.rpartition("/")[2]) if key.count("/") == _SESSION_SLASHES else key


def _job_row(v: Mapping[str, Any]) -> JobRow:
    """One job of ``list``."""
    place, started = v["place"], v["started_at"]
    return JobRow(
        id=v["id"],
        uid=UUID(v["uid"]),
        ref=None if v["ref"] is None else ObjectRef(*v["ref"]),
        queue=v["queue"],
        priority=v["priority"],
        state=replies.state(place, started is not None),
        reason=v["reason"],
        message=v["message"],
        agent=v["agent"],
        model=v["model"],
        user=v["user"],
        session=session_id(v["session"]),
        attempts=v["attempts"],
        max_attempts=v["max_attempts"],
        round=v["round"],
        created_at=datetime.fromisoformat(v["created_at"]),
        since=datetime.fromisoformat(v["since"]),
        started_at=replies.maybe_time(started),
        finished_at=replies.maybe_time(v["finished_at"]),
        next_attempt_at=replies.next_attempt(place, v["due_at"], v["next_at"]),
        worker=v["worker"],
        step=v["step"],
        usage=NO_USAGE if v["usage"] is None else Usage(*v["usage"]),
        result_bytes=v["result_bytes"] or 0,
    )
