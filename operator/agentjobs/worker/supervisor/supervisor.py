"""The supervisor: claims jobs, hands each to an executor, and acks its run.

It never imports google-adk, so it is small, starts at once, and shares its process with no agent's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.open_files import allow_open_files
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Ack, AckAnswer, ClaimedJob, WorkerInfo
from agentjobs.queue.release import RELEASE
from agentjobs.telemetry import loops, signals
from agentjobs.telemetry.job_ends import JobEnds
from agentjobs.telemetry.log import tell
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.telemetry.tracing import open_tracing
from agentjobs.worker.process import linux
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.pool import ExecutorPool, ExecutorSettings
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor import acks, extensions, reports
from agentjobs.worker.supervisor.config import WorkerConfig, executor_environment
from agentjobs.worker.supervisor.dispatch import Dispatcher
from agentjobs.worker.supervisor.drain import Drain
from agentjobs.worker.supervisor.health import Answer, HealthServer
from agentjobs.worker.supervisor.heartbeat import Heartbeat
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.metrics import WorkerMetrics
from agentjobs.worker.supervisor.outage import Outage
from agentjobs.worker.supervisor.payload import PayloadInvalid, PayloadTooNew, attempt_spec
from agentjobs.worker.supervisor.progress import ProgressReport
from agentjobs.worker.supervisor.runs import Run, Runs
from agentjobs.worker.supervisor.ticking import Listener, Pruner, Ticker
from agentjobs.worker.supervisor.traces import Traces, traceparent_of

log = logging.getLogger(__name__)

RELEASES = (RELEASE, RELEASE + 1)
"""The oldest and the newest release of the database's functions that this worker works with: its own and the
next (H30)."""
_UNREGISTER_SECONDS = 3.0
_OUTAGE_SECONDS = 5.0
"""A loop that fails for less time is no reason to be unready."""
_STUCK_SECONDS = 120.0
"""Each try of the heartbeat is bounded; one that takes longer will never end."""
_OPEN_FILES = 256
"""Open files of a worker without runs: connections, the template, its modules' own."""
_OPEN_FILES_OF_A_RUN = 4
"""Open files of one run, in the supervisor (socket, pipe, pidfd) or in the template; and one to spare."""


async def run_worker(config: WorkerConfig) -> int:
    """Runs a worker until it is drained. Returns the process's exit status: 0 drained, 1 broken."""
    return await Worker(config).run()


def main(config: WorkerConfig) -> int:
    """Calls ``run_worker`` on a loop of its own."""
    import uvloop

    status: int = uvloop.run(run_worker(config))
    return status


class Worker:
    """One worker: its loops, its runs and its pool of executors. Must be made inside a running event loop."""

    def __init__(self, config: WorkerConfig, *, queue: type[Queue] = Queue) -> None:
        """``queue``: tests pass one that loses replies."""
        self.config = config
        self._queue_type = queue
        self.identity = Identity()
        self.runs = Runs(config.queues)
        self.metrics = WorkerMetrics(config.queues)
        self.executors = ExecutorPool(
            ExecutorSettings(
                agents=config.settings,
                standbys=config.standbys,
                stop_grace_seconds=config.stop_grace_seconds,
                lease_grace_seconds=config.lease_grace_seconds,
                memory_limit_mib=config.memory_limit_mib,
                path=config.path,
                environment=executor_environment(os.environ, config),
            ),
            on_ready=self._can_start,
        )
        pages: dict[str, Callable[[], Answer]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        self.health = HealthServer(config.health_host, config.health_port, pages)
        self.tracing = open_tracing(os.environ, service="agentjobs-worker", instance=config.name)
        self.traces = Traces(self.tracing, config.name)
        self._drain = Drain(self.identity, self.runs, seconds=config.drain_seconds)
        self._random = random.Random()
        self._tasks: set[asyncio.Task[None]] = set()
        self._outages: tuple[Outage, ...] = ()
        self._loops: list[LoopHealth] = []
        """Of the loops that are served."""

    def drain(self, why: str) -> None:
        """The first call begins the drain, the second stops the runs now, the third kills them."""
        self._drain.ask(why)

    def problems(self) -> list[str]:
        """The reasons why this worker is not ready; empty: it is."""
        found = []
        if not self.executors.ready:
            found.append("the template is not warm yet")
        if not self.identity.registered:
            found.append("not registered with the queue: the database has not been reached yet")
        elif (age := self.identity.beat_age_seconds()) > self.config.expiry_seconds:
            found.append(f"the last heartbeat is {age:.0f} s old")
        found += [
            f"the {outage.loop} has failed for {outage.lasted_seconds():.0f} s: {outage.problem}"
            for outage in self._outages
            if outage.lasted_seconds() > _OUTAGE_SECONDS
        ]
        if self.identity.draining:
            found.append("draining")
        return found + loops.problems((*self._loops, *self.executors.loops))

    def stuck(self) -> str:
        """What only a restart could mend; empty: nothing."""
        since = time.monotonic() - self.identity.turned_at
        if since > _STUCK_SECONDS + self.config.heartbeat_seconds:
            return f"the heartbeat has not tried for {since:.0f} s"
        # by then the lease's grace is over, and no run is left that a restart could cost
        refused = max((outage.login_refused_seconds() for outage in self._outages), default=0.0)
        longest = (
            self.config.expiry_seconds + self.config.lease_grace_seconds + self.config.stop_grace_seconds
        )
        if isinstance(self.config.dsn, str) and refused > longest:
            return f"the database has refused the login for {refused:.0f} s, and the URL comes from the environment"
        return ""

    async def run(self) -> int:
        config = self.config
        if config.own_process:
            linux.forbid_dumping()
            self._handle_signals()
            needed = _OPEN_FILES + _OPEN_FILES_OF_A_RUN * (sum(config.queues.values()) + config.standbys)
            if (allowed := allow_open_files(needed)) < needed:
                log.critical(
                    "the worker does not start: its %d slots need %d open files, and its hard limit is %d: raise it"
                    " (LimitNOFILE, ulimit -n), or serve fewer slots",
                    sum(config.queues.values()),
                    needed,
                    allowed,
                )
                return 1
        try:
            extensions.load(config.signal_modules, config.path)
        except extensions.SignalModuleFailed as error:
            log.critical("the worker does not start: %s", error, exc_info=error.__cause__)
            return 1
        tell(log, "worker.start", worker=config.name, queues=dict(config.queues), pid=os.getpid())
        queue = await self._queue_type.open(
            config.dsn,
            direct_dsn=config.direct_dsn,
            application_name="agentjobs-worker",
            expiry_seconds=config.expiry_seconds,
        )
        try:
            async with self.health:
                return await self._serve(queue)
        finally:
            await queue.close()
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)
            signals.flush()

    async def _serve(self, queue: Queue) -> int:
        config, identity = self.config, self.identity
        ends = JobEnds(self.tracing, queue.timelines, unavailable=QueueError, only=lambda job: job.acked)
        self.traces.job_acked = ends.put
        parts: list[Dispatcher | Heartbeat | ProgressReport | Ticker | Pruner | Listener] = [
            Dispatcher(
                queue,
                identity,
                self.runs,
                poll_seconds=config.poll_seconds,
                ready=lambda: self.executors.ready,
                start=self._start,
                acked=self._acked,
                stepped=self._drain.changed.set,
                metrics=self.metrics,
            ),
            Heartbeat(
                queue,
                identity,
                self.runs,
                self.executors.lease,
                seconds=config.heartbeat_seconds,
                expiry_seconds=config.expiry_seconds,
                info=self._info,
                ready=lambda: self.executors.ready,
                lost=self._stop_all_lost,
                releases=RELEASES,
                drain=self._drain_once,
            ),
            Ticker(queue, identity, seconds=config.tick_seconds),
            ProgressReport(queue, identity, self.runs),
            Pruner(queue),
            Listener(queue, identity, self.runs, config.queues, seconds=config.tick_seconds),
        ]
        dispatcher, heartbeat, ticker, *others = (part.outage for part in parts)
        self._outages = (dispatcher, heartbeat, ticker)
        self._loops = [*(outage.health for outage in others), ends.health]
        tasks = [asyncio.ensure_future(part.run()) for part in (*parts, ends)]
        draining = asyncio.ensure_future(self._drain.run())
        reached: asyncio.Task[Any] = asyncio.ensure_future(identity.reached.wait())
        everything: list[asyncio.Task[Any]] = [reached, draining, *tasks]
        try:
            # The template connects to the session store while it warms, so it starts when the database is
            # there.
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            async with self.executors if reached.done() else contextlib.nullcontext():
                tasks += self.executors.keepers
                await asyncio.wait([draining, *tasks], return_when=asyncio.FIRST_COMPLETED)
                broken = [task for task in tasks if task.done()]
            for task in broken:
                log.critical("a loop of the worker ended", exc_info=task.exception())
            return 1 if broken else 0
        finally:
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)
            await ends.flush()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_UNREGISTER_SECONDS):
                    await queue.unregister(identity.uuid)

    # one run

    def _can_start(self) -> None:
        """The template is warm: claim, and look out for jobs from now on."""
        self.identity.work_wanted.set()
        self.identity.beat_wanted.set()

    def _start(self, job: ClaimedJob, worker: UUID) -> None:
        run = Run(job, worker)
        self.runs.add(run)
        task = asyncio.ensure_future(self._run(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: Run) -> None:
        self.traces.begin(run)
        try:
            ack = await self._ack_of(run)
        except Exception as error:  # a defect of ours must cost neither the slot nor the job
            log.exception("the supervisor failed in a run of job %s", run.job.uid)
            run.ended = Ended(never_ran=f"the worker failed: {type(error).__name__}: {error}")
            ack = acks.ack_of(run.job, run.ended, self._random)
        self.traces.ended(run)
        if ack is not None and run.traced is not None:
            ack = replace(ack, trace_id=run.traced.trace_id)
        self.runs.end(run, ack)
        self.identity.work_wanted.set()
        self._drain.changed.set()

    async def _ack_of(self, run: Run) -> Ack | None:
        try:
            spec = attempt_spec(run.job)
        except PayloadTooNew as error:
            return acks.too_new(run.job, str(error), self._random)
        except PayloadInvalid as error:
            return acks.invalid(run.job, str(error))
        if await _first(self.executors.wait_ready(), run.stop_wanted.wait()):
            spec = replace(spec, traceparent=traceparent_of(run))
            run.executor = await self.executors.spawn(
                spec, partial(self._saw, run), partial(self.traces.saw, run), self.runs.progressed.set
            )
            if run.stop_asked is not None:
                run.executor.stop(run.stop_asked)
            reports.started(run)
            run.ended = await run.executor.ended()
        else:
            run.ended = Ended(why=run.stop_asked)
        return acks.ack_of(
            run.job,
            run.ended,
            self._random,
            model_health=self.config.model_health,
            where=run.where,
            pool=self.config.pool,
        )

    def _saw(self, run: Run, event: AgentEvent) -> None:
        run.saw(event)
        self.runs.progressed.set()
        self.metrics.saw(run, event)
        reports.event(run, event)

    def _acked(self, run: Run, answer: AckAnswer) -> None:
        reports.acked(run, answer)
        self.traces.acked(run, answer)
        self.metrics.acked(run, answer)
        self._drain.changed.set()

    async def _stop_all_lost(self) -> None:
        """Kills every executor, and returns when all are gone."""
        for run in list(self.runs.running.values()):
            run.stop(Why.LOST)
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    # the process

    def _info(self) -> WorkerInfo:
        config = self.config
        name = config.name or socket.gethostname()
        return WorkerInfo(self.identity.uuid, name, config.queues, config.version, config.pool)

    def _handle_signals(self) -> None:
        """Lets SIGTERM and SIGINT drain. PID 1 of a container has no default handlers."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain, number.name)

    def _drain_once(self, why: str) -> None:
        if not self.identity.draining:
            self.drain(why)

    def _readyz(self) -> Answer:
        problems = self.problems()
        warnings = "".join(f"warning: {warning}\n" for warning in self.executors.warnings)
        return (503, "\n".join(problems) + "\n") if problems else (200, "ready\n" + warnings)

    def _healthz(self) -> Answer:
        stuck = self.stuck()
        return (503, stuck + "\n") if stuck else (200, "ok\n")

    def _metrics(self) -> Answer:
        ready, templates = not self.problems(), self.executors.templates
        return 200, self.metrics.page(self.identity, self.runs, ready=ready, templates=templates)


async def _first(wanted: Coroutine[Any, Any, object], instead: Coroutine[Any, Any, object]) -> bool:
    """Waits until one of the two has ended. True: ``wanted`` has, and ``instead`` has not."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(instead)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].done() and not tasks[1].done()
    finally:
        for task in tasks:
            task.cancel()
