"""A local run: it starts database and worker, runs the jobs, prints the answers, and stops what it
started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.cli.errors import FAILURE_EXIT_STATUS, INTERRUPTED_EXIT_STATUS, BadInput, Unavailable
from agentjobs.cli.local import agentfolder, report
from agentjobs.cli.local.interrupts import Interrupts
from agentjobs.cli.local.progress_table import NamedJob, ProgressTable
from agentjobs.cli.local.prompts import Prompts
from agentjobs.cli.local.run_request import RunRequest, top_package
from agentjobs.cli.local.saved_files import save_files
from agentjobs.cli.local.schedules import LocalSchedules, new_job
from agentjobs.cli.local.worker import LocalWorker
from agentjobs.cli.printable import printable
from agentjobs.cli.services import check_services, with_services
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.local.process import LocalServerError
from agentjobs.queue import migrate
from agentjobs.queue.errors import JobRejected, QueueError
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import FINAL_STATES, JobView, State
from agentjobs.transcript.errors import TranscriptError

T = TypeVar("T")

DATABASE = "agentjobs"
POLL_SECONDS = 0.1
CANCEL_SECONDS = 15.0
"""Time that running jobs have to end after Ctrl-C. Then their processes are killed with the worker."""


def run(
    request: RunRequest, *, data: Path | None, slots: int, verbose: bool, approve_all: bool = False
) -> int:
    """Runs the request. Returns the exit status."""
    try:
        status, interrupts = asyncio.run(_interruptible(request, data, slots, verbose, approve_all))
        return INTERRUPTED_EXIT_STATUS if interrupts.came else status
    except LocalServerError as error:
        raise Unavailable(str(error)) from None
    except QueueError as error:
        raise Unavailable(f"The embedded database: {error}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):  # the second Ctrl-C
        return INTERRUPTED_EXIT_STATUS


async def _interruptible(
    request: RunRequest, data: Path | None, slots: int, verbose: bool, approve_all: bool
) -> tuple[int, Interrupts]:
    interrupts = Interrupts()
    return await _run(request, data, slots, verbose, approve_all, interrupts.asked), interrupts


async def _run(
    request: RunRequest,
    data: Path | None,
    slots: int,
    verbose: bool,
    approve_all: bool,
    interrupted: asyncio.Event,
) -> int:
    environment, warnings = agentfolder.read_env(request.env_files)
    _check_services(request, environment)
    async with contextlib.AsyncExitStack() as stack:
        progress = stack.enter_context(ProgressTable(live=False if verbose else None))
        for warning in warnings:
            progress.say(warning)
        progress.stage("Starting Postgres")
        server = EmbeddedPostgres(data)
        start = partial(
            _start_worker, stack, request, server, slots=slots, verbose=verbose, environment=environment
        )
        await stack.enter_async_context(_running(server))
        # With a new database the worker starts at once: the database is ready before the worker has imported
        # ADK. With a kept one the worker must serve the queues of the jobs in it, so the database is read
        # first.
        worker = await start([]) if data is None else None
        progress.stage("Starting the worker")
        await _migrate(server, new=data is None)
        queue = await stack.enter_async_context(
            await Queue.open(server.dsn(DATABASE), application_name="agentjobs-local")
        )
        earlier = await _unfinished(queue) if data is not None else []
        if earlier:
            some = "job of an earlier run goes" if len(earlier) == 1 else "jobs of an earlier run go"
            progress.say(f"{len(earlier)} unfinished {some} on.")
        if interrupted.is_set() and not earlier:
            progress.say("Interrupted: nothing was run.")
            return INTERRUPTED_EXIT_STATUS
        worker = worker or await start(earlier)
        prompts = Prompts(queue, progress, interrupted, approve_all=approve_all)
        jobs = [new_job(job, sources=request.sources) for job in request.jobs]
        try:
            await queue.enqueue(jobs)
        except JobRejected as error:
            raise BadInput(str(error)) from None
        names = {view.uid: _name(view) for view in earlier} | {
            new.uid: job.metadata.name for new, job in zip(jobs, request.jobs, strict=True)
        }
        keep = partial(_save, server.dsn(DATABASE), request, progress)
        if request.schedules:
            return await _fire(queue, worker, request, names, progress, interrupted, prompts, keep)
        live = progress.live

        def ended(row: NamedJob) -> None:
            if not live:  # a live table shows it, and the words come below it
                _tell_failures([row], progress, interrupted=interrupted.is_set())

        rows = await _follow(queue, worker, names, progress, interrupted, prompts, ended=ended)
        progress.close()
        # printed before the servers are stopped, which takes a second
        if live:
            _tell_failures(rows, progress, interrupted=interrupted.is_set())
        report.write_answers(sys.stdout, rows, bare=request.bare)
        kept = await keep(rows)
        _tell_total(rows, progress)
        if interrupted.is_set():
            return INTERRUPTED_EXIT_STATUS
        return 0 if kept and all(row.job.state == State.COMPLETE for row in rows) else FAILURE_EXIT_STATUS


async def _fire(
    queue: Queue,
    worker: LocalWorker,
    request: RunRequest,
    names: dict[UUID, str],
    progress: ProgressTable,
    interrupted: asyncio.Event,
    prompts: Prompts,
    keep: Callable[[Sequence[NamedJob]], Awaitable[bool]],
) -> int:
    """Follows jobs and schedules until the last schedule is over, or a Ctrl-C.

    Prints each answer as it comes.
    """
    failed = False

    def ended(row: NamedJob) -> None:
        nonlocal failed
        failed = failed or row.job.state != State.COMPLETE
        _tell_failures([row], progress, interrupted=interrupted.is_set())
        report.write_answers(sys.stdout, [row], bare=False)

    def deleted(uid: UUID) -> None:
        names.pop(uid, None)

    schedules = LocalSchedules(
        queue, request.schedules, progress.say, names.__setitem__, deleted, request.sources
    )
    async with schedules:
        rows = await _follow(queue, worker, names, progress, interrupted, prompts, schedules, ended)
    progress.close()
    kept = await keep(rows)
    _tell_total(rows, progress)
    if interrupted.is_set():
        return INTERRUPTED_EXIT_STATUS
    return FAILURE_EXIT_STATUS if failed or not kept or schedules.missed else 0


async def _follow(
    queue: Queue,
    worker: LocalWorker,
    names: dict[UUID, str],
    progress: ProgressTable,
    interrupted: asyncio.Event,
    prompts: Prompts,
    schedules: LocalSchedules | None = None,
    ended: Callable[[NamedJob], None] = lambda row: None,
) -> list[NamedJob]:
    """Draws the jobs until each is finished and each schedule is over. After a Ctrl-C, cancels them all.

    :param names: name by uid of each job; schedules add and remove jobs meanwhile.
    :param ended: called with each job that has finished.
    """
    loop = asyncio.get_running_loop()
    views: dict[UUID, JobView] = {}
    give_up_at: float | None = None
    while True:
        # read before the jobs, since a schedule may create one in between
        over = schedules is None or schedules.over or give_up_at is not None
        open_ = [uid for uid in names if uid not in views or not views[uid].state.final]
        finished: list[NamedJob] = []
        for view in await asyncio.gather(*(queue.show(uid) for uid in open_)):
            if view is None or view.uid not in names:
                continue
            views[view.uid] = view
            if schedules is not None:
                schedules.saw(view)
            if view.state.final:
                finished.append(NamedJob(names[view.uid], view))
        rows = [NamedJob(names[uid], views[uid]) for uid in names if uid in views]
        lines = schedules.lines() if schedules is not None else []
        starting = not lines and not any(row.job.run for row in rows)
        progress.draw(rows, "Starting the worker" if starting else "", lines)
        for row in finished:
            ended(row)
        if (over and all(row.job.state.final for row in rows)) or (
            give_up_at is not None and loop.time() > give_up_at
        ):
            return rows
        worker.check()
        if schedules is not None:
            schedules.check()
        for row in rows:
            await prompts.settle(row)
        if interrupted.is_set() and give_up_at is None:
            progress.say("Interrupted: cancelling what is not finished …")
            give_up_at = loop.time() + CANCEL_SECONDS
            if schedules is not None:
                await schedules.stop()
            await asyncio.gather(*(queue.cancel(uid) for uid in open_))
        with contextlib.suppress(TimeoutError):
            pause = max(POLL_SECONDS, 0.005 * len(open_))
            if give_up_at is None:
                await asyncio.wait_for(interrupted.wait(), pause)
            else:
                await asyncio.sleep(pause)


def _tell_failures(rows: Sequence[NamedJob], progress: ProgressTable, *, interrupted: bool) -> None:
    for row in rows:
        if not (interrupted and row.job.state == State.CANCELLED):
            for line in report.failures([row]):
                progress.say(line)
        elif not progress.live:
            progress.say(f"{row.name}: {row.job.state}")


def _tell_total(rows: Sequence[NamedJob], progress: ProgressTable) -> None:
    if line := report.total(rows):
        progress.say(line)


async def _save(dsn: str, request: RunRequest, progress: ProgressTable, rows: Sequence[NamedJob]) -> bool:
    """Copies what the agents have saved, if that was asked for; else names it. False: it could not."""
    if request.save is None:
        for line in filter(None, map(report.kept_files, rows)):
            progress.say(line)
        return True
    try:
        saved = await save_files(dsn, rows, request.save, bare=request.bare)
    except (OSError, TranscriptError) as error:
        progress.say(f"--save {request.save}: {error}")
        return False
    for place in saved:
        progress.say(f"Saved {place}")
    elsewhere = [file for row in rows for file in row.job.files if file.address]
    for file in elsewhere:
        progress.say(f"Not copied: {printable(file.name)} is kept at {file.address}")
    if not saved and not elsewhere:
        progress.say("The agents have saved no files.")
    return True


def _check_services(request: RunRequest, environment: Mapping[str, str]) -> None:
    """Makes the services by URI once. Raises BadInput."""
    settings = AgentSettings(modules=request.modules, local=True)
    settings = with_services(settings, request.path, request.artifact_service_uri, request.memory_service_uri)
    check_services(settings, request.path, {**environment, **os.environ})


async def _start_worker(
    stack: contextlib.AsyncExitStack,
    request: RunRequest,
    server: EmbeddedPostgres,
    earlier: Sequence[JobView],
    *,
    slots: int,
    verbose: bool,
    environment: Mapping[str, str],
) -> LocalWorker:
    queues = [*request.queues, *(view.queue for view in earlier)]
    return await stack.enter_async_context(
        LocalWorker(
            dsn=server.dsn(DATABASE),
            queues=dict.fromkeys(queues, slots),
            modules=sorted({*request.modules, *_modules(earlier)}),
            models=sorted({*request.models, *_models(earlier)}),
            path=request.path,
            environment=environment,
            shows_log=verbose,
            services={
                "AGENTJOBS_ARTIFACT_SERVICE_URI": request.artifact_service_uri,
                "AGENTJOBS_MEMORY_SERVICE_URI": request.memory_service_uri,
            },
        )
    )


@contextlib.asynccontextmanager
async def _running(server: EmbeddedPostgres) -> AsyncIterator[None]:
    """The server, started for the block and stopped after it."""
    try:
        # Not cut short by a Ctrl-C: nothing can interrupt the thread, and the server must be started to be
        # stopped.
        await _finish(asyncio.to_thread(server.start))
        yield
    finally:
        await _finish(asyncio.to_thread(server.stop))


async def _migrate(server: EmbeddedPostgres, *, new: bool) -> None:
    """Brings the database to the newest schema.

    A new database gets its name only with the whole schema: a worker that saw half of it would drain (H30).
    """
    if not new:
        await migrate.up(await asyncio.to_thread(server.create_database, DATABASE))
        return
    await migrate.up(await asyncio.to_thread(server.create_database, f"{DATABASE}_new"))
    await asyncio.to_thread(server.rename_database, f"{DATABASE}_new", DATABASE)


async def _finish(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _unfinished(queue: Queue) -> list[JobView]:
    found: list[JobView] = []
    unfinished = JobFilter(states=frozenset(State) - FINAL_STATES)
    after: str | None = None
    while True:
        page = await queue.jobs(unfinished, after=after, limit=200)
        found += [view for job in page.jobs if (view := await queue.show(job.uid)) is not None]
        after = page.next
        if after is None:
            return found[::-1]


def _modules(views: Sequence[JobView]) -> set[str]:
    return {top_package(m) for view in views if (m := _agent(view).get("module"))}


def _models(views: Sequence[JobView]) -> set[str]:
    return {i["model"] for view in views if (i := _agent(view).get("inline"))}


def _agent(view: JobView) -> dict[str, Any]:
    agent = (view.payload or {}).get("agent")
    return agent if isinstance(agent, dict) else {}


def _name(view: JobView) -> str:
    return str((view.payload or {}).get("name") or view.uid)
