"""Tables of what the runs API, or the database itself, tells of queues, workers and models. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl.output import Column, age, cut, in_future
from agentjobs.values.durations import duration_text

JsonObject = Mapping[str, Any]


def _status(item: JsonObject, key: str) -> Any:
    return (item.get("status") or {}).get(key)


def _name(item: JsonObject) -> str:
    return str(item["metadata"]["name"])


def workers() -> list[Column]:
    """The columns of workers."""

    def queues(item: JsonObject) -> str:
        return ",".join(
            f"{queue}={slots}" for queue, slots in sorted((_status(item, "queues") or {}).items())
        )

    return [
        Column("NAME", _name, shrinks=True),
        Column("POOL", lambda item: str(_status(item, "pool") or "")),
        Column("QUEUES", queues, shrinks=True),
        Column("SLOTS", lambda item: str(_status(item, "slots") or 0)),
        Column("ACCEPTING", lambda item: "no" if _status(item, "accepting") is False else "yes"),
        Column("VERSION", lambda item: str(_status(item, "version") or "")),
    ]


def models(now: datetime) -> list[Column]:
    """The columns of models with a breaker."""

    def blocked(item: JsonObject) -> str:
        """Jobs that wait for it, which a namespace is not told."""
        n = _status(item, "blocked")
        return "" if n is None else str(n)

    def probe(item: JsonObject) -> str:
        """When a job tries the model again. Once that time has come the next job does; a breaker stays for a while without one."""
        at = _status(item, "probeTime")
        return (in_future(at, now) or "next job") if at else ""

    return [
        Column("MODEL", lambda item: str(_status(item, "model") or ""), shrinks=True),
        Column("POOL", lambda item: str(_status(item, "pool") or "")),
        Column("BREAKER", lambda item: "open" if _status(item, "open") else "closed"),
        Column("REASON", lambda item: str(_status(item, "reason") or _status(item, "lastFailure") or "")),
        Column("FAILURES", lambda item: str(_status(item, "failures") or 0)),
        Column("BLOCKED", blocked),
        Column("SINCE", lambda item: age(_status(item, "since"), now)),
        Column("PROBE", probe),
    ]


def queues(now: datetime) -> list[Column]:
    """The columns of queues."""

    def limit(item: JsonObject) -> str:
        most = _status(item, "maxRunning")
        return "" if most is None else str(most)

    def paused(item: JsonObject) -> str:
        if not _status(item, "paused"):
            return ""
        return age(_status(item, "pausedTime"), now) or "yes"

    def oldest(item: JsonObject) -> str:
        seconds = _status(item, "oldestWaitSeconds")
        return duration_text(float(seconds)) if seconds else ""

    return [
        Column("NAME", _name, shrinks=True),
        Column("WAITING", lambda item: str(_status(item, "waiting") or 0)),
        Column("RUNNING", lambda item: str(_status(item, "running") or 0)),
        Column("SLOTS", lambda item: str(_status(item, "slots") or 0)),
        Column("LIMIT", limit),
        Column("OLDEST", oldest),
        Column("PAUSED", paused),
        Column("BY", lambda item: str(_status(item, "pausedBy") or ""), shrinks=True),
        Column("WHY", lambda item: cut(str(_status(item, "pausedReason") or ""), 120), shrinks=True),
    ]


def runs(now: datetime) -> list[Column]:
    """The columns of running jobs."""

    def spec(key: str) -> Callable[[JsonObject], str]:
        return lambda item: str((item.get("spec") or {}).get(key) or "")

    def tokens(item: JsonObject) -> str:
        return str((_status(item, "usage") or {}).get("totalTokens") or "")

    return [
        Column("NAME", _name, shrinks=True),
        Column("QUEUE", spec("queue"), shrinks=True),
        Column("AGENT", spec("agent"), shrinks=True),
        Column("RUNS FOR", lambda item: age(_status(item, "since"), now)),
        Column("ATTEMPT", lambda item: str(_status(item, "attempts") or 0)),
        Column("TOKENS", tokens),
        Column("STEP", lambda item: str(_status(item, "step") or ""), shrinks=True),
        Column("WORKER", lambda item: str(_status(item, "worker") or ""), shrinks=True),
    ]
