"""Filters of lists: the same words in query parameters, in a RunAction and in the plugin's flags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agentjobs.api.meta import parse_time
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.numbers import FIRST_TIME, LAST_TIME
from agentjobs.queue.records import State
from agentjobs.values.durations import seconds_of
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.acts import ActionFilter
from agentjobs.web.status import ApiError
from agentjobs.web.target import Query, one

LIMIT, MOST = 50, 500
"""Jobs a page without ``limit``, and at most."""
WORD_CHARACTERS = 253


def filter_of_query(query: Query, namespace: str | None, now: datetime | None = None) -> JobFilter:
    """The filter in a list's query parameters. Raises ApiError (400)."""
    return _filter(
        namespace,
        query.get("state", ()),
        {
            name: one(query, name)
            for name in ("reason", "queue", "agent", "model", "user", "session", "since")
        },
        now,
    )


def filter_of_action(wanted: ActionFilter, namespace: str | None, now: datetime | None = None) -> JobFilter:
    """The filter in a RunAction. Raises ApiError (400)."""
    words = wanted.model_dump(exclude={"state", "uid"})
    return _filter(namespace, wanted.state, words, now)


def limit_of(query: Query) -> int:
    """Query parameter ``limit``; more than ``MOST`` is cut, 0 and absent mean the default."""
    text = one(query, "limit")
    if text is None or text == "0":
        return LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ApiError(400, f"limit: {text[:40]!r}: a whole number is wanted")
    return min(int(text), MOST)


def truth_of(query: Query, name: str) -> bool | None:
    """A query parameter that is ``true`` or ``false``; None: it is absent. Raises ApiError (400)."""
    text = one(query, name)
    if text not in (None, "true", "false"):
        raise ApiError(400, f"{name}: {text[:40]!r}: true or false is wanted")
    return None if text is None else text == "true"


def moment_of(text: str, now: datetime | None = None) -> datetime:
    """The time that ``since`` means: RFC 3339, or a duration back from now, such as 90m or 1h30m. Raises ApiError (400)."""
    try:
        moment = _back(text, now or datetime.now(UTC)) or parse_time(text)
    except (ValueError, OverflowError):
        raise ApiError(
            400, f"since: {text[:40]!r}: an RFC 3339 time or a duration such as 2h is wanted"
        ) from None
    if not FIRST_TIME <= moment <= LAST_TIME:
        raise ApiError(400, f"since: {text[:40]!r}: a time of the years 1970 to 2999 is wanted")
    return moment


def _back(text: str, now: datetime) -> datetime | None:
    """The time so long before now. None: the text is no duration."""
    try:
        seconds = seconds_of(text)
    except ValueError:
        return None
    return now - timedelta(seconds=seconds)


def _filter(
    namespace: str | None, states: Sequence[str], words: dict[str, str | None], now: datetime | None
) -> JobFilter:
    try:
        wanted = frozenset(State(state) for state in states)
    except ValueError as error:
        names = ", ".join(State)
        raise ApiError(400, f"state: {str(error).split(' is not')[0][:60]}: wants one of {names}") from None
    for name, word in words.items():
        if word is not None and (len(word) > WORD_CHARACTERS or "\0" in word):
            raise ApiError(400, f"{name}: at most {WORD_CHARACTERS} characters are wanted")
    since = words.get("since")
    return JobFilter(
        namespace="" if namespace == NO_OBJECT else namespace,
        states=wanted,
        reason=words.get("reason") or None,
        queue=words.get("queue") or None,
        agent=words.get("agent") or None,
        model=words.get("model") or None,
        user=words.get("user") or None,
        session=words.get("session") or None,
        since=moment_of(since, now) if since else None,
    )
