"""The queue's metrics: the database is read once per scrape at most, and no scrape fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.stats import QueueStats
from agentjobs.telemetry.exposition import Family, family
from agentjobs.telemetry.metrics import MOST_QUEUES, OTHER, Metric

log = logging.getLogger(__name__)

_KEPT_SECONDS = 5.0
"""Cache time of the query: at least this, and 20 times its duration, so scrapes use at most 5 % of one
core."""
_PATIENCE_SECONDS = 5.0
"""Prometheus gives a scrape 10 s by default."""


@dataclass(slots=True)
class QueueCollector:
    """Used by the leader alone: operators that stand by would only double every sum."""

    queue: Queue
    _stats: QueueStats | None = None
    _good_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def families(self) -> list[Family]:
        """The queue's metrics; only ``agentjobs_operator_database_up`` 0 where the database does not
        answer in time."""
        async with self._asking:
            if time.monotonic() >= self._good_until:
                await self._ask()
        up = family(Metric.DATABASE_UP, float(self._stats is not None))
        return [up] if self._stats is None else [up, *of(self._stats)]

    async def _ask(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                self._stats = await self.queue.stats(most_queues=MOST_QUEUES, other=OTHER)
        except (QueueError, TimeoutError) as error:
            log.warning(
                "metrics: the queue's numbers are not to be had: %s", str(error) or "no answer in time"
            )
            self._stats = None
        except Exception:
            log.exception("metrics: the queue's numbers are not to be had")
            self._stats = None
        ended = time.monotonic()
        self._good_until = ended + max(_KEPT_SECONDS, 20 * (ended - began)) if self._stats else ended + 1.0


def of(stats: QueueStats) -> Iterable[Family]:
    """The series of these numbers."""
    yield family(Metric.QUEUE_DEPTH, {(q, state.value): float(n) for (q, state), n in stats.depth.items()})
    yield family(Metric.QUEUE_READY, _by_name(stats.ready))
    yield family(Metric.QUEUE_OLDEST, _by_name(stats.oldest_wait_seconds))
    yield family(Metric.QUEUE_RUNNING, _by_name(stats.running))
    yield family(Metric.QUEUE_WANTED_SLOTS, _by_name(stats.wanted))
    yield family(Metric.QUEUE_SLOTS, _by_name(stats.slots))
    yield family(Metric.QUEUE_PAUSED, _by_name(stats.paused))
    yield family(Metric.WORKERS, _by_name(stats.workers))
    yield family(Metric.MODEL_BREAKER_OPEN, dict.fromkeys(stats.blocked, 1.0))
    yield family(Metric.MODEL_JOBS_HELD, {(p, m): float(n) for (p, m, _), n in stats.blocked.items()})
    yield family(Metric.OUTBOX_DEPTH, float(stats.outbox))
    yield family(Metric.OUTBOX_LAG, stats.outbox_lag_seconds)


def _by_name(numbers: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): float(n) for name, n in numbers.items()}
