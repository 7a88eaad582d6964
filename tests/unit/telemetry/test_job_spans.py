"""What a job waited for, and the runs of workers that were lost, become spans of its round."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agentjobs.telemetry.job_spans import RunTimes, Timeline, spans_of

BEGAN = datetime(2026, 11, 26, 6, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def run(number: int, start: float, end: float, kind: str = "retry", next_at: float | None = None) -> RunTimes:
    return RunTimes(
        number, number, "w-1", at(start), at(end), kind, "Any", None if next_at is None else at(next_at)
    )


def job(*runs: RunTimes, due: float = 0, end: float = 100, **changes: object) -> Timeline:
    made = Timeline(
        uid=UUID(int=1),
        namespace="team",
        name="job",
        queue="agents",
        traceparent="",
        round=1,
        state="Complete",
        reason="Completed",
        attempts=len(runs),
        max_attempts=3,
        begun_at=at(0),
        due_at=at(due),
        finished_at=at(end),
        acked=True,
        runs=runs,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def told(made: Timeline) -> list[tuple[str, float, float]]:
    """Name, begin and end of each span, in seconds."""
    zero = int(BEGAN.timestamp()) * 10**9
    return [(s.name, (s.start_ns - zero) / 1e9, ((s.end_ns or 0) - zero) / 1e9) for s in spans_of(made)]


@pytest.mark.parametrize(
    ("made", "spans"),
    [
        (job(run(1, 2, 100, "")), [("queued", 0, 2)]),
        (job(run(1, 32, 100, ""), due=30), [("scheduled", 0, 30), ("queued", 30, 32)]),
        (
            job(run(1, 1, 10, next_at=25), run(2, 27, 100, "")),
            [("queued", 0, 1), ("retrying", 10, 25), ("queued", 25, 27)],
        ),
        (
            job(run(1, 1, 10, "lost"), run(2, 12, 100, "")),
            [("queued", 0, 1), ("process agents", 1, 10), ("queued", 10, 12)],
        ),
        (job(), []),
        (job(run(1, 2, 100, ""), due=50), [("scheduled", 0, 2)]),
    ],
    ids=["at once", "delayed", "retried", "worker lost", "never ran", "clocks that disagree"],
)
def test_waits_fill_the_gaps_between_runs(made: Timeline, spans: list[tuple[str, float, float]]) -> None:
    assert told(made) == [*spans, ("job agents", 0, 100)]


def test_a_failed_round_is_an_error_with_its_reason_and_a_cancelled_one_is_none() -> None:
    *_, failed = spans_of(job(state="Failed", reason="DeadlineExceeded"))
    assert (failed.error, failed.attributes["error.type"]) == ("DeadlineExceeded", "DeadlineExceeded")
    *_, cancelled = spans_of(job(state="Cancelled", reason="Cancelled"))
    assert cancelled.error is None


def test_all_spans_are_children_of_the_round_in_the_callers_trace() -> None:
    made = job(run(1, 1, 10, "lost"), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    *others, root = spans_of(made)
    assert (root.trace_id, root.parent_id) == ("a" * 32, "b" * 16)
    assert {span.parent_id for span in others} == {root.span_id}
    assert {span.trace_id for span in others} == {root.trace_id}
