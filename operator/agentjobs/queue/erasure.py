"""Erasure: what was said by, to and for one person goes; that something has happened stays (docs/audit.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID, uuid4

from agentjobs.queue import numbers
from agentjobs.queue.audit import Act, act_json
from agentjobs.queue.connection import Database
from agentjobs.queue.errors import JobRejected
from agentjobs.values.names import session_part
from agentjobs.values.text import clean
from agentjobs.values.verbs import Verb


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of one erasure."""

    id: UUID
    """Its number, by which the audit knows it: the row names no person, so keep the number with the request."""
    jobs: int = 0
    """Jobs whose texts were erased, also by the calls that this one went on from."""
    cancelled: int = 0
    """Those of them that waited, and were cancelled for it."""
    running: int = 0
    """Jobs of the person that still run and were asked to stop: erase again once they have ended."""
    objects: Sequence[tuple[str, str]] = ()
    """Namespace and name of the person's objects that are still in Kubernetes, with ``spec.message`` and all: delete
    them. At most 10,000."""
    next: str | None = None
    """Not all jobs were looked at: ``resume`` of the call that goes on. None: they were."""

    def token(self, namespace: str, user: str) -> str:
        """``resume`` of a call that goes on with this erasure of this person; one that is done does nothing, and tells the same.
        It is the number, with a check that it is for the same person, and kept nowhere: the number alone names nobody."""
        whose = sha256("\0".join((str(self.id), namespace, user)).encode("utf-8", "replace"))
        return f"{self.id}.{whose.hexdigest()[:16]}"


class Erasure:
    """Erases what was said; a part of Queue."""

    _db: Database

    async def erase(
        self,
        namespace: str,
        user: str,
        by: Act,
        *,
        seconds: float | None = None,
        resume: str | None = None,
    ) -> Erased:
        """Erases the texts of one person's jobs: payload, result, messages, logs, questions and answers, session.

        It looks at all jobs there are, in transactions of 2000. Whatever ends it, the same call again does what is
        left; so does one for what a running job has left behind. Conversations are in the session store: ``erase_sessions``.

        :param namespace: of a job with an object the object's; of one without, ``namespace`` in its payload.
        :param user: ``userID`` in the payload.
        :param seconds: how long it goes on, a transaction more at most; None: to its end.
        :param resume: ``next`` of the call that it goes on from, by the same actor for the same person.
        :raises ValueError: the namespace or the user is empty, or ``by`` names another verb.
        :raises JobRejected: ``resume`` is of no erasure of this person by this actor.
        """
        if not namespace or not user:
            raise ValueError("namespace and user: a text is wanted for each")
        number = uuid4() if resume is None else _number(resume, namespace, user)
        told = Erased(number)
        key = [session_part(clean(namespace)), session_part(clean(user))]
        seen, act = 0 if resume is None else None, act_json(by, Verb.ERASE)
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            ((after, jobs, cancelled, running, objects),) = await self._db.fetch(
                "select seen, jobs, cancelled, running, objects from agentjobs.erase(%s, %s, %s, %s::text[], %s::json, %s, %s)",
                (number, clean(namespace), clean(user), key, act, seen, numbers.ERASE_LOOK),
            )
            if jobs is None:
                raise _unknown(resume or "")
            found = [*told.objects, *((namespace, name) for namespace, name in objects)]
            told = Erased(number, jobs, cancelled, running, found[: numbers.ERASED_OBJECTS])
            if after is None:
                return told
            if until is not None and time.monotonic() >= until:
                return replace(told, next=told.token(namespace, user))
            seen = after


def _number(token: str, namespace: str, user: str) -> UUID:
    try:
        number = UUID(token.partition(".")[0])
    except ValueError:
        raise _unknown(token) from None
    if token != Erased(number).token(namespace, user):
        raise _unknown(token)
    return number


def _unknown(token: str) -> JobRejected:
    return JobRejected(
        "resume",
        token[:80],
        "`next` of an erasure of this person by this actor is wanted; begin anew without",
    )
