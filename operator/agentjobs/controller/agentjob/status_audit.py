"""The status audit: what an object shows is compared with what its job's rows say, unless this process wrote it.

So a status that is edited by hand, or that is an older one since etcd was restored to a snapshot, is put right
(invariant 11). It looks at each object once in the life of an operator, and whenever its status changes to something
that this operator did not write. A status with a revision that the database has not given out yet means that the
database was restored: an end that it shows is recorded, so that the job does not run again (H31).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson

from agentjobs.controller.agentjob.object_change import imported_end
from agentjobs.controller.agentjob.status import status_of
from agentjobs.controller.agentjob.status_cache import PROGRESS_KEYS
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import remove_status
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.kit.status_digest import shown_revision, status_digest
from agentjobs.controller.metrics.counters import SWEEP_FOUND, TASK_FAILURES
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, State

log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""From a watch event to the look: by then this operator knows whether the status is its own write."""
BATCH = 200
GAP_SECONDS = 0.25
"""Between two batches: 50,000 objects are looked at within a minute or so after a start."""
CHECK_SECONDS = 30.0
"""Between two looks at whether the database went back, where nothing else happens."""


class DatabaseWentBack(Exception):
    """The database was restored to an earlier time under a leading operator, whose parts begin anew."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An object with a status that is to be looked at."""

    packed: bytes
    """JSON: tens of thousands wait after a start, and as Python objects they would take ten times the memory."""
    revision: int
    due: float
    at_first: bool = False
    """Whether it comes from the listing with which this operator began to lead."""

    @classmethod
    def of(cls, obj: dict[str, Any], due: float, at_first: bool) -> Observed:
        meta = {key: obj["metadata"].get(key) for key in ("uid", "namespace", "name", "creationTimestamp")}
        packed = orjson.dumps({"metadata": meta, "status": obj["status"]})
        return cls(packed, shown_revision(obj["status"]), due, at_first)

    @property
    def object(self) -> dict[str, Any]:
        """Of it what is looked at: whose status it is, and the status."""
        found: dict[str, Any] = orjson.loads(self.packed)
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.object["status"]
        return found


@dataclass(slots=True)
class StatusAudit:
    """One per leading operator."""

    queue: Queue
    api: ApiServer
    wrote: Callable[[UUID, dict[str, Any]], bool]
    """Whether this operator wrote exactly this status to the object, as the last one."""
    forget: Callable[[Iterable[UUID]], None]
    """Called before a status is written again: what this operator wrote is not there any more."""
    refresh: Callable[[Iterable[UUID]], None]
    """Called for a running job whose progress another process has written."""
    given_at_first: int = 0
    """The last revision that the database had given out when this operator began to lead."""
    output: bool = False
    """As of the status writer."""
    settle_seconds: float = SETTLE_SECONDS
    _pending: dict[str, Observed] = field(default_factory=dict)
    _urgent: dict[str, Observed] = field(default_factory=dict)
    """Those that may show an end which the database has lost: looked at before anything is written over it."""
    _right: dict[str, bytes] = field(default_factory=dict)
    """Digests of statuses that were found right, by uid."""
    _mended: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """What was found and what was wanted instead: an older CRD keeps less than it is given, again and again."""
    _given: int = 0
    """The last revision that the database had given out."""
    _lost: list[range] = field(default_factory=list)
    """Revisions that objects show and that this database never gave out: it was restored."""
    _beyond: int = 0
    """The highest revision that an object shows and the database has not reached; 0: none."""
    _adopted: set[UUID] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def enqueue(self, batch: Iterable[WatchEvent]) -> None:
        """Takes note of statuses that are new to this operator; never waits."""
        due = time.monotonic() + self.settle_seconds
        for seen in batch:
            uid = seen.object["metadata"]["uid"]
            at_first = seen.listed and uid not in self._known
            (self._known.discard if seen.deleted else self._known.add)(uid)
            if seen.deleted:
                self._drop(uid)
            elif not (status := seen.object.get("status")) or self._is_known(uid, status):
                self._pending.pop(uid, None)  # nothing to compare: intake sees to a status that was wiped
            else:
                self._pending.pop(uid, None)  # the first one in is the first one due
                observed = Observed.of(seen.object, due, at_first)
                if at_first and observed.revision > self.given_at_first:
                    self._urgent[uid] = replace(observed, due=0.0)
                else:
                    self._pending[uid] = observed
                self._wake.set()

    def _drop(self, uid: str) -> None:
        for known in (self._pending, self._urgent, self._right, self._mended):
            known.pop(uid, None)
        self._adopted.discard(UUID(uid))

    def _is_known(self, uid: str, status: dict[str, Any]) -> bool:
        """Whether exactly this was found right."""
        right = self._right.get(uid)
        return right is not None and right == _digest(status)

    async def run(self) -> None:
        """Compares until cancelled. Raises DatabaseWentBack."""
        while True:
            await wait_for(self._wake, CHECK_SECONDS)
            try:
                if not (self._pending or self._urgent):
                    await self._projections([])
                await self._look()
            except QueueError as error:
                log.debug("statuses are compared later: the database does not answer: %s", error)
                await asyncio.sleep(random.uniform(0.5, 1.5))
            if not self._urgent:
                await asyncio.sleep(GAP_SECONDS)
            if not (self._pending or self._urgent):
                self._wake.clear()

    async def _look(self) -> None:
        """Compares a batch. Raises QueueError: nothing was concluded."""
        now = time.monotonic()
        due: dict[UUID, Observed] = {}
        for uid, observed in list((self._urgent or self._pending).items()):
            if observed.due > now or len(due) == BATCH:
                break
            if self.wrote(UUID(uid), observed.status):
                self._settle(uid, observed)
            else:
                due[UUID(uid)] = observed
        if not due:
            await self._reach(set())
            return
        given, found = await self._projections(list(due))
        jobs = {job.uid: (stale, job) for stale, job in found}
        looked: dict[UUID, bool | None] = {}
        for key, observed in due.items():
            stale, job = jobs.get(key, (False, None))
            looked[key] = True
            try:
                if job is not None and str(key) in self._known:
                    looked[key] = await self._is_right(observed, job, given, stale=stale)
            except ApiUnavailable as error:
                log.debug("a status is compared later: %s", error)
                del looked[key]
            except QueueError:
                raise
            except Exception:
                log.exception("a status could not be compared", extra={"uid": str(key)})
                self.api.meter.add(TASK_FAILURES, part="audit")
        await self._reach({str(key) for key in looked})
        await self._write_again([key for key, right in looked.items() if right is False])
        for key, right in looked.items():
            uid, observed = str(key), due[key]
            self._urgent.pop(uid, None)
            if self._pending.get(uid, observed) is observed:
                self._pending.pop(uid, None)
                if right is None:
                    self._pending[uid] = replace(observed, due=time.monotonic() + self.settle_seconds)
            if uid not in self._known:
                self._drop(uid)  # it was deleted meanwhile

    async def _reach(self, looked: set[str]) -> None:
        """Lets the database give out revisions beyond those that objects show, once all that may show a lost end are looked at:
        from then on the status writer can write over what they show."""
        if self._beyond and self._urgent.keys() <= looked:
            low = await self.queue.reach_revision(self._beyond)
            self._lost.append(range(low + 1, self._beyond + 1))
            self._beyond = 0

    async def _write_again(self, wrong: list[UUID]) -> None:
        if not wrong:
            return
        self.api.meter.add(SWEEP_FOUND, len(wrong), kind="status")
        self.forget(wrong)
        try:
            await self.queue.touch(wrong)
        except QueueError:
            for uid in wrong:
                self._mended.pop(str(uid), None)  # nothing was mended
            raise

    async def _projections(self, uids: list[UUID]) -> tuple[int, list[tuple[bool, JobView]]]:
        given, found = await self.queue.projections(uids, output=self.output)
        if given < self._given:
            raise DatabaseWentBack(
                f"the database has given out revision {self._given}, and is at {given} now: it was restored, so every "
                "object is compared with it anew"
            )
        self._given = given
        return given, found

    def _settle(self, uid: str, observed: Observed) -> None:
        self._right[uid] = _digest(observed.status)
        for waiting in (self._pending, self._urgent):
            if waiting.get(uid) is observed:
                del waiting[uid]

    async def _is_right(self, observed: Observed, job: JobView, given: int, *, stale: bool) -> bool | None:
        """Whether there is nothing to be written; None: it may be about to be. Raises ApiUnavailable, QueueError."""
        uid, shown = str(job.uid), observed.status
        if shown.get("revision") and not observed.revision:
            # the CRD refuses a lower revision than the object shows: it has to go first
            await remove_status(self.api, observed.object)
            return False
        if self._is_lost(observed, given) and await self._adopt_end(observed, job):
            return True
        if stale:
            return None  # the status writer may find that it wrote this status, before somebody edited it
        wanted = status_of(job, observed.revision, output=self.output)
        without = PROGRESS_KEYS if job.state is State.RUNNING else frozenset()
        shown_digest = status_digest(shown, without)
        wanted_digest = status_digest(wanted, without)
        if shown_digest == wanted_digest:
            going_on = job.state is State.RUNNING and uid in self._known
            if going_on and status_digest(shown) != status_digest(wanted):
                self.refresh(
                    [job.uid]
                )  # its progress is an older one, or was edited: it is written in its time
            self._settle(uid, observed)
            self._mended.pop(uid, None)
            return True
        if self._mended.get(uid) == (shown_digest, wanted_digest):
            self._settle(uid, observed)  # it was written, and the API server keeps this much of it
            return True
        self._mended[uid] = (shown_digest, wanted_digest)
        meta = observed.object["metadata"]
        log.warning(
            "%s/%s shows what the database does not say (state %s, it is %s): its status is written again",
            meta["namespace"],
            meta["name"],
            shown.get("state"),
            job.state.value,
        )
        return False

    def _is_lost(self, observed: Observed, given: int) -> bool:
        """Whether the database had not given out the revision that the object showed."""
        revision = observed.revision
        if revision > given:
            self._beyond = max(self._beyond, revision)
            return True
        lost = observed.at_first and revision > self.given_at_first
        return lost or any(revision in lost for lost in self._lost)

    async def _adopt_end(self, observed: Observed, job: JobView) -> bool:
        """Records an end that the database has lost. False: the object shows none. Raises QueueError."""
        obj = observed.object
        end = imported_end(obj)
        if end is None or job.state.final or job.uid in self._adopted:
            return False
        self._adopted.add(job.uid)
        if not await self.queue.adopt_end(job.uid, end):
            return False
        log.warning(
            "%s/%s shows its end, which the database does not know (was it restored?): it is recorded, and does not "
            "run again",
            obj["metadata"]["namespace"],
            obj["metadata"]["name"],
        )
        return True


def _digest(status: dict[str, Any]) -> bytes:
    """Of a status with its revision."""
    return status_digest({**status, "of": status.get("revision")})
