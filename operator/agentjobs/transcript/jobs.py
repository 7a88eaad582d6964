"""The session of a job, and its part of that session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Protocol
from uuid import UUID

from agentjobs.values.json import JsonObject
from agentjobs.values.names import own_session


class ObjectRef(Protocol):
    """Where a job's object is."""

    @property
    def namespace(self) -> str: ...


class Job(Protocol):
    """What of ``queue.records.JobView`` tells where the job's session is."""

    @property
    def uid(self) -> UUID: ...

    @property
    def ref(self) -> ObjectRef | None: ...

    @property
    def payload(self) -> JsonObject | None: ...


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A session, by ADK's three names."""

    app_name: str
    """``<namespace>/<appName>``: so two namespaces never share a session (H18)."""
    user_id: str
    session_id: str

    def as_json(self) -> dict[str, str]:
        return dict(zip(("app_name", "user_id", "session_id"), astuple(self), strict=True))


def session_of(job: Job) -> SessionKey | None:
    """The session that the job's runs write, by the same rule as the worker's. None: it cannot be known.

    That is so where the job's payload is pruned, has no text where one belongs (then no run began), or names another
    namespace than the job's object is in: whoever may read this namespace's jobs may not read that one's.
    """
    if job.payload is None:
        return None
    namespace = _text(job.payload, "namespace", "default")
    app_name = _text(job.payload, "appName", "agentjobs")
    user_id = _text(job.payload, "userID", "system")
    session_id = _text(job.payload, "sessionID", "")
    if namespace is None or app_name is None or user_id is None or session_id is None:
        return None
    if job.ref is not None and namespace != job.ref.namespace:
        return None
    return SessionKey(f"{namespace}/{app_name}", user_id, session_id or own_session(job.uid))


def invocations_of(job: Job) -> frozenset[str] | None:
    """What picks the job's own events of its session. None: all of them are, in the session that only this job has.

    In a session that jobs share these are the events of each of its rounds, later ones included. ADK's summaries of
    such a session (compaction) belong to no job, and are in the transcript of the whole session alone.
    """
    payload = job.payload or {}
    return frozenset({own_session(job.uid)}) if payload.get("sessionID") else None


def _text(payload: Mapping[str, object], field: str, default: str) -> str | None:
    value = payload.get(field)
    return default if value is None else value if isinstance(value, str) else None
