"""Counts of what the operator asks of the API server and of what it saw. Each name is defined once, here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

API_REQUESTS = "agentjobs_operator_api_requests_total"
EVENTS_SEEN = "agentjobs_operator_events_seen_total"
CHANGES_APPLIED = "agentjobs_operator_changes_applied_total"
STATUS_SKIPPED = "agentjobs_operator_status_writes_skipped_total"
SWEEP_FOUND = "agentjobs_operator_sweep_found_total"
TASK_FAILURES = "agentjobs_operator_task_failures_total"
SCHEDULE_TICKS = "agentjobs_operator_schedule_ticks_total"

HELP = {
    API_REQUESTS: "Requests to the API server by verb, resource and result (HTTP status, or unavailable).",
    EVENTS_SEEN: "Events of watched objects, by whether they were taken in.",
    CHANGES_APPLIED: "Changes of objects that the queue answered, by answer.",
    STATUS_SKIPPED: "Statuses that were not written, by reason.",
    SWEEP_FOUND: "What sweeps found, by kind.",
    TASK_FAILURES: "Restarts of a part of the operator after an error, by part.",
    SCHEDULE_TICKS: "Ticks of schedules by outcome (created, held, missed, refused).",
}

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Meter:
    """Counters by name and labels, rendered in the text format that Prometheus reads."""

    counts: Counter[tuple[str, Labels]] = field(default_factory=Counter)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[(name, tuple(sorted(labels.items())))] += amount

    def total(self, name: str, **labels: str) -> int:
        """Sum of all series of this name that carry these labels."""
        wanted = set(labels.items())
        return sum(n for (key, have), n in self.counts.items() if key == name and wanted <= set(have))

    def render(self) -> str:
        lines: list[str] = []
        for name, text in HELP.items():
            series = sorted((labels, n) for (key, labels), n in self.counts.items() if key == name)
            if series:
                lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
                lines += [f"{name}{_braces(labels)} {n}" for labels, n in series]
        return "\n".join(lines) + "\n"


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{k}="{v}"' for k, v in labels) + "}" if labels else ""
