"""What the API's handlers read and do, as the API's objects: a face over the queue and the transcripts."""

from __future__ import annotations

from uuid import UUID

from agentjobs.queue.errors import JobRejected
from agentjobs.queue.job_list import JobFilter, JobPage
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView
from agentjobs.web.convert import model_of, run_of_row, run_of_view, worker_of
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.meta import ListMetadata
from agentjobs.web.objects.runs import AgentRun, AgentRunList
from agentjobs.web.objects.stats import Model, ModelList, Worker, WorkerList
from agentjobs.web.status import ApiError, not_found
from agentjobs.web.watching import Seen, Shared

WATCHED = 200
"""Jobs of a list's top that a watch looks at."""


class Runs:
    """Each method raises QueueUnavailable where the database is away."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._shared = Shared()

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
        page: JobPage = await self._shared.read(
            ("jobs", wanted), lambda: self._queue.jobs(wanted, limit=WATCHED)
        )
        rows = page.jobs
        lowest = min(row.id for row in rows) if page.next is not None and rows else 0
        return Seen({str(row.uid): (row.id, run_of_row(row)) for row in rows}, lowest)

    async def count(self, wanted: JobFilter) -> int:
        """How many jobs the filter finds, exactly."""
        return await self._queue.count_jobs(wanted)

    async def view(self, namespace: str, name: str, uid: str | None = None) -> JobView:
        """The job of that name, the newest unless ``uid`` picks another. Raises ApiError (404)."""
        found = await self._uid(namespace, name, uid)
        view = None if found is None else await self._queue.show(found)
        if view is None or _place(view) != (namespace, name):
            raise not_found("agentruns.runs.agentjobs.dev", name)
        return view

    async def run(self, namespace: str, name: str, uid: str | None = None) -> AgentRun:
        """The whole job as an object."""
        return run_of_view(await self.view(namespace, name, uid))

    async def named(self, namespace: str, name: str) -> Seen[AgentRun]:
        """The one job of that name, for a watch."""
        try:
            view = await self._shared.read((namespace, name), lambda: self.view(namespace, name))
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

    async def workers(self) -> WorkerList:
        """The live workers."""
        found = [worker_of(info) for info in await self._queue.workers() if info.queues]
        return WorkerList(items=sorted(found, key=_by_name))

    async def models(self) -> ModelList:
        """The models with a breaker."""
        return ModelList(
            items=sorted((model_of(one) for one in await self._queue.model_health()), key=_by_name)
        )


def _place(view: JobView) -> tuple[str, str]:
    return (NO_OBJECT, str(view.uid)) if view.ref is None else (view.ref.namespace, view.ref.name)


def _by_name(item: Worker | Model) -> str:
    return item.metadata.name
