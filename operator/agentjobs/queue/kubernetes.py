"""The controller's calls: intake stores objects, the outbox lists stale statuses, the sweep compares."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from agentjobs.queue import codec, replies
from agentjobs.queue.answers import answer_misfit
from agentjobs.queue.bisection import Answer, each_alone, why
from agentjobs.queue.connection import Database
from agentjobs.queue.errors import QueueError
from agentjobs.queue.records import (
    ChangeOutcome,
    ImportedEnd,
    InputResponse,
    JobView,
    ObjectChange,
    OutboxEntry,
)
from agentjobs.values.reasons import Reason
from agentjobs.values.text import clean, dumps

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownObject:
    """A job whose object is not known to be gone, for comparison with a LIST of the objects."""

    id: int
    uid: UUID
    namespace: str
    name: str
    accepted_at: datetime
    final: bool
    generation: int
    trimmed: bool
    """True: past retention. Only the tombstone is left, until the object is gone (H1)."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to one ObjectChange."""

    outcome: ChangeOutcome
    detail: str = ""
    """Why a retry was refused."""
    barred: str = ""
    """Why what the object asks for is not accepted, where that was not known before."""


class KubernetesObjects:
    """The queue's knowledge of Kubernetes objects; a part of Queue."""

    _db: Database
    _expiry: timedelta

    async def apply(self, changes: Sequence[ObjectChange]) -> dict[UUID, Applied]:
        """Stores changes of objects; only a change that is newer than the job's row counts (H4).

        A job that cannot be stored ends as Rejected/InvalidSpec, and harms no other change (H6).
        """
        if len({change.uid for change in changes}) < len(changes):
            # a statement compares each change with the row before it, so a uid may occur once per statement
            first = {change.uid: change for change in reversed(changes)}
            later = [change for change in changes if first[change.uid] is not change]
            return await self.apply(list(first.values())[::-1]) | await self.apply(later)
        return merged(await each_alone(changes, self._store, self._reject)) if changes else {}

    async def _store(self, changes: Sequence[ObjectChange]) -> dict[UUID, Applied]:
        """Applies the changes in one statement."""
        answer = await self._db.fetch("select agentjobs.apply(%s::json)", (codec.changes_json(changes),))
        answers = {change.uid: Applied(ChangeOutcome.UNCHANGED) for change in changes}
        for uid, outcome, detail, barred in answer[0][0] or ():
            answers[UUID(uid)] = Applied(ChangeOutcome(outcome), detail or "", barred or "")
        return answers

    async def _reject(self, change: ObjectChange, error: Exception) -> dict[UUID, Applied]:
        """Stores that a change cannot be stored, and why, which its object then shows."""
        log.error("the object %s/%s cannot be stored", change.ref.namespace, change.ref.name, exc_info=error)
        bare = replace(
            change,
            job=None,
            cancel=False,
            unaccepted=None,
            imported=None,
            confirmed=None,
            retry_requested=None,
            input_response=None,
            act=None,
            rejected=(Reason.INVALID_SPEC, clean(why(error))),
        )
        return await self._store([bare])

    async def respond(self, responses: Mapping[UUID, InputResponse]) -> dict[UUID, str]:
        """Stores people's answers from objects' annotations, each value once.

        Returns those handled now, by uid: empty where the answer was taken, else why not. An answer that cannot be
        stored is refused with the reason, and harms no other (H6).
        """

        async def store(some: Sequence[tuple[UUID, InputResponse]]) -> dict[UUID, str]:
            rows = [codec.response_row(uid, await self._fitting(uid, response)) for uid, response in some]
            answer = await self._db.fetch("select agentjobs.respond(%s::json)", (dumps(rows),))
            return {UUID(uid): refused or "" for uid, refused in answer[0][0] or ()}

        async def refuse(one: tuple[UUID, InputResponse], error: Exception) -> dict[UUID, str]:
            uid, response = one
            return await store([(uid, InputResponse(response.value, None, why(error)))])

        return merged(await each_alone(list(responses.items()), store, refuse)) if responses else {}

    async def _fitting(self, uid: UUID, response: InputResponse) -> InputResponse:
        """The response; without its answer where that does not fit the question's schema. The reason goes into an Event,
        so it does not quote what was answered."""
        if response.answer is None:
            return response
        problem = await answer_misfit(self._db, uid, response.answer, quoted=False)
        return InputResponse(response.value, None, problem) if problem else response

    async def outbox(
        self,
        limit: int,
        coalesce_seconds: float,
        exclude: Sequence[int] = (),
        closed: Sequence[str] = (),
        *,
        output: bool = False,
    ) -> list[OutboxEntry]:
        """Jobs whose objects show a stale status, the oldest mark first.

        :param coalesce_seconds: a job that is not final is listed only when it was marked that long ago.
        :param exclude: ids of jobs to leave out.
        :param closed: namespaces to leave out.
        :param output: with the end of what each run has printed, a little more than a status shows.
        """
        rows = await self._db.fetch(
            "select id, version, marked_at, job::text, (job->>'posted_run')::int"
            " from agentjobs.outbox_read(%s, %s, %s::bigint[], %s::text[], %s)",
            (limit, timedelta(seconds=coalesce_seconds), list(exclude), list(closed), output),
        )
        entries = []
        for id_, version, marked_at, text, posted_run in rows:
            try:
                entries.append(OutboxEntry(version, marked_at, posted_run, await self._job_view(text)))
            except QueueError:
                raise
            except Exception:  # its object alone gets no status
                log.exception("job %d cannot be read for its status", id_)
        return entries

    async def _job_view(self, text: str) -> JobView:
        """One row of ``view``. A payload that cannot be read, which a caller stored by SQL, is left out."""
        try:
            return replies.job_view(orjson.loads(text))
        except ValueError:
            rows = await self._db.fetch(
                "select json_object_agg(key, value)::text from json_each(%s::json) where key <> 'payload'",
                (text,),
            )
            return replies.job_view({**orjson.loads(rows[0][0]), "payload": None})

    async def projected(self, done: Sequence[tuple[int, int, int]]) -> list[int]:
        """Removes written statuses from the outbox; returns the ids that are still, or again, stale.

        :param done: (job id, version written, last run whose Events are posted); no other version is removed.
        """
        if not done:
            return []
        rows = await self._db.fetch(
            "select agentjobs.projected(%s::json)", (dumps([{"i": i, "v": v, "r": r} for i, v, r in done]),)
        )
        return list(rows[0][0] or ())

    async def unchanged(self, done: Sequence[tuple[int, int]]) -> int:
        """Removes (job id, version) from the outbox whose objects show this very status already."""
        rows = await self._db.fetch(
            "select agentjobs.unchanged(%s::bigint[], %s::bigint[])",
            ([i for i, _ in done], [v for _, v in done]),
        )
        return int(rows[0][0])

    async def drop_projection(self, ids: Sequence[int]) -> int:
        """Removes jobs from the outbox whose objects are gone, or have another uid by now."""
        rows = await self._db.fetch("select agentjobs.outbox_drop(%s::bigint[])", (list(ids),))
        return int(rows[0][0])

    async def touch(self, uids: Sequence[UUID]) -> int:
        """Marks objects as stale, since their status was wiped or is not to be trusted."""
        rows = await self._db.fetch("select agentjobs.touch_uids(%s::uuid[])", (list(uids),))
        return int(rows[0][0])

    async def known_objects(self, after_id: int, limit: int, cluster_id: str) -> list[KnownObject]:
        """Jobs of this cluster whose objects are not known to be gone, by id (H5)."""
        rows = await self._db.fetch(
            "select id, uid, namespace, name, accepted_at, final, generation, trimmed"
            " from agentjobs.mirrored(%s, %s, %s)",
            (after_id, limit, cluster_id),
        )
        return [KnownObject(*row) for row in rows]

    async def gone(self, uids: Sequence[UUID]) -> int:
        """Notes that these objects are gone, as a GET confirmed (H1)."""
        rows = await self._db.fetch("select agentjobs.gone(%s::uuid[])", (list(uids),))
        return int(rows[0][0])

    async def projections(
        self, uids: Sequence[UUID], *, output: bool = False
    ) -> tuple[int, list[tuple[bool, JobView]]]:
        """What these objects should show: the last revision given out, and each job that has an object, with whether
        its status is about to be written anyway. ``output``: as of ``outbox``."""
        rows = await self._db.fetch(
            "select given, stale, job from agentjobs.projections(%s::uuid[], %s)", (list(uids), output)
        )
        return rows[0][0], [(stale, replies.job_view(job)) for _, stale, job in rows if job is not None]

    async def reach_revision(self, revision: int) -> int:
        """Gives out revisions beyond this one from now on: objects show it already. Returns what was the last one."""
        rows = await self._db.fetch("select agentjobs.reach_revision(%s)", (revision,))
        return int(rows[0][0])

    async def adopt_end(self, uid: UUID, end: ImportedEnd) -> bool:
        """Records the end that the object of a job shows; False: it has ended, or a live worker runs it."""
        rows = await self._db.fetch(
            "select agentjobs.adopt_end(%s, %s::json, %s)", (uid, dumps(codec.end_row(end)), self._expiry)
        )
        return bool(rows[0][0])

    async def installation(self) -> UUID:
        """The identity of this database's installation: an object belongs to one."""
        rows = await self._db.fetch("select agentjobs.installation()", ())
        found: UUID = rows[0][0]
        return found

    async def release_objects(self, uids: Sequence[UUID]) -> int:
        """Cancels the jobs of objects that belong to another installation by now, and projects them no more;
        returns how many there were."""
        rows = await self._db.fetch("select agentjobs.release_objects(%s::uuid[])", (list(uids),))
        return int(rows[0][0])

    async def explain(self, limit: int = 1000) -> int:
        """Sets the reason of ready jobs (NoWorkers, QueuePaused, QueueFull); returns how many changed."""
        rows = await self._db.fetch("select agentjobs.explain(%s, %s)", (self._expiry, limit))
        return int(rows[0][0])


def merged(parts: Sequence[dict[UUID, Answer]]) -> dict[UUID, Answer]:
    """The answers of all parts."""
    return {uid: answer for part in parts for uid, answer in part.items()}
