"""The operator's counters: requests to the API server, watch events, statuses, Events. Named in
``telemetry.metrics``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from agentjobs.telemetry.exposition import Family, family
from agentjobs.telemetry.metrics import Metric

API_REQUESTS = Metric.API_REQUESTS
EVENTS_SEEN = Metric.EVENTS_SEEN
EVENTS_DROPPED = Metric.EVENTS_DROPPED
CHANGES_APPLIED = Metric.CHANGES_APPLIED
STATUS_SKIPPED = Metric.STATUS_SKIPPED
MANAGED_ELSEWHERE = Metric.MANAGED_ELSEWHERE
STATUS_REDUCED = Metric.STATUS_REDUCED
SWEEP_FOUND = Metric.SWEEP_FOUND
TASK_FAILURES = Metric.TASK_FAILURES
SCHEDULE_TICKS = Metric.SCHEDULE_TICKS
RUNS_API_WITHDRAWALS = Metric.RUNS_API_WITHDRAWALS

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Counters:
    """Counters by name and labels."""

    counts: Counter[tuple[str, Labels]] = field(default_factory=Counter)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[(name, tuple(sorted(labels.items())))] += amount

    def total(self, name: str, **labels: str) -> int:
        """Sum of all series of this name that carry these labels."""
        wanted = set(labels.items())
        return sum(n for (key, have), n in self.counts.items() if key == name and wanted <= set(have))

    def families(self) -> Iterator[Family]:
        """What was counted so far, in the order of the definitions."""
        for metric in Metric:
            series = {
                tuple(dict(have)[label] for label in metric.labels): float(n)
                for (name, have), n in self.counts.items()
                if name == metric
            }
            if series:
                yield family(metric, series)
