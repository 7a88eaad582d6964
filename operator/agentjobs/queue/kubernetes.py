"""The side of the queue that mirrors Kubernetes objects: intake, outbox, sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from agentjobs.queue import codec
from agentjobs.queue.connection import Database, is_data_error
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import ChangeOutcome, InputResponse, ObjectChange, OutboxEntry
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import Reason
from agentjobs.values.text import clean, dumps


@dataclass(frozen=True, slots=True)
class KnownObject:
    """A job whose object is not known to be gone."""

    id: int
    uid: UUID
    namespace: str
    name: str
    accepted_at: datetime
    final: bool
    generation: int
    trimmed: bool
    """Past retention: only the tombstone is left, waiting for the object to be gone (H1)."""


@dataclass(frozen=True, slots=True)
class Applied:
    outcome: ChangeOutcome
    detail: str = ""
    """Why a retry was refused."""


class KubernetesObjects:
    """What the controller uses; part of Queue."""

    _db: Database
    _expiry: timedelta

    async def apply(self, changes: Sequence[ObjectChange]) -> dict[UUID, Applied]:
        """Stores what intake saw of objects; only what is newer than the row counts (H4).

        A change that cannot be stored ends as Rejected/InvalidSpec and harms no other (H6).
        """
        answers: dict[UUID, Applied] = {}
        rows: list[JsonObject] = []
        if len({change.uid for change in changes}) < len(changes):
            # each uid once per statement: what it says of one is compared with what was stored before it
            first = {change.uid: change for change in reversed(changes)}
            later = [change for change in changes if first[change.uid] is not change]
            return await self.apply(list(first.values())[::-1]) | await self.apply(later)
        for change in changes:
            try:
                rows.append(codec.change_row(change))
            except JobRejected as error:
                rows.append(codec.change_row(_rejected(change, str(error))))
            answers[change.uid] = Applied(ChangeOutcome.UNCHANGED)
        if not rows:
            return answers
        try:
            answer = await self._db.fetch("select agentjobs.apply(%s::json)", (dumps(rows),))
        except psycopg.Error as error:
            if not is_data_error(error):
                raise
            if len(changes) > 1:
                middle = len(changes) // 2
                return await self.apply(changes[:middle]) | await self.apply(changes[middle:])
            if changes[0].rejected is not None:
                raise
            return await self.apply([_rejected(changes[0], error.diag.message_primary or "cannot be stored")])
        for uid, outcome, detail in answer[0][0] or ():
            answers[UUID(uid)] = Applied(ChangeOutcome(outcome), detail or "")
        return answers

    async def respond(self, responses: Mapping[UUID, InputResponse]) -> dict[UUID, str]:
        """The answers in objects' annotations, each value once. Those handled now: empty where taken, else why not."""
        rows, answers = [], {}
        for uid, response in responses.items():
            try:
                rows.append(codec.response_row(uid, response))
            except JobRejected as error:
                rows.append(codec.response_row(uid, InputResponse(response.value, None, str(error))))
        if not rows:
            return {}
        answer = await self._db.fetch("select agentjobs.respond(%s::json)", (dumps(rows),))
        for told, refused in answer[0][0] or ():
            answers[UUID(told)] = refused or ""
        return answers

    async def outbox(
        self, limit: int, coalesce_seconds: float, exclude: Sequence[int] = ()
    ) -> list[OutboxEntry]:
        """Jobs whose object shows a stale status: final ones at once, others when that old, oldest first."""
        rows = await self._db.fetch(
            "select version, marked_at, job from agentjobs.outbox_read(%s, %s, %s::bigint[])",
            (limit, timedelta(seconds=coalesce_seconds), list(exclude)),
        )
        return [
            OutboxEntry(version, marked_at, job["posted_run"], codec.job_view(job))
            for version, marked_at, job in rows
        ]

    async def projected(self, done: Sequence[tuple[int, int, int]]) -> list[int]:
        """(job id, version written, last run whose Events are posted): removes exactly those versions.

        Returns the ids that are still, or again, stale.
        """
        if not done:
            return []
        rows = await self._db.fetch(
            "select agentjobs.projected(%s::json)", (dumps([{"i": i, "v": v, "r": r} for i, v, r in done]),)
        )
        return list(rows[0][0] or ())

    async def unchanged(self, done: Sequence[tuple[int, int]]) -> int:
        """(job id, version) whose object shows that status already: removes exactly those versions, and marks none."""
        rows = await self._db.fetch(
            "select agentjobs.unchanged(%s::bigint[], %s::bigint[])",
            ([i for i, _ in done], [v for _, v in done]),
        )
        return int(rows[0][0])

    async def drop_projection(self, ids: Sequence[int]) -> int:
        """The objects are not there to be written to (404, another uid)."""
        rows = await self._db.fetch("select agentjobs.outbox_drop(%s::bigint[])", (list(ids),))
        return int(rows[0][0])

    async def touch(self, uids: Sequence[UUID]) -> int:
        """Marks objects stale: their status was wiped, or is not to be trusted."""
        rows = await self._db.fetch("select agentjobs.touch_uids(%s::uuid[])", (list(uids),))
        return int(rows[0][0])

    async def known_objects(self, after_id: int, limit: int, cluster_id: str) -> list[KnownObject]:
        """Jobs of this cluster whose object is not known to be gone, by id (H5)."""
        rows = await self._db.fetch(
            "select id, uid, namespace, name, accepted_at, final, generation, trimmed"
            " from agentjobs.mirrored(%s, %s, %s)",
            (after_id, limit, cluster_id),
        )
        return [KnownObject(*row) for row in rows]

    async def gone(self, uids: Sequence[UUID]) -> int:
        """A GET confirmed that these objects are gone (H1)."""
        rows = await self._db.fetch("select agentjobs.gone(%s::uuid[])", (list(uids),))
        return int(rows[0][0])

    async def explain(self, limit: int = 1000) -> int:
        """Gives waiting mirrored jobs the reason why they wait; returns how many changed."""
        rows = await self._db.fetch("select agentjobs.explain(%s, %s)", (self._expiry, limit))
        return int(rows[0][0])


def _rejected(change: ObjectChange, why: str) -> ObjectChange:
    return replace(
        change,
        job=None,
        cancel=False,
        unaccepted=None,
        imported=None,
        rejected=(Reason.INVALID_SPEC, clean(why)),
    )
