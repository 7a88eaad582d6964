"""Intake: watch events of AgentJobs wait in memory, and go to the database in batches.

Nothing is lost while the database is away: intake keeps the newest watch event of each object and tries it
again. It skips a change of status alone, which mostly is the operator's own write coming back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agentjobs.api.agentjob import AgentJobSpec
from agentjobs.api.given import Given
from agentjobs.api.meta import TRACEPARENT
from agentjobs.api.payload import traceparent_problem
from agentjobs.controller.agentjob.events import (
    not_allowed,
    response_refused,
    retry_refused,
    traceparent_ignored,
)
from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.object_change import (
    UNREAD,
    Fingerprint,
    Gate,
    change_of,
    fingerprint,
    spec_to_read,
    unreadable,
    wiped,
)
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.pace import Pace
from agentjobs.controller.metrics.counters import CHANGES_APPLIED, EVENTS_SEEN, TASK_FAILURES, Counters
from agentjobs.queue.errors import QueueError
from agentjobs.queue.kubernetes import Applied
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ChangeOutcome, ObjectChange, State
from agentjobs.telemetry.loops import LoopHealth
from agentjobs.values.reasons import Reason

log = logging.getLogger(__name__)

BATCH = 500
GAP_SECONDS = 0.04
"""Between two batches, while there is always something to be stored."""
SLOWEST_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for an object, until it is stored."""

    found: Given | str
    stored: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Intake:
    """Stores in the queue what watch events, and the sweep's GETs, say of AgentJobs."""

    queue: Queue
    gate: Gate
    meter: Counters
    reader: InputReader
    on_wiped: Callable[[Iterable[UUID]], None] = lambda uids: None
    """Called before these objects are marked stale: the status that was written to them is not there any
    more."""
    on_refused: Callable[[ObjectEvent], None] = lambda event: None
    on_gone: Callable[[Iterable[UUID]], None] = lambda uids: None
    """Called with objects that are deleted, once that is stored."""
    health: LoopHealth = field(default_factory=lambda: LoopHealth("intake"))
    _pending: dict[str, WatchEvent] = field(default_factory=dict)
    _unread: dict[str, WatchEvent] = field(default_factory=dict)
    """Objects that are not pending yet, since what they refer to is being read."""
    _read: dict[str, _Read] = field(default_factory=dict)
    """What was read for objects that are pending."""
    _taken: dict[str, Fingerprint] = field(default_factory=dict)
    _heard_at: dict[str, float] = field(default_factory=dict)
    """When the watch last brought something of an object."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, batch: Iterable[WatchEvent]) -> None:
        """Takes the newest watch event of each object; never waits. A delete is the last word on a uid."""
        for seen in batch:
            uid = seen.object["metadata"]["uid"]
            waiting = self._pending.get(uid)
            if seen.released and (waiting is None or not waiting.deleted):
                self.forget(uid)
                self.on_gone([UUID(uid)])
                continue
            if self._overtaken(uid, seen):
                continue
            taken = self._taken.get(uid)
            if (seen.object.get("status") or {}).get("state") == State.COMPLETE and not (
                taken and taken.final
            ):
                metadata = seen.object["metadata"]
                self.reader.completed(metadata["namespace"], metadata["name"])
            print_ = fingerprint(seen.object, self.gate)
            plain = not seen.deleted and seen.confirmed is None
            echo = plain and not self._waits(uid) and print_.is_echo_of(taken)
            self.meter.add(EVENTS_SEEN, taken="no" if echo else "yes")
            if echo:
                self._taken[uid] = print_
                continue
            if waiting is None or not waiting.deleted:
                self._put(uid, seen)
        if self._pending:
            self._wake.set()

    def _put(self, uid: str, seen: WatchEvent) -> None:
        """Makes the object pending; first what it refers to is read, where that is wanted."""
        spec = None if seen.deleted else self._spec_to_read(seen)
        if spec is not None and uid in self._unread and _generation(self._unread[uid]) == _generation(seen):
            self._unread[uid] = (
                seen  # such as the mark of its owner: the spec that is being read for is the same
            )
            return
        if spec is not None and self._has_all_of(uid, seen):
            self._pending[uid] = seen
            return
        self._read_no_more(uid)
        if spec is None:
            self._pending[uid] = seen  # in the place of an older one: its turn stays
        else:
            self._pending.pop(uid, None)
            self._look_at(uid, seen, spec)

    def _has_all_of(self, uid: str, seen: WatchEvent) -> bool:
        """Whether what this spec refers to was read, and is about to be stored."""
        read, waits = self._read.get(uid), self._pending.get(uid)
        there = read is not None and isinstance(read.found, Given)
        return there and waits is not None and _generation(waits) == _generation(seen)

    def _spec_to_read(self, seen: WatchEvent) -> AgentJobSpec | None:
        try:
            return spec_to_read(seen.object, self.gate, seen.confirmed)
        except Exception:  # what cannot be read is told when it is stored
            return None

    def _look_at(self, uid: str, seen: WatchEvent, spec: AgentJobSpec) -> None:
        self._unread[uid] = seen
        self.reader.read(
            uid, seen.object["metadata"]["namespace"], spec, lambda found: self._has_read(uid, seen, found)
        )

    def _has_read(self, uid: str, seen: WatchEvent, found: Given | str) -> asyncio.Event:
        seen = self._unread.pop(uid, seen)
        # a copy: what is being stored of the object meanwhile does not have what was read now
        self._pending[uid] = replace(seen)
        self._read[uid] = read = _Read(found)
        self._wake.set()
        return read.stored

    def _read_no_more(self, uid: str) -> None:
        """Forgets what was read for an object, and is being read."""
        self.reader.drop(uid)
        self._unread.pop(uid, None)
        self._read.pop(uid, None)

    def _waits(self, uid: str) -> bool:
        return uid in self._pending or uid in self._unread

    def _overtaken(self, uid: str, seen: WatchEvent) -> bool:
        """Whether the watch has brought something of the object since a sweep began to read it: the watch goes on to
        its present state by itself. (Versions would not tell: they fall where etcd is restored.)"""
        if seen.read_at is not None:
            return seen.read_at <= self._heard_at.get(uid, 0.0)
        if seen.deleted:
            self._heard_at.pop(uid, None)
        else:
            self._heard_at[uid] = time.monotonic()
        return False

    @property
    def waiting(self) -> int:
        """How many objects are to be stored. Those whose inputs are being read do not count: a watch that waited for them would
        have everybody wait for one tenant's Secrets."""
        return len(self._pending)

    def has_settled(self, uid: str) -> bool:
        """Whether this object was stored, and nothing newer of it waits."""
        return uid in self._taken and not self._waits(uid)

    def has(self, uid: str, generation: int) -> bool:
        """Whether this object, in this generation or a later one, was stored or is about to be."""
        if self._waits(uid):
            return True
        taken = self._taken.get(uid)
        return taken is not None and taken.generation >= generation

    def forget(self, uid: str) -> None:
        """Forgets an object that is gone, or belongs to another installation by now."""
        self._read_no_more(uid)
        self._pending.pop(uid, None)
        self._taken.pop(uid, None)
        self._heard_at.pop(uid, None)

    async def run(self) -> None:
        """Stores batches until cancelled."""
        try:
            await self._store_batches()
        finally:
            await self.reader.close()

    async def _store_batches(self) -> None:
        failures, pace = 0, Pace(GAP_SECONDS)
        while True:
            await self._wake.wait()
            if len(self._pending) < BATCH:
                await asyncio.sleep(pace.seconds(time.monotonic()))
            pace.began(time.monotonic())
            batch = dict(list(self._pending.items())[:BATCH])
            try:
                with self.health.attempt():
                    await self._flush(batch)
                failures = 0
            except QueueError as error:
                failures += 1
                delay = min(0.1 * 2**failures, SLOWEST_RETRY_SECONDS) * random.uniform(0.8, 1.2)
                log.warning(
                    "intake waits %.1f s for the database, with %d objects: %s",
                    delay,
                    len(self._pending),
                    error,
                )
                await asyncio.sleep(delay)

    async def flush(self) -> None:
        """Stores what is left, once: for an end in good order. Raises QueueError."""
        while self._pending:
            await self._flush(dict(list(self._pending.items())[:BATCH]))

    async def _flush(self, batch: dict[str, WatchEvent]) -> None:
        """Stores one batch; on QueueError everything stays as it was."""
        changes = [change for seen in batch.values() if (change := self._change(seen)) is not None]
        answers = await self._apply(changes)
        stale: list[UUID] = []
        unread: list[str] = []
        for change in changes:
            answer = answers.get(change.uid)
            if answer is None:
                continue
            self.meter.add(CHANGES_APPLIED, outcome=answer.outcome.value)
            if barred := barred_by(change, answer):
                self.on_refused(not_allowed(change, barred, datetime.now(UTC)))
            if answer.outcome is ChangeOutcome.RETRY_REFUSED:
                self._refused(change, answer)
            elif answer.outcome is ChangeOutcome.INSERTED:
                if change.unaccepted == (Reason.INPUT_UNAVAILABLE, UNREAD):
                    unread.append(str(change.uid))
                self._warn(change, batch[str(change.uid)].object)
            elif answer.outcome is ChangeOutcome.UNCHANGED and wiped(batch[str(change.uid)].object):
                stale.append(change.uid)
        await self._respond(changes)
        if stale:
            self.on_wiped(stale)
            await self.queue.touch(stale)
        self._settle(batch)
        for uid in unread:
            self._read_now(uid, batch[uid])

    def _read_now(self, uid: str, seen: WatchEvent) -> None:
        """Reads for an object whose status said that its job is accepted, and whose job the database did not know."""
        spec = spec_to_read({**seen.object, "status": None}, self.gate)
        if spec is not None and uid in self._taken and not self._waits(uid):
            self._look_at(uid, seen, spec)

    def _change(self, seen: WatchEvent) -> ObjectChange | None:
        try:
            read = self._read.get(seen.object["metadata"]["uid"])
            found = UNREAD if read is None else read.found
            return change_of(
                seen.object, self.gate, deleted=seen.deleted, confirmed=seen.confirmed, read=found
            )
        except Exception as error:
            # what no API server sends: it is told at the object, and not allowed to hold up the others
            log.exception("an object cannot be read: %.200r", seen.object.get("metadata"))
            self.meter.add(TASK_FAILURES, part="translate")
            return unreadable(seen.object, self.gate, type(error).__name__)

    async def _apply(self, changes: Sequence[ObjectChange]) -> dict[UUID, Applied]:
        """Stores the changes; the queue rejects those that cannot be stored. All are kept where it cannot store any."""
        try:
            return await self.queue.apply(changes)
        except QueueError:
            raise
        except Exception as error:
            log.exception("the database refused a batch of %d objects", len(changes))
            self.meter.add(TASK_FAILURES, part="intake")
            raise QueueError(f"a batch of {len(changes)} objects was refused: {error}") from error

    async def _respond(self, changes: Sequence[ObjectChange]) -> None:
        """Stores people's answers to tools' questions, after the changes themselves."""
        said = {c.uid: (c, c.input_response) for c in changes if c.input_response is not None}
        told = await self.queue.respond({uid: response for uid, (_, response) in said.items()})
        for uid, why in told.items():
            change, response = said[uid]
            answer = response.answer
            log.info(
                "input response",
                extra={
                    "job": str(uid),
                    "object": change.ref.name,
                    "approved": None if answer is None else answer.approved,
                    "claims_to_be": None if answer is None else answer.by or None,
                    "refused": why or None,
                },
            )
            if why:
                self.on_refused(response_refused(uid, change.ref, response.value, why, datetime.now(UTC)))

    def _refused(self, change: ObjectChange, answer: Applied) -> None:
        log.info(
            "retry refused", extra={"job": str(change.uid), "object": change.ref.name, "why": answer.detail}
        )
        self.on_refused(
            retry_refused(
                change.uid, change.ref, change.retry_requested or "", answer.detail, datetime.now(UTC)
            )
        )

    def _warn(self, change: ObjectChange, obj: dict[str, Any]) -> None:
        """Records an Event about what of a new object is ignored, and yet no reason to reject it."""
        given = (obj["metadata"].get("annotations") or {}).get(TRACEPARENT)
        if given and (why := traceparent_problem(str(given))):
            self.on_refused(traceparent_ignored(change, why, datetime.now(UTC)))

    def _settle(self, batch: dict[str, WatchEvent]) -> None:
        self.on_gone(UUID(uid) for uid, seen in batch.items() if seen.deleted)
        for uid, seen in batch.items():
            if not self._waits(uid):
                continue  # another installation has it by now
            if self._pending.get(uid) is seen:
                del self._pending[uid]
                if (read := self._read.pop(uid, None)) is not None:
                    read.stored.set()
            if seen.deleted:
                self._taken.pop(uid, None)
            else:
                self._taken[uid] = fingerprint(seen.object, self.gate)
        if not self._pending:
            self._wake.clear()


def _generation(seen: WatchEvent) -> object:
    return seen.object["metadata"].get("generation")


def barred_by(change: ObjectChange, answer: Applied) -> str:
    """Why what the object asks for was refused just now; empty: it was not, or this was known."""
    if answer.outcome is not ChangeOutcome.INSERTED or change.cancel or change.imported is not None:
        return answer.barred
    reason, why = change.unaccepted or ("", "")
    return why if reason == Reason.QUEUE_NOT_ALLOWED else ""
