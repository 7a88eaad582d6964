"""The sweep of AgentJobs: what a LIST against the job rows means, and when it must not be believed (H5)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.listing import Listed
from agentjobs.controller.apiserver.resources import NAMESPACES
from agentjobs.controller.kit.sweep import Suspects, vanished_rows
from agentjobs.controller.metrics.counters import SWEEP_FOUND
from agentjobs.queue.kubernetes import KnownObject
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import Confirmed, ObjectChange, ObjectRef

log = logging.getLogger(__name__)

ROWS_IN_A_PAGE = 2000


@dataclass(slots=True)
class AgentJobSweep:
    """``SweepAdapter`` of AgentJobs: a job without its object is cancelled."""

    queue: Queue
    api: ApiServer
    cluster_id: str
    namespaces: frozenset[str] = frozenset()
    taken: Callable[[str, int], bool] = lambda uid, generation: False
    """Whether intake has an object (by uid) in this generation already."""
    settled: Callable[[str], bool] = lambda uid: False
    """Whether intake has stored an object, by its uid, and nothing newer of it waits."""
    mass_vanish_limit: int = 20

    async def rows(self) -> list[KnownObject]:
        rows: list[KnownObject] = []
        after = 0
        while page := await self.queue.known_objects(after, ROWS_IN_A_PAGE, self.cluster_id):
            rows += page
            after = page[-1].id
        return rows

    def suspects(
        self, rows: list[KnownObject], listed: Mapping[UUID, Listed], list_started_at: datetime
    ) -> Suspects[KnownObject]:
        found = compare(rows, listed, list_started_at=list_started_at, namespaces=self.namespaces)
        # taken in, without a row: the row says that the object is gone
        there = [one for one in found.unknown if self.settled(str(one.uid)) and not one.deleting]
        back = tuple((one, Confirmed(list_started_at)) for one in there)
        return replace(found, contradicted=found.contradicted + back)

    def has(self, uid: str, generation: int) -> bool:
        return self.taken(uid, generation)

    async def release(self, gone: list[KnownObject], rows: list[KnownObject]) -> list[KnownObject]:
        """Cancels jobs whose object is gone, except where too many of an existing namespace vanish at
        once."""
        stopped = {
            namespace: counts
            for namespace, counts in too_many(gone, rows, self.mass_vanish_limit).items()
            if await self._exists(namespace)
        }
        for namespace, (vanished, of) in stopped.items():
            self.api.meter.add(SWEEP_FOUND, vanished, kind="stopped")
            log.error(
                "%d of %d unfinished jobs of namespace %s have no object any more, all at once: nothing is cancelled. "
                "If they were deleted on purpose, start the operator with AGENTJOBS_MASS_VANISH_LIMIT above %d once",
                vanished,
                of,
                namespace,
                self.mass_vanish_limit,
            )
        healed = [row for row in gone if row.namespace not in stopped or row.final]
        unfinished = [row for row in healed if not row.final]
        if unfinished:
            log.info("%d deletes were missed; their jobs are cancelled", len(unfinished))
            await self.queue.apply([gone_change(row, self.cluster_id) for row in unfinished])
        if healed:
            await self.queue.gone([row.uid for row in healed])
        return healed

    async def _exists(self, namespace: str) -> bool:
        """True where in doubt: then nothing is cancelled."""
        try:
            reply = await self.api.request(
                "GET", NAMESPACES.object(None, namespace), resource=NAMESPACES.plural
            )
        except ApiUnavailable:
            return True
        return not reply.object_missing and not (reply.body.get("metadata") or {}).get("deletionTimestamp")


def compare(
    rows: Iterable[KnownObject],
    listed: Mapping[UUID, Listed],
    *,
    list_started_at: datetime,
    namespaces: Set[str],
) -> Suspects[KnownObject]:
    """Which rows and objects disagree. ``rows`` are of this cluster only; ``namespaces`` empty: all are
    watched."""
    known = {row.uid: row for row in rows}
    behind = tuple(
        found
        for row in known.values()
        if (found := listed.get(row.uid)) is not None
        and (found.generation > row.generation or (found.deleting and not row.final))
    )
    vanished = vanished_rows(
        known.values(),
        listed,
        known_since=lambda row: row.accepted_at,
        list_started_at=list_started_at,
        namespaces=namespaces,
    )
    ahead = tuple(
        (found, Confirmed(list_started_at, row.generation))
        for row in known.values()
        if (found := listed.get(row.uid)) is not None and found.generation < row.generation
    )
    unknown = tuple(found for uid, found in listed.items() if uid not in known)
    return Suspects(vanished, unknown, behind, ahead)


def too_many(
    vanished: Iterable[KnownObject], rows: Iterable[KnownObject], limit: int = 20
) -> dict[str, tuple[int, int]]:
    """Namespaces of which more than ``limit`` unfinished jobs, and more than half, vanished at once:
    (vanished, of how many). There a fault is likelier than so many deletes, while the namespace exists."""
    gone = Counter(row.namespace for row in vanished if not row.final)
    had = Counter(row.namespace for row in rows if not row.final)
    return {ns: (n, had[ns]) for ns, n in gone.items() if n > limit and 2 * n > had[ns]}


def gone_change(row: KnownObject, cluster_id: str) -> ObjectChange:
    """What the queue is told of a job whose object is gone."""
    return ObjectChange(row.uid, ObjectRef(cluster_id, row.namespace, row.name), row.generation, gone=True)
