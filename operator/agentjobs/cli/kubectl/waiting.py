"""Waiting for AgentJobs by a watch, through expired versions and an API server that is away for a while."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.acts import asked
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.reply import RequestRefused

JsonObject = Mapping[str, Any]
WATCH_SECONDS = 240
"""How long one watch lasts: shorter than what proxies on the way cut."""
SILENCE_SECONDS = 15
"""Silence beyond the watch's own end that means: the connection is dead."""
AWAY_SECONDS = 60.0
"""How long the API server may be away before the command gives up."""
GONE: JsonObject = {}
"""Stands for a job that was there and was deleted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the watch shows it; ``deleted``: it is gone."""

    job: JsonObject
    deleted: bool = False

    @property
    def state(self) -> str:
        return str((self.job.get("status") or {}).get("state") or "")


class TimedOut(Exception):
    """The time of ``--timeout`` is over."""


def let_retries_begin(server: ApiServer, names: frozenset[str], most_seconds: float) -> float:
    """The command waits while a job shows the end of the round before the one that somebody has asked for.

    :returns: the seconds that it took.
    """
    began = time.monotonic()
    while any(map(asked, _listed(server, names)[0].values())) and time.monotonic() - began < most_seconds:
        time.sleep(0.2)
    return time.monotonic() - began


def seen(
    server: ApiServer,
    names: frozenset[str],
    timeout_seconds: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Seen]:
    """These jobs as they are, then each change of them; without an end.

    A job that is not there at first is not found; one that vanishes while nobody watched is deleted.

    :raises TimedOut: the time is over.
    :raises Unavailable: a job is not found, or the API server is away for longer than AWAY_SECONDS.
    """
    until = math.inf if timeout_seconds is None else clock() + timeout_seconds
    known: dict[str, JsonObject] = {}
    heard_at = clock()
    delay = 0.5
    while True:
        try:
            found, version = _listed(server, names)
            for name in sorted(names - found.keys()):
                if name not in known:
                    server.get(JOBS, name)  # refuses it in the usual words
                elif known[name] is not GONE:
                    gone, known[name] = known[name], GONE
                    yield Seen(gone, deleted=True)
            for name, job in found.items():
                if known.get(name) != job:
                    known[name] = job
                    yield Seen(job)
            heard_at, delay = clock(), 0.5
            while version:
                version = yield from _watched(server, names, known, version, until, clock)
                heard_at = clock()
        except RequestRefused as error:
            if error.reply.status < 500 and error.reply.status != 429:
                raise
            _away(error, clock() - heard_at)
        except Unavailable as error:
            _away(error, clock() - heard_at)
        if clock() >= until:
            raise TimedOut
        time.sleep(min(delay, max(0.0, until - clock())))
        delay = min(delay * 2, 8.0)


def _away(error: Unavailable, seconds: float) -> None:
    if seconds > AWAY_SECONDS:
        raise error


def _query(names: frozenset[str]) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={next(iter(names))}"} if len(names) == 1 else {}


def _listed(server: ApiServer, names: frozenset[str]) -> tuple[dict[str, JsonObject], str]:
    """The jobs that are there, and the version to watch from."""
    found: dict[str, JsonObject] = {}
    asked = {**_query(names), "limit": "500"}
    while True:
        page = server.done(server.request("GET", server.path_of(JOBS), asked), JOBS)
        found |= {o["metadata"]["name"]: o for o in page.get("items") or () if o["metadata"]["name"] in names}
        metadata = page.get("metadata") or {}
        if not (token := metadata.get("continue")):
            return found, str(metadata.get("resourceVersion") or "")
        asked["continue"] = token


def _watched(
    server: ApiServer,
    names: frozenset[str],
    known: dict[str, JsonObject],
    version: str,
    until: float,
    clock: Callable[[], float],
) -> Generator[Seen, None, str]:
    """One watch; returns the version to go on from, or an empty one where the jobs have to be listed anew."""
    left = until - clock()
    if left <= 0:
        raise TimedOut
    seconds = max(1, math.ceil(min(WATCH_SECONDS, left)))
    query = {
        **_query(names),
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(seconds),
    }
    silence = min(seconds + SILENCE_SECONDS, max(0.1, left))
    try:
        with server.stream(server.path_of(JOBS), query, silence_seconds=silence) as lines:
            for line in lines:
                event = json.loads(line)
                obj = event.get("object") or {}
                if event.get("type") == "ERROR":
                    return ""
                version = str((obj.get("metadata") or {}).get("resourceVersion") or version)
                name = (obj.get("metadata") or {}).get("name")
                if event.get("type") != "BOOKMARK" and name in names:
                    deleted = event.get("type") == "DELETED"
                    known[name] = GONE if deleted else obj
                    yield Seen(obj, deleted)
                if clock() >= until:
                    raise TimedOut
    except (TimeoutError, ValueError):
        if clock() >= until:
            raise TimedOut from None
        return ""
    if clock() >= until:
        raise TimedOut
    return version
