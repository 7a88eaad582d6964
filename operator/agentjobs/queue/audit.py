"""The audit: who did what to a job, a queue, a model, a schedule. Each row is written in the transaction of its act.

What is an act, what stands in a row and what a row does not prove: docs/audit.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentjobs.queue.connection import Database
from agentjobs.values.json import JsonObject
from agentjobs.values.text import clean, dumps
from agentjobs.values.verbs import ACTOR_CHARACTERS, REASON_CHARACTERS, SOURCE_CHARACTERS, Verb

SOURCE = "python"
"""Of an act whose caller names no source."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts, and why, as the caller says. Texts are cut to what a row holds."""

    actor: str
    """The person's name, or that of the program that acts in its own name."""
    verb: str = ""
    """What the actor asked for, where the caller knows it: a call that does something else refuses the act."""
    reason: str = ""
    source: str = ""
    """``kubectl``, ``web`` …: through what it came. Empty: ``python``."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act, as it was done."""

    id: int
    """Grows with each row: ``before`` of the next page."""
    at: datetime
    actor: str
    """Empty: nobody said who it was."""
    verb: str
    namespace: str
    """Empty: the job has no object; or it is an act on a queue or a model."""
    name: str
    """Of the job's object, the schedule, the queue or the model. Empty: the job has no object."""
    uid: UUID | None
    """Of the job or the schedule; of an erasure its number."""
    queue: str | None
    reason: str
    before: JsonObject | None
    """What the act has changed, as it was: state, reason, priority, maxAttempts, round … None: there was nothing."""
    after: JsonObject | None
    source: str
    role: str
    """The database role whose connection wrote the row."""


class Audit:
    """Reads the audit; a part of Queue."""

    _db: Database

    async def audit(
        self,
        namespace: str | None = None,
        queue: str | None = None,
        uid: UUID | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[AuditRow]:
        """A page of acts, the newest first.

        :param namespace: None: any. Empty: of jobs without an object, of queues and of models.
        :param uid: of the job, the schedule or the erasure.
        :param before: the id of the last row of the page before.
        """
        rows = await self._db.fetch(
            "select id, at, actor, verb, namespace, name, uid, queue, reason, before, after, source, role::text"
            " from agentjobs.audit_page(%s, %s, %s, %s, %s)",
            (
                None if namespace is None else clean(namespace),
                None if queue is None else clean(queue),
                uid,
                before,
                limit,
            ),
        )
        return [AuditRow(*row) for row in rows]


def act_json(act: Act | None, verb: Verb) -> str:
    """The argument ``p_by`` of the functions that act. Raises ValueError where the act names another verb."""
    if act is None:
        return dumps({"source": SOURCE})
    if act.verb not in ("", verb):
        raise ValueError(f"Act.verb: {act.verb!r}: this call does {verb.value!r}")
    return dumps(act_row(act))


def act_row(act: Act) -> JsonObject:
    """An act as the functions that write its row take it."""
    return {
        "actor": clean(act.actor)[:ACTOR_CHARACTERS],
        "reason": clean(act.reason)[:REASON_CHARACTERS],
        "source": clean(act.source)[:SOURCE_CHARACTERS] or SOURCE,
    }
