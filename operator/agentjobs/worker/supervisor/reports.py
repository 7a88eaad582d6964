"""The log lines and signals of a worker's runs: one line per transition."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, AckAnswer, AckKind
from agentjobs.telemetry import signals
from agentjobs.telemetry.log import tell
from agentjobs.telemetry.signals import Signal
from agentjobs.worker.supervisor.runs import Run

log = logging.getLogger(__name__)


def ending(ack: Ack, *, last: bool) -> Signal:
    """The signal for the end of a run. ``last``: no attempt is left after this one."""
    match ack.kind:
        case AckKind.COMPLETE:
            return Signal.JOB_COMPLETE
        case AckKind.FAIL:
            return Signal.JOB_DISCARD
        case AckKind.RETRY:
            return Signal.JOB_DISCARD if last else Signal.JOB_RETRY
        case AckKind.CANCEL:
            return Signal.JOB_CANCEL
        case AckKind.SNOOZE | AckKind.RELEASE | AckKind.ASK:
            return Signal.JOB_SNOOZE


def is_last(run: Run) -> bool:
    """True: no attempt is left after this one, as far as the worker knows. SQL decides (H22)."""
    return run.job.attempt >= run.job.max_attempts


def outcome_of(run: Run, ack: Ack) -> str:
    """The end of a run in a word: ``complete``, ``retry``, ``snooze``, ``discard`` or ``cancel``."""
    return ending(ack, last=is_last(run)).removeprefix("job.")


def started(run: Run) -> None:
    """Reports that an executor has the job."""
    names = run.names()
    pid = run.executor.pid if run.executor is not None else None
    tell(log, Signal.JOB_START, solo=run.job.solo or None, pid=pid, **names)
    signals.send(Signal.JOB_START, **names)
    if schedule := schedule_of(run):
        signals.send(Signal.SCHEDULE_START, **schedule, **names)


def event(run: Run, seen: AgentEvent) -> None:
    """Reports an event of the agent; in the log at level debug."""
    names = run.names()
    tell(
        log,
        Signal.JOB_EVENT,
        level=logging.DEBUG,
        author=seen.author,
        kind=seen.kind,
        tool=seen.tool or None,
        **names,
    )
    signals.send(Signal.JOB_EVENT, event=seen, **names)


def acked(run: Run, answer: AckAnswer) -> None:
    """Reports a run that the queue has acked. Only the dispatcher's log tells of a lost run."""
    ack, ended = run.ack, run.ended
    if ack is None or answer is AckAnswer.LOST:
        return
    names = run.names()
    seconds = round(ended.duration_seconds, 3) if ended is not None else 0.0
    signal = ending(ack, last=is_last(run))
    # Logged with its reason, a constant, and the lines of code, and not with its message, which may quote a prompt.
    tell(
        log,
        signal,
        level=logging.WARNING if signal is Signal.JOB_DISCARD else logging.INFO,
        reason=ack.reason or None,
        frames=_frames(run) or None,
        duration_seconds=seconds,
        delay_seconds=round(ack.delay_seconds, 3) or None,
        event_count=ack.event_count,
        total_tokens=ack.usage.total_tokens,
        cpu_seconds=round(ended.cpu_seconds, 3) if ended is not None else None,
        max_resident_bytes=ended.max_resident_bytes if ended is not None else None,
        **names,
    )
    values: dict[str, object] = {
        **names,
        "reason": ack.reason,
        "duration_seconds": seconds,
        "event_count": ack.event_count,
        "usage": asdict(ack.usage),
    }
    if ack.kind in (AckKind.FAIL, AckKind.RETRY, AckKind.SNOOZE):
        signals.send(Signal.JOB_EXCEPTION, message=ack.message, **values)
    signals.send(
        signal,
        message=ack.message,
        delay_seconds=ack.delay_seconds,
        events=tuple(run.events) if signal is Signal.JOB_COMPLETE else (),
        **values,
    )
    if schedule := schedule_of(run):
        signals.send(Signal.SCHEDULE_STOP, outcome=signal, **schedule, **values)


def _frames(run: Run) -> list[str]:
    """The lines of the agent's own code that the error came through which ended the run."""
    outcome = run.ended.outcome if run.ended is not None else None
    return list(outcome.frames) if outcome is not None else []


def schedule_of(run: Run) -> dict[str, object]:
    """The schedule that created the job, and its tick; {}: none did."""
    schedule = run.job.payload.get("schedule")
    if not isinstance(schedule, Mapping):
        return {}
    return {
        "schedule": schedule.get("name", ""),
        "schedule_uid": schedule.get("uid", ""),
        "scheduled_time": schedule.get("time", ""),
    }
