"""The status writer of AgentJobs: reads the outbox, writes statuses, and removes exactly the versions that it
wrote.

What fails stays in the outbox. Final states are written at once, others coalesce, and nothing is written
where nothing changed (invariant 10). Events go to the recorder once the status is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID
from weakref import WeakValueDictionary

from agentjobs.controller.agentjob.events import events_of, posted_run_of, status_reduced
from agentjobs.controller.agentjob.status import minimal_status, status_of
from agentjobs.controller.agentjob.status_cache import StatusCache, WrittenStatus
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Act, Call, Concerns
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.writes import write_status
from agentjobs.controller.kit.backoff import WHO, Backoff, worth_a_line
from agentjobs.controller.kit.event_recorder import EventRecorder
from agentjobs.controller.kit.pace import Pace
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import STATUS_REDUCED, STATUS_SKIPPED, TASK_FAILURES
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ObjectRef, OutboxEntry, State
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

IN_HAND = 256
"""Jobs of one namespace whose status is being written, or is about to be."""
MOST_IN_HAND = 8 * IN_HAND
"""Of all namespaces."""
READ_GAP_SECONDS = 0.04
"""Between two reads of the outbox, while there is always something in it."""
READ_SHARE = 0.25
"""Of the time, reading the outbox takes at most: with many jobs of a namespace that refuses, a read has to pass
them by."""
CONFIRM_SECONDS = 0.05
"""Statuses that were written within it are confirmed together; until then the outbox is not read for them."""
EVENT_SECONDS = 1.0
"""A status that is written is confirmed once its Events had their first answer, at most so long after."""
OVERLOADED_SECONDS = 30.0
"""While many children of schedules are created, a status that is not final waits this long at most."""


@dataclass(slots=True)
class StatusWriter:
    """One per leading operator; two do no harm, as each write tests the uid and the revision (H2, H3)."""

    queue: Queue
    api: ApiServer
    recorder: EventRecorder
    coalesce_seconds: float = 1.0
    poll_seconds: float = 5.0
    progress_seconds: float = 60.0
    parallel: int = 16
    """Requests under way at once, for each namespace: one that gives no answer holds up no other."""
    output: bool = False
    """Whether statuses show the end of what the last run printed."""
    on_ended: Callable[[UUID], None] = lambda uid: None
    """Called when an object shows that its job has ended."""
    is_elsewhere: Callable[[str], bool] = lambda uid: False
    """Whether an object, by its uid, belongs to another installation by now."""
    overloaded: Callable[[], bool] = lambda: False
    """Whether something more urgent asks much of the API server: then only final statuses are written
    soon."""
    reading: LoopHealth = field(default_factory=lambda: LoopHealth("statuses"))
    confirming: LoopHealth = field(default_factory=lambda: LoopHealth("confirmation of statuses"))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _confirming: set[int] = field(default_factory=set)
    _busy: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _slots: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _done: list[tuple[int, int, int]] = field(default_factory=list)
    _same: list[tuple[int, int]] = field(default_factory=list)
    _drop: list[int] = field(default_factory=list)
    _stale: list[UUID] = field(default_factory=list)
    _backoff: Backoff[int] = field(default_factory=lambda: Backoff(IN_HAND))
    _asked: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    """Namespace and job id, as the back-off has them, of each object that is being written, or waits."""
    _gone: set[UUID] = field(default_factory=set)
    """Objects that have gone since the outbox was read last: what is read meanwhile may still have them."""
    _closed: list[str] = field(default_factory=list)
    """Namespaces that the last read of the outbox left out."""
    _shown: StatusCache = field(default_factory=StatusCache)
    _fresh_until: float = 0.0
    _reads: Pace = field(default_factory=lambda: Pace(READ_GAP_SECONDS, READ_SHARE))

    def wake(self) -> None:
        """Reads the outbox soon: a job was marked stale."""
        self._wake.set()

    def wrote(self, uid: UUID, status: JsonObject) -> bool:
        """Whether this operator wrote exactly this status, as the last one."""
        return self._shown.shows(uid, status)

    def forget(self, uids: Iterable[UUID]) -> None:
        """Forgets what was written to these objects: their status was wiped."""
        self._shown.forget(uids)

    def gone(self, uids: Iterable[UUID]) -> None:
        """Forgets objects that are deleted, or belong to another installation, once the outbox has them no more.
        What is being written to them ends without a trace."""
        for uid in uids:
            self._gone.add(uid)
            self._shown.forget([uid])
            if (asked := self._asked.pop(uid, None)) is not None:
                self._backoff.forget(*asked)

    def found_running(self, uids: Iterable[UUID]) -> None:
        """Takes over the refresh of progress for running jobs, whose status another operator wrote."""
        self._shown.adopt(uids, time.monotonic())

    def written_elsewhere(self, uids: Iterable[UUID]) -> None:
        """Forgets what was written to running jobs, and writes their progress anew in its time."""
        uids = list(uids)
        self.forget(uids)
        self.found_running(uids)

    async def run(self) -> None:
        """Writes until cancelled; then confirms what was written, and ends."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self._read_on(), self._confirm_on(), self._refresh_progress()):
                    group.create_task(part)
        finally:
            for task in self._busy.values():
                task.cancel()
            with contextlib.suppress(QueueError, TimeoutError):
                async with asyncio.timeout(2):
                    await self._confirm()

    # the outbox ------------------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        while True:
            try:
                with self.reading.attempt():
                    await self._read()
            except QueueError as error:
                log.warning("statuses wait for the database: %s", error)
                await asyncio.sleep(random.uniform(0.5, 1.5))
            await self._sleep()

    async def _sleep(self) -> None:
        """Sleeps until a job is marked stale; for a while after that also until a coalesced status is due."""
        await asyncio.sleep(self._backoff.everybody_seconds(time.monotonic()))
        now = time.monotonic()
        timeout = self.coalesce_seconds / 2 if now < self._fresh_until else self.poll_seconds
        timeout = min(timeout, self._backoff.next_seconds(now, timeout))
        if await wait_for(self._wake, timeout + 0.001):
            await asyncio.sleep(self._reads.seconds(time.monotonic()))
            self._fresh_until = time.monotonic() + 2 * self.coalesce_seconds

    async def _read(self) -> None:
        """Reads stale jobs from the outbox, and starts writing their statuses."""
        now = time.monotonic()
        ended = {*(i for i, _, _ in self._done), *(i for i, _ in self._same), *self._drop, *self._confirming}
        room = min(self._backoff.room(now), MOST_IN_HAND - len(self._busy) - len(ended))
        # also where nothing is read: whoever wakes again and again must not make it spin
        self._reads.began(now)
        if self._backoff.everybody_seconds(now) or room <= 0:
            return
        self._wake.clear()
        held = list({*self._busy, *ended, *self._backoff.delayed(now)})
        coalesce = OVERLOADED_SECONDS if self.overloaded() else self.coalesce_seconds
        self._closed = self._backoff.closed(now)
        self._gone.clear()
        found = await self.queue.outbox(room, coalesce, exclude=held, closed=self._closed, output=self.output)
        self._reads.took(time.monotonic() - now)
        for entry in found:
            key, namespace = entry.job.id, _namespace_of(entry)
            if entry.job.uid not in self._gone and self._backoff.may_start(namespace, key, now):
                self._backoff.start(namespace, key, math.inf)
                self._asked[entry.job.uid] = (namespace, key)
                self._busy[key] = asyncio.create_task(self._project(entry))
        if len(found) == room:
            self._wake.set()  # there may be more

    async def _confirm_on(self) -> None:
        while True:
            await self._ended.wait()
            await asyncio.sleep(CONFIRM_SECONDS)
            self._ended.clear()
            try:
                with self.confirming.attempt():
                    await self._confirm()
            except QueueError as error:
                log.warning(
                    "statuses that were written are confirmed later: the database does not answer: %s", error
                )
                self._ended.set()
                await asyncio.sleep(random.uniform(0.5, 1.5))

    async def _confirm(self) -> None:
        """Removes from the outbox exactly the versions that were written. Raises QueueError: all is kept."""
        done, self._done = self._done, []
        same, self._same = self._same, []
        drop, self._drop = self._drop, []
        stale, self._stale = self._stale, []
        self._confirming = {*(i for i, _, _ in done), *(i for i, _ in same), *drop}
        try:
            if done and await self.queue.projected(done):
                self._wake.set()  # something newer is there already
            if same and await self.queue.unchanged(same) < len(same):
                self._wake.set()
            if drop:
                await self.queue.drop_projection(drop)
            if stale:
                await self.queue.touch(stale)
        except QueueError:
            self._done, self._same = done + self._done, same + self._same
            self._drop, self._stale = drop + self._drop, stale + self._stale
            raise
        finally:
            self._confirming = set()

    # writing ---------------------------------------------------------------------------------------------

    async def _project(self, entry: OutboxEntry) -> None:
        """Writes one job's status, then hands its Events to the recorder, and has both confirmed.

        An Event that is refused is the recorder's concern alone: the status is written, and stays confirmed.
        """
        key, namespace = entry.job.id, _namespace_of(entry)
        slots = self._slots.setdefault(namespace, asyncio.Semaphore(self.parallel))
        try:
            async with slots:
                now = time.monotonic()
                self._backoff.start(namespace, key, now)
                goes_on = self._backoff.goes_on(namespace, now)
                written = goes_on and await self._write(entry)
            if written:
                await self.recorder.record_and_wait(events_of(entry), EVENT_SECONDS)
                self._done.append((key, entry.version, posted_run_of(entry)))
        except ApiUnavailable as error:
            self._refused(entry, error)
        except Exception:
            # a bug in one job's projection must not stop the others
            log.exception("a status could not be projected", extra={"job_id": key})
            self.api.meter.add(TASK_FAILURES, part="projection")
            if entry.job.uid in self._asked:
                self._backoff.postpone(namespace, key, time.monotonic())
        finally:
            self._busy.pop(key, None)
            self._backoff.ended(namespace, key)
            if not self._backoff.knows(namespace, key):
                self._asked.pop(entry.job.uid, None)
            self._ended.set()
            if namespace in self._closed:
                self._wake.set()

    async def _write(self, entry: OutboxEntry) -> bool:
        """Writes a status. True: the object shows it now. False: it does not, and the entry is dropped,
        kept or delayed."""
        job = entry.job
        forgotten = job.state.final and job.finished_at is None
        if job.ref is None or forgotten or self.is_elsewhere(str(job.uid)):
            # past retention only a tombstone is left, which knows less than the object shows
            self._drop_entry(entry)
            return False
        status = status_of(job, entry.version, output=self.output)
        shown = WrittenStatus.of(status, time.monotonic())
        if not self._shown.needs(job.uid, shown, self.progress_seconds):
            self.api.meter.add(STATUS_SKIPPED, reason="unchanged")
            self._shown.skipped(job.uid, shown)
            self._backoff.forget(_namespace_of(entry), job.id)
            self._same.append((job.id, entry.version))
            return False
        history = self._backoff.history(job.ref.namespace, job.id)
        result = await write_status(self.api, job.ref, job.uid, status, minimal_status, history=history)
        if result.act is Act.DONE:
            if result.reduced is not None:
                self._tell_reduced(entry, job.ref, result.reduced)
            self._backoff.taken(job.ref.namespace, job.id)
            if job.uid in self._asked:
                self._shown.wrote(job.uid, shown, running=job.state is State.RUNNING, final=job.state.final)
            if job.state.final:
                self.on_ended(job.uid)
            return True
        if result.act is Act.GONE:
            self.api.meter.add(STATUS_SKIPPED, reason="gone")
            self._shown.forget([job.uid])
            self._drop_entry(entry)
        elif result.act is Act.OLDER:
            self._older(entry)
        else:
            raise result.reply.unavailable
        return False

    def _drop_entry(self, entry: OutboxEntry) -> None:
        self._backoff.forget(_namespace_of(entry), entry.job.id)
        self._drop.append(entry.job.id)

    def _tell_reduced(self, entry: OutboxEntry, ref: ObjectRef, why: Reply) -> None:
        log.error(
            "%s/%s shows a part of its status only, because the API server does not take the whole one"
            " (where it names fields, the CRD is older than this operator: apply `agentjobs crds`): %s",
            ref.namespace,
            ref.name,
            why.words,
            extra={"job": str(entry.job.uid)},
        )
        self.api.meter.add(STATUS_REDUCED)
        self.recorder.record(status_reduced(entry.job.uid, ref, why.words, datetime.now(UTC)))

    def _older(self, entry: OutboxEntry) -> None:
        """The object shows a newer revision: a new version is made, from what the rows say now."""
        job = entry.job
        self._shown.forget([job.uid])
        self._stale.append(job.uid)
        failures = self._backoff.postpone(_namespace_of(entry), job.id, time.monotonic())
        if failures > 3 and worth_a_line(failures):
            log.error(
                "object %s/%s shows a newer revision than the database gives out: was the database restored? "
                "its status stays as it is until revisions have caught up",
                job.ref and job.ref.namespace,
                job.ref and job.ref.name,
                extra={"job": str(job.uid), "revision": entry.version},
            )

    def _refused(self, entry: OutboxEntry, error: ApiUnavailable) -> None:
        """The entry stays in the outbox; it, its namespace or everybody waits."""
        key, ref = entry.job.id, entry.job.ref
        decision = self._backoff.decide(Call.STATUS, error, _namespace_of(entry), key, time.monotonic())
        if decision.concerns is not Concerns.OBJECT or worth_a_line(
            self._backoff.refusals(_namespace_of(entry), key)
        ):
            log.warning(
                "the status of %s/%s is refused; %s waits %.1f s: %s",
                ref and ref.namespace,
                ref and ref.name,
                WHO[decision.concerns],
                decision.seconds,
                error,
                extra={"job": str(entry.job.uid)},
            )
        self._wake.set()  # it is read again once it may be written

    async def _refresh_progress(self) -> None:
        """Marks running jobs stale whose object has shown the same for a while."""
        while True:
            await asyncio.sleep(self.progress_seconds / 4)
            due = self._shown.running_since(time.monotonic() - self.progress_seconds)
            if due:
                try:
                    await self.queue.touch(due)
                except QueueError as error:
                    log.warning("progress is not refreshed: the database does not answer: %s", error)


def _namespace_of(entry: OutboxEntry) -> str:
    return entry.job.ref.namespace if entry.job.ref is not None else ""
