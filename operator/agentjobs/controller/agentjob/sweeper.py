"""The sweeper: objects against the table, at the start and every few minutes. Heals both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agentjobs.controller.agentjob.sweep import Listed, Suspects, compare, is_gone, too_many
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.listing import CHUNK, SWEEP_FAILURES, list_objects
from agentjobs.controller.apiserver.resources import AGENT_JOBS, NAMESPACES, Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.apiserver.writes import get_object
from agentjobs.controller.kit.periodic import run_periodically
from agentjobs.controller.metrics.counters import SWEEP_FOUND
from agentjobs.queue.kubernetes import MirrorRow
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ObjectChange, ObjectRef

log = logging.getLogger(__name__)

GETS_AT_ONCE = 8
SETTLE_SECONDS = 10.0
"""After a listing of the watch: intake has it by then, and rows that it made are old enough to be judged."""


@dataclass(slots=True)
class Sweeper:
    """Compares and heals; decisions are in ``sweep``."""

    queue: Queue
    api: ApiServer
    cluster_id: str
    sink: Callable[[list[WatchEvent]], None]
    """Intake: objects that the table does not know, or knows in an older generation."""
    namespaces: frozenset[str] = frozenset()
    interval_seconds: float = 300.0
    first_seconds: float = 5.0
    """Before the first sweep: what exists is the watch's to bring, in pages; the sweep only heals."""
    taken: Callable[[str, int], bool] = lambda uid, generation: False
    """Whether intake has an object (by uid) in this generation already."""
    mass_vanish_limit: int = 20
    resource: Resource = AGENT_JOBS
    chunk: int = CHUNK
    """Objects in a page of the LIST."""
    sweeps: int = 0
    _soon: asyncio.Event = field(default_factory=asyncio.Event)
    _gets: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(GETS_AT_ONCE))

    async def run(self) -> None:
        seconds = (self.first_seconds, self.interval_seconds, SETTLE_SECONDS)
        await run_periodically("the sweep", self.sweep, SWEEP_FAILURES, self._soon, seconds)

    def soon(self) -> None:
        """The watch has listed anew: deletes of before are told by nobody."""
        self._soon.set()

    async def sweep(self) -> Suspects:
        """One comparison, healed. Raises ApiUnavailable, QueueError, SweepAborted: nothing was concluded."""
        started = datetime.now(UTC)
        listed = await list_objects(self.api, self.resource, self.namespaces, self.chunk)
        rows = await self._rows()
        suspects = compare(rows, listed, list_started_at=started, namespaces=self.namespaces)
        for kind in ("vanished", "unknown", "behind"):
            found = len(getattr(suspects, kind))
            if found:
                self.api.meter.add(SWEEP_FOUND, found, kind=kind)
        await self._take_in((*suspects.unknown, *suspects.behind))
        await self._let_go(await self._confirmed(suspects.vanished), rows)
        self.sweeps += 1
        return suspects

    # reading -----------------------------------------------------------------------------------------

    async def _rows(self) -> list[MirrorRow]:
        rows: list[MirrorRow] = []
        after = 0
        while page := await self.queue.mirrored(after, self.chunk * 4, self.cluster_id):
            rows += page
            after = page[-1].id
        return rows

    # healing -----------------------------------------------------------------------------------------

    async def _take_in(self, objects: Iterable[Listed]) -> None:
        wanted = [found for found in objects if not self.taken(str(found.uid), found.generation)]

        async def one(found: Listed) -> None:
            async with self._gets:
                reply = await get_object(self.api, found.namespace, found.name, resource=self.resource)
            if reply.ok and reply.body["metadata"]["uid"] == str(found.uid):
                self.sink([WatchEvent(reply.body, deleted=False)])

        await asyncio.gather(*(one(found) for found in wanted))

    async def _confirmed(self, rows: Iterable[MirrorRow]) -> list[MirrorRow]:
        """Those of which a GET says that the object is gone."""

        async def one(row: MirrorRow) -> MirrorRow | None:
            async with self._gets:
                reply = await get_object(
                    self.api, row.namespace, row.name, metadata_only=True, resource=self.resource
                )
            uid = (reply.body.get("metadata") or {}).get("uid") if reply.ok else None
            return row if is_gone(reply.status, reply.object_missing, uid, row.uid) else None

        return [row for row in await asyncio.gather(*(one(row) for row in rows)) if row is not None]

    async def _let_go(self, gone: list[MirrorRow], rows: list[MirrorRow]) -> None:
        stopped = {
            ns: counts
            for ns, counts in too_many(gone, rows, self.mass_vanish_limit).items()
            if await self._exists(ns)
        }
        for ns, (n, of) in stopped.items():
            self.api.meter.add(SWEEP_FOUND, n, kind="stopped")
            log.error(
                "%d of %d unfinished jobs of namespace %s have no object any more, all at once: nothing is cancelled. "
                "If they were deleted on purpose, start the operator with AGENTJOBS_MASS_VANISH_LIMIT above %d once",
                n,
                of,
                ns,
                self.mass_vanish_limit,
            )
        healed = [row for row in gone if row.namespace not in stopped or row.final]
        unfinished = [row for row in healed if not row.final]
        if unfinished:
            log.info("%d deletes were missed; their jobs are cancelled", len(unfinished))
            await self.queue.apply([gone_change(row, self.cluster_id) for row in unfinished])
        if healed:
            await self.queue.gone([row.uid for row in healed])

    async def _exists(self, namespace: str) -> bool:
        """True where in doubt: then the sweep stops."""
        reply = await self.api.request("GET", NAMESPACES.object(None, namespace), resource=NAMESPACES.plural)
        return not reply.object_missing and not (reply.body.get("metadata") or {}).get("deletionTimestamp")


def gone_change(row: MirrorRow, cluster_id: str) -> ObjectChange:
    return ObjectChange(row.uid, ObjectRef(cluster_id, row.namespace, row.name), row.generation, gone=True)
