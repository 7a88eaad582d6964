"""How a run ended decides what the queue is told."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from uuid import UUID

import pytest

from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.queue.records import AckKind
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.acks import ack_of, crash_message, invalid, too_new
from worker_builders import claimed

RNG = Random(1)


def answer(verdict: Verdict, **changes: object) -> Outcome:
    return Outcome(verdict, usage=Usage(1, 2, 3, 1, 0), event_count=2, **changes)  # type: ignore[arg-type]


def test_an_answer_completes_the_job_with_what_it_cost() -> None:
    ack = ack_of(claimed(), Ended(outcome=answer(Verdict.COMPLETE, result="42"), log_tail="bye"), RNG)
    assert ack is not None
    assert (ack.kind, ack.id, ack.token, ack.result) == (AckKind.COMPLETE, 7, 3, "42")
    assert (ack.usage, ack.event_count, ack.log_tail) == (Usage(1, 2, 3, 1, 0), 2, "bye")
    assert ack.session_id == f"job-{UUID(int=1)}"


@pytest.mark.parametrize(
    "why", [Why.CANCEL, Why.DEADLINE, Why.TIMEOUT, Why.SUSPEND, Why.DRAIN, Why.MEMORY, Why.LEASE]
)
def test_h15_an_answer_that_comes_while_the_run_is_stopped_is_an_answer(why: Why) -> None:
    ack = ack_of(claimed(), Ended(outcome=answer(Verdict.COMPLETE, result="42"), why=why), RNG)
    assert ack is not None
    assert ack.kind is AckKind.COMPLETE


@pytest.mark.parametrize(
    ("why", "kind", "reason"),
    [
        (Why.CANCEL, AckKind.CANCEL, "Cancelled"),
        (Why.DEADLINE, AckKind.CANCEL, "DeadlineExceeded"),
        (Why.TIMEOUT, AckKind.RETRY, "AttemptTimeout"),
        (Why.MEMORY, AckKind.RETRY, "OutOfMemory"),
        (Why.LEASE, AckKind.RELEASE, "LeaseExpired"),
        (Why.SUSPEND, AckKind.RELEASE, "Suspended"),
        (Why.DRAIN, AckKind.RELEASE, "Drained"),
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        Ended(cancelled=True, exit_status=0),
        Ended(exit_status=-15),
        Ended(exit_status=-9),
        Ended(outcome=answer(Verdict.CANCELLED)),
        Ended(outcome=answer(Verdict.RETRY, reason="ModelUnreachable")),
        Ended(crash="sys.exit(0) was called inside the run", exit_status=0),
    ],
    ids=["cancelled", "terminated", "killed", "aborted", "failed on the way", "exited"],
)
def test_what_was_asked_explains_the_end(why: Why, kind: AckKind, reason: str, end: Ended) -> None:
    ack = ack_of(claimed(), replace(end, why=why), RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (kind, reason)
    assert (ack.delay_seconds > 0) == (kind is AckKind.RETRY)


def test_a_permanent_error_stays_one_even_when_the_run_was_being_stopped() -> None:
    end = Ended(outcome=answer(Verdict.FAIL, reason="ModelRequestInvalid"), why=Why.DRAIN)
    ack = ack_of(claimed(), end, RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (AckKind.FAIL, "ModelRequestInvalid")


def test_a_lost_run_says_nothing() -> None:
    ended = Ended(outcome=answer(Verdict.COMPLETE, result="42"), why=Why.LOST)
    assert ack_of(claimed(), ended, RNG) is None


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (Ended(exit_status=-11), "killed by SIGSEGV"),
        (Ended(exit_status=-9), "killed by SIGKILL"),
        (Ended(exit_status=1), "status 1"),
        (Ended(exit_status=0), "without a result"),
        (Ended(crash="sys.exit(3) was called inside the run", exit_status=0), "sys.exit(3)"),
    ],
)
def test_a_crash_is_charged_and_says_how(end: Ended, message: str) -> None:
    ack = ack_of(claimed(attempt=2), replace(end, usage=Usage(5, 0, 5, 1, 0), event_count=1), RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (AckKind.RETRY, "ExecutorCrashed")
    assert message in ack.message
    assert 27 <= ack.delay_seconds <= 33, "the backoff of the second attempt"
    assert (ack.usage.total_tokens, ack.event_count) == (5, 1), "what the events said"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (Ended(exit_status=-11), "; it was in tool charge"),
        (Ended(why=Why.TIMEOUT, duration_seconds=5), "s that attemptTimeoutSeconds allows; it was in tool charge"),
        (Ended(why=Why.MEMORY), "; it was in tool charge"),
        (Ended(outcome=answer(Verdict.RETRY, message="KeyError")), "KeyError"),
    ],
)  # fmt: skip
def test_the_end_of_a_run_that_says_nothing_itself_tells_where_it_was(end: Ended, told: str) -> None:
    ack = ack_of(claimed(), end, RNG, where="in tool charge")
    assert ack is not None
    assert ack.message.endswith(told), ack.message


def test_cancelled_counts_only_where_we_asked() -> None:
    ack = ack_of(claimed(), Ended(cancelled=True, exit_status=0), RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (AckKind.RETRY, "ExecutorCrashed")


def test_a_run_that_lost_its_template_is_refunded_because_a_neighbour_may_have_done_it() -> None:
    ack = ack_of(claimed(max_attempts=1), Ended(never_ran="the template ended with status -9"), RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (AckKind.RELEASE, "ExecutorCrashed")
    assert 0 < ack.delay_seconds <= 2


def test_a_result_counts_more_than_the_exit_status() -> None:
    ended = Ended(outcome=answer(Verdict.COMPLETE, result="42"), exit_status=-9)
    ack = ack_of(claimed(), ended, RNG)
    assert ack is not None
    assert ack.kind is AckKind.COMPLETE


def test_an_error_that_names_its_delay_overrides_the_backoff() -> None:
    ack = ack_of(claimed(), Ended(outcome=answer(Verdict.RETRY, delay_seconds=1.5)), RNG)
    assert ack is not None
    assert ack.delay_seconds == 1.5


def test_a_rate_limit_waits_what_it_asks_and_is_a_snooze() -> None:
    ended = Ended(outcome=answer(Verdict.SNOOZE, delay_seconds=40.0, reason="ModelRateLimited"))
    ack = ack_of(claimed(), ended, RNG)
    assert ack is not None
    assert (ack.kind, ack.reason) == (AckKind.SNOOZE, "ModelRateLimited")
    assert ack.delay_seconds >= 40


def test_h16_snoozes_grow() -> None:
    ended = Ended(outcome=answer(Verdict.SNOOZE))
    first, fourth = (ack_of(claimed(snoozes=k), ended, RNG) for k in (0, 3))
    assert first is not None
    assert fourth is not None
    assert 15 <= first.delay_seconds <= 18
    assert 120 <= fourth.delay_seconds <= 144


def test_h30_a_payload_for_a_newer_worker_is_given_back() -> None:
    ack = too_new(claimed(), "payload.v is 2", RNG)
    assert (ack.kind, ack.reason) == (AckKind.RELEASE, "PayloadUnsupported")
    assert ack.delay_seconds >= 20, "not straight back to the same worker"


def test_a_payload_that_nobody_can_run_fails() -> None:
    ack = invalid(claimed(), "payload.agent must be an object")
    assert (ack.kind, ack.reason) == (AckKind.FAIL, "InvalidSpec")


def test_an_unknown_signal_number_still_gives_a_message() -> None:
    assert "signal 63" in crash_message(Ended(exit_status=-63))


@pytest.mark.parametrize("why", [None, Why.DRAIN, Why.SUSPEND, Why.CANCEL, Why.TIMEOUT])
def test_a_question_was_there_before_what_we_asked_for(why: Why | None) -> None:
    outcome = Outcome(Verdict.ASK, "InputRequired", "it asks", requests=(InputRequest("q-1", "refund"),))
    payload = {**claimed().payload, "inputDeadlineSeconds": 60}
    ack = ack_of(claimed(payload=payload), Ended(outcome=outcome, why=why), Random(1))
    assert ack is not None
    assert (ack.kind, ack.reason, ack.input_deadline_seconds) == (AckKind.ASK, "InputRequired", 60)
    assert [(request.id, request.tool) for request in ack.requests] == [("q-1", "refund")]
