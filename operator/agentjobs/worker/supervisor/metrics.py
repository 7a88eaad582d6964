"""The worker's metrics. Counting takes some microseconds a run; gauges are computed at a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import AckAnswer
from agentjobs.telemetry.exposition import Family, family, page
from agentjobs.telemetry.metrics import MOST_MODELS, OTHER, Metric
from agentjobs.telemetry.signals import Signal
from agentjobs.telemetry.tally import Tally
from agentjobs.values import bounds
from agentjobs.values.reasons import Reason
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.reports import ending, is_last
from agentjobs.worker.supervisor.runs import Run, Runs

_REASONS = frozenset(reason.value for reason in Reason) | {""}
LOST = "lost"
_ENDS = (Signal.JOB_COMPLETE, Signal.JOB_RETRY, Signal.JOB_SNOOZE, Signal.JOB_DISCARD, Signal.JOB_CANCEL)
_OUTCOME = {signal: signal.value.removeprefix("job.") for signal in _ENDS}
OUTCOMES = frozenset({*_OUTCOME.values(), LOST})
UNKNOWN_MODEL = "unknown"


class WorkerMetrics:
    """The metrics of one worker process, over all its templates and registrations."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self._tally = Tally()
        self._models: set[str] = set()
        for queue in slots:
            for metric in (Metric.CLAIMS, Metric.RUN_SECONDS, Metric.EXECUTOR_CPU):
                self._tally.begin(metric, (queue,))

    def asked(self, seconds: float, queues: Iterable[str]) -> None:
        """Counts a round trip that asked for jobs, and the jobs that it brought, by their queues."""
        self._tally.observe(Metric.CLAIM_SECONDS, (), seconds)
        for queue in queues:
            self._tally.add(Metric.CLAIMS, (queue,))

    def saw(self, run: Run, event: AgentEvent) -> None:
        """Counts a model's answer with its tokens."""
        if not event.total_tokens:
            return
        model = self._model(event.model or _inline_model(run) or UNKNOWN_MODEL)
        self._tally.add(Metric.LLM_CALLS, (model,))
        self._tally.add(Metric.LLM_TOKENS, (model, "prompt"), event.prompt_tokens)
        self._tally.add(Metric.LLM_TOKENS, (model, "output"), event.output_tokens)

    def acked(self, run: Run, answer: AckAnswer) -> None:
        """Counts a run that ended and was acked."""
        ack, ended, queue, tally = run.ack, run.ended, run.job.queue, self._tally
        if ack is None or answer is AckAnswer.LOST:
            tally.add(Metric.RUNS, (queue, LOST, ""))
        else:
            outcome = _OUTCOME[ending(ack, last=is_last(run))]
            tally.add(Metric.RUNS, (queue, outcome, ack.reason if ack.reason in _REASONS else OTHER))
        if ended is not None:
            tally.observe(Metric.RUN_SECONDS, (queue,), ended.duration_seconds)
            tally.add(Metric.EXECUTOR_CPU, (queue,), ended.cpu_seconds)
            if ended.max_resident_bytes:
                tally.observe(Metric.EXECUTOR_MEMORY, (), ended.max_resident_bytes)

    def page(self, identity: Identity, runs: Runs, *, ready: bool, templates: int) -> str:
        """The text of ``/metrics``."""
        busy = dict.fromkeys(self._slots, 0)
        for run in runs.running.values():
            busy[run.job.queue] += 1
        families: list[Family] = [
            family(Metric.SLOTS, {(queue,): float(n) for queue, n in self._slots.items()}),
            family(Metric.SLOTS_BUSY, {(queue,): float(n) for queue, n in busy.items()}),
            family(Metric.UNACKED, len(runs.unacked)),
            family(Metric.READY, ready),
            family(Metric.DRAINING, identity.draining),
            family(Metric.TEMPLATES, templates),
        ]
        if identity.beaten_at:
            families.append(family(Metric.HEARTBEAT_AGE, round(identity.beat_age_seconds(), 3)))
        return page([*families, *self._tally.families()])

    def _model(self, name: str) -> str:
        """The label of a model. Anybody may invent names of models, so only the first few get their own."""
        if name not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add(name)
        return name


def _inline_model(run: Run) -> str:
    agent = run.job.payload.get("agent")
    inline = agent.get("inline") if isinstance(agent, Mapping) else None
    model = inline.get("model") if isinstance(inline, Mapping) else None
    return bounds.name(model) if isinstance(model, str) else ""
