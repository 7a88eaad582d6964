"""Which signals an end sends, and what they carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, AckAnswer, AckKind
from agentjobs.telemetry import signals
from agentjobs.telemetry.signals import Signal
from agentjobs.values.usage import Usage
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.supervisor import reports
from agentjobs.worker.supervisor.runs import Run
from worker_builders import claimed

Got = list[tuple[Signal, Mapping[str, Any]]]


def sent(kind: AckKind, *, attempt: int = 1, answer: AckAnswer = AckAnswer.OK, **payload: object) -> Got:
    job = claimed(attempt=attempt)
    run = Run(claimed(attempt=attempt, payload={**job.payload, **payload}), uuid4())
    run.events = [AgentEvent("agent", "text")]
    run.ended = Ended(duration_seconds=1.5)
    run.ack = Ack(7, 3, kind, 30.0, "AnyReason", "what happened", usage=Usage(1, 2, 3), event_count=1)
    got: Got = []
    undo = signals.subscribe(lambda signal, values: got.append((signal, values)))
    try:
        reports.acked(run, answer)
        assert signals.flush(60)
    finally:
        undo()
    return got


@pytest.mark.parametrize(
    ("kind", "attempt", "wanted"),
    [
        (AckKind.COMPLETE, 1, [Signal.JOB_COMPLETE]),
        (AckKind.RETRY, 1, [Signal.JOB_EXCEPTION, Signal.JOB_RETRY]),
        (AckKind.RETRY, 3, [Signal.JOB_EXCEPTION, Signal.JOB_DISCARD]),
        (AckKind.FAIL, 1, [Signal.JOB_EXCEPTION, Signal.JOB_DISCARD]),
        (AckKind.SNOOZE, 1, [Signal.JOB_EXCEPTION, Signal.JOB_SNOOZE]),
        (AckKind.RELEASE, 1, [Signal.JOB_SNOOZE]),
        (AckKind.CANCEL, 1, [Signal.JOB_CANCEL]),
    ],
)
def test_each_end_has_its_signals(kind: AckKind, attempt: int, wanted: list[Signal]) -> None:
    got = sent(kind, attempt=attempt)
    assert [signal for signal, _ in got] == wanted
    last = got[-1][1]
    assert (last["reason"], last["duration_seconds"], last["event_count"]) == ("AnyReason", 1.5, 1)
    assert (last["message"], last["delay_seconds"]) == ("what happened", 30.0)
    assert last["usage"]["total_tokens"] == 3
    assert len(last["events"]) == (kind is AckKind.COMPLETE)


def test_a_run_that_was_lost_ended_for_nobody() -> None:
    assert sent(AckKind.COMPLETE, answer=AckAnswer.LOST) == []


def test_a_schedule_stops_after_the_end_of_its_run() -> None:
    got = sent(AckKind.CANCEL, schedule={"name": "nightly", "uid": "u", "time": "t"})
    assert [signal for signal, _ in got] == [Signal.JOB_CANCEL, Signal.SCHEDULE_STOP]
    assert (got[1][1]["outcome"], got[1][1]["schedule"]) == (Signal.JOB_CANCEL, "nightly")
