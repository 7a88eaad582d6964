"""What the API's handlers read and do, as the API's objects: a face over the queue and the transcripts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from agentjobs.queue.board import Board, BoardCounts, SeriesKey
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AttemptRecord, JobView, RunOutput, State
from agentjobs.transcript.transcripts import Transcripts
from agentjobs.web.acts import Acts, EraseSessions
from agentjobs.web.board_objects import model_of, place_of, queues_of, workers_of
from agentjobs.web.conversations import Conversations
from agentjobs.web.convert import audit_of, run_of_row, run_of_view
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.acts import RunAuditList
from agentjobs.web.objects.meta import ListMetadata
from agentjobs.web.objects.runs import AgentRun, AgentRunList
from agentjobs.web.objects.schedules import ScheduleStatList
from agentjobs.web.objects.series import RunSeries
from agentjobs.web.objects.stats import ModelList, QueueStatList, WorkerList
from agentjobs.web.schedule_objects import schedule_of
from agentjobs.web.series import series_of
from agentjobs.web.status import ApiError, not_found
from agentjobs.web.tops import Tops
from agentjobs.web.watching import Seen, Shared

WATCHED = 200
"""Jobs of a list's top that a watch looks at."""
LOOKS = 2
"""Reads of all streams at once: fewer than the queue has connections, so that no request waits behind a thousand streams."""
BOARD_SECONDS = 2.0
"""How old a board's numbers may be: each count reads all jobs that wait, for all readers and namespaces at once."""


class Runs:
    """Each method raises QueueUnavailable where the database is away."""

    def __init__(
        self, queue: Queue, transcripts: Transcripts, erase_sessions: EraseSessions | None = None
    ) -> None:
        self._queue = queue
        self.acts = Acts(queue, erase_sessions)
        self.conversations = Conversations(transcripts)
        self.artifacts = transcripts.artifacts
        self._shared = Shared(at_once=LOOKS)
        self._boards = Shared(BOARD_SECONDS)
        self._tops = Tops()

    async def page(self, wanted: JobFilter, after: str | None, limit: int) -> AgentRunList:
        """One page of jobs, the newest first. Raises ApiError (410) for a ``continue`` that is none."""
        try:
            page = await self._queue.jobs(wanted, after=after, limit=limit)
        except JobRejected as error:
            raise ApiError(410, f"continue: {error}; list again without it") from None
        runs = [run_of_row(row) for row in page.jobs]
        newest = max((int(run.metadata.resource_version or 0) for run in runs), default=1)
        return AgentRunList(
            metadata=ListMetadata(resource_version=str(newest), continue_=page.next), items=runs
        )

    async def top(self, wanted: JobFilter) -> Seen[AgentRun]:
        """The newest jobs, for a watch."""
        return await self._shared.read(("jobs", wanted), lambda: self._read_top(wanted))

    async def _read_top(self, wanted: JobFilter) -> Seen[AgentRun]:
        page = await self._queue.jobs(wanted, limit=WATCHED)
        return self._tops.seen(wanted, page)

    async def count(self, wanted: JobFilter) -> int:
        """How many jobs the filter finds, exactly."""
        return await self._queue.count_jobs(wanted)

    async def view(self, namespace: str, name: str, uid: str | None = None, *, runs: bool = True) -> JobView:
        """The job of that name, the newest unless ``uid`` picks another; without ``runs`` it comes without its ended runs.
        Raises ApiError (404)."""
        found = await self._uid(namespace, name, uid)
        view = None if found is None else await self._queue.show(found, runs=runs)
        if view is None or _place(view) != (namespace, name):
            raise not_found("agentruns.runs.agentjobs.dev", name)
        return view

    async def lately(self, uid: UUID) -> State:
        """The job's state a moment ago, read once for all who follow the job. A job that is gone has ended as Cancelled."""
        view = await self.recent(uid)
        return State.CANCELLED if view is None else view.state

    async def recent(self, uid: UUID) -> JobView | None:
        """The job a moment ago without its ended runs, read once for all who follow it. None: it is gone."""
        return await self._shared.read(("recent", uid), lambda: self._queue.show(uid, runs=False))

    async def ended_runs(self, view: JobView) -> Sequence[AttemptRecord]:
        """The job's ended runs, read once for all who follow it, after ``view`` was."""
        key = ("ended", view.uid, view.run, view.state)
        whole = await self._shared.read(key, lambda: self._queue.show(view.uid))
        return () if whole is None else whole.attempts_log

    async def output(self, uid: UUID, seen: datetime | None) -> RunOutput | None:
        """What the job's run has printed lately, read once for all who follow it. None: it does not run."""
        return await self._shared.read(("output", uid, seen), lambda: self._queue.want_output(uid, seen=seen))

    async def run(self, namespace: str, name: str, uid: str | None = None) -> AgentRun:
        """The whole job as an object."""
        return run_of_view(await self.view(namespace, name, uid, runs=False))

    async def named(self, namespace: str, name: str) -> Seen[AgentRun]:
        """The one job of that name, for a watch."""
        try:
            view = await self._shared.read(
                ("named", namespace, name), lambda: self.view(namespace, name, runs=False)
            )
        except ApiError:
            return Seen({})
        return Seen({str(view.uid): (view.id, run_of_view(view))})

    async def _uid(self, namespace: str, name: str, uid: str | None) -> UUID | None:
        text = uid if uid is not None else name if namespace == NO_OBJECT else None
        if text is None:
            return await self._queue.job_at(namespace, name)
        try:
            return UUID(text)
        except ValueError:
            return None

    async def board(self, namespace: str | None) -> tuple[Board, datetime]:
        """The board of one namespace of a path (None: of all), and when it was counted: ``BOARD_SECONDS`` ago at most."""
        counts, moment = await self._boards.read("board", self._counted)
        return counts.board(place_of(namespace)), moment

    async def _counted(self) -> tuple[BoardCounts, datetime]:
        return await self._queue.board_counts(), datetime.now(UTC)

    async def queues(self, namespace: str | None) -> QueueStatList:
        """The queues: all, or those in which the namespace has unfinished jobs."""
        board, _ = await self.board(namespace)
        return QueueStatList(items=queues_of(board, namespace))

    async def workers(self, namespace: str | None) -> WorkerList:
        """The live workers: all, or those that serve a queue of the namespace."""
        board, moment = await self.board(namespace)
        return WorkerList(items=workers_of(board, namespace, moment))

    async def models(self, namespace: str | None) -> ModelList:
        """The models with a breaker: all, or those that unfinished jobs of the namespace use."""
        found = await self._shared.read("models", self._queue.model_health)
        if (place := place_of(namespace)) is not None:
            used = await self._boards.read(("models", place), partial(self._queue.models_of, place))
            found = [one for one in found if (one.pool, one.model) in used]
        return ModelList(
            items=sorted((model_of(one, namespace) for one in found), key=lambda one: one.metadata.name)
        )

    async def series(
        self, namespace: str | None, by: SeriesKey, since: datetime, until: datetime, step_seconds: int
    ) -> RunSeries:
        """What has ended, by the step; read once for all who ask for the same within ``BOARD_SECONDS``."""
        place = place_of(namespace)
        step = timedelta(seconds=step_seconds)
        minutes = await self._boards.read(
            ("series", place, by, since, step),
            lambda: self._queue.series(since, until, namespace=place, by=by, step=step),
        )
        return series_of(minutes, by, since, until, step_seconds)

    async def schedules(
        self, namespace: str | None, after: tuple[str, str] | None, limit: int, accepted: bool | None
    ) -> ScheduleStatList:
        """A page of schedules with their next times."""
        found = await self._queue.listed_schedules(place_of(namespace), after, limit, accepted=accepted)
        more = f"{found[-1].namespace}/{found[-1].name}" if len(found) == limit else None
        now = datetime.now(UTC)
        items = []
        for one in found:
            items.append(schedule_of(one, now))
            await asyncio.sleep(0)  # rare times, such as leap days, are milliseconds of arithmetic each
        return ScheduleStatList(metadata=ListMetadata(continue_=more), items=items)

    async def audits(
        self, namespace: str | None, *, queue: str | None, uid: UUID | None, before: int | None, limit: int
    ) -> RunAuditList:
        """A page of acts, the newest first."""
        rows = await self._queue.audit(place_of(namespace), queue, uid, before, limit)
        more = str(rows[-1].id) if len(rows) == limit else None
        return RunAuditList(metadata=ListMetadata(continue_=more), items=[audit_of(row) for row in rows])


def _place(view: JobView) -> tuple[str, str]:
    return (NO_OBJECT, str(view.uid)) if view.ref is None else (view.ref.namespace, view.ref.name)
