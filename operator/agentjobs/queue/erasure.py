"""Erasure: what was said by, to and for one person goes; that something has happened stays (docs/audit.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from agentjobs.queue import numbers
from agentjobs.queue.audit import Act, act_json
from agentjobs.queue.connection import Database
from agentjobs.values.names import session_part
from agentjobs.values.text import clean
from agentjobs.values.verbs import Verb


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of one erasure."""

    id: UUID
    """Its number, by which the audit knows it: the row names no person, so keep the number with the request."""
    jobs: int = 0
    """Jobs whose texts were erased now."""
    cancelled: int = 0
    """Those of them that waited, and were cancelled for it."""
    running: int = 0
    """Jobs of the person that still run and were asked to stop: erase again once they have ended."""
    objects: Sequence[tuple[str, str]] = ()
    """Namespace and name of the person's objects that are still in Kubernetes, with ``spec.message`` and all: delete
    them. At most 10,000."""


class Erasure:
    """Erases what was said; a part of Queue."""

    _db: Database

    async def erase(self, namespace: str, user: str, by: Act) -> Erased:
        """Erases the texts of one person's jobs: payload, result, messages, logs, questions and answers, session.

        It looks at all jobs there are, in transactions of 2000. Whatever ends it, the same call again does what is
        left; so does one for what a running job has left behind. Conversations are in the session store: ``erase_sessions``.

        :param namespace: of a job with an object the object's; of one without, ``namespace`` in its payload.
        :param user: ``userID`` in the payload.
        :raises ValueError: the namespace or the user is empty, or ``by`` names another verb.
        """
        if not namespace or not user:
            raise ValueError("namespace and user: a text is wanted for each")
        told = Erased(uuid4())
        key = [session_part(clean(namespace)), session_part(clean(user))]
        seen, act = 0, act_json(by, Verb.ERASE)
        while True:
            ((after, jobs, cancelled, running, objects),) = await self._db.fetch(
                "select seen, jobs, cancelled, running, objects from agentjobs.erase(%s, %s, %s, %s::text[], %s::json, %s, %s)",
                (told.id, clean(namespace), clean(user), key, act, seen, numbers.ERASE_LOOK),
            )
            found = [*told.objects, *((namespace, name) for namespace, name in objects)]
            told = Erased(
                told.id,
                told.jobs + jobs,
                told.cancelled + cancelled,
                told.running + running,
                found[: numbers.ERASED_OBJECTS],
            )
            if after is None:
                return told
            seen = after
