"""What the queue is told of a run's models."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.queue.records import Ack, AckKind, ModelReport
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.acks import ack_of
from worker_builders import claimed

RNG = Random(1)
INLINE = {"v": 1, "agent": {"inline": {"model": "gemini-test"}}, "message": "hello"}
DOWN = Outcome(Verdict.RETRY, "ModelServerError", model_answer=ModelAnswer.UNAVAILABLE, model="gemini-pro")
REFUSED = Outcome(Verdict.FAIL, "ModelAuthFailed", model_answer=ModelAnswer.KEY_REFUSED, model="gemini-pro")
LIMITED = Outcome(
    Verdict.SNOOZE,
    "ModelRateLimited",
    delay_seconds=7,
    model_answer=ModelAnswer.RATE_LIMITED,
    model="gemini-pro",
)


def ack(
    outcome: Outcome, *, payload: dict[str, Any] | None = None, why: Why | None = None, health: bool = True
) -> Ack:
    job = claimed(payload=payload) if payload else claimed()
    made = ack_of(job, Ended(outcome=outcome, why=why), RNG, model_health=health)
    assert made is not None
    return made


def test_an_answer_is_told_of_each_model_that_gave_one() -> None:
    told = ack(Outcome(Verdict.COMPLETE, result="42", answered=("a", "b"))).models
    assert told == (ModelReport("a", ModelAnswer.ANSWERED), ModelReport("b", ModelAnswer.ANSWERED))


def test_a_models_last_word_is_what_counts() -> None:
    outcome = Outcome(
        Verdict.RETRY, "ModelTimeout", model_answer=ModelAnswer.UNAVAILABLE, model="a", answered=("a", "b")
    )
    assert ack(outcome).models == (
        ModelReport("b", ModelAnswer.ANSWERED),
        ModelReport("a", ModelAnswer.UNAVAILABLE, "ModelTimeout"),
    )


@pytest.mark.parametrize(
    ("outcome", "answer", "delay"),
    [
        (DOWN, ModelAnswer.UNAVAILABLE, 0),
        (REFUSED, ModelAnswer.KEY_REFUSED, 0),
        (LIMITED, ModelAnswer.RATE_LIMITED, 7),
    ],
)
def test_a_failure_names_its_model_and_what_was_wrong(
    outcome: Outcome, answer: ModelAnswer, delay: float
) -> None:
    assert ack(outcome).models == (ModelReport("gemini-pro", answer, outcome.reason, delay),)


def test_an_inline_agents_model_is_the_one_that_its_jobs_wait_under() -> None:
    renamed = Outcome(
        Verdict.RETRY, "ModelTimeout", model_answer=ModelAnswer.UNAVAILABLE, model="models/gemini-test"
    )
    (report,) = ack(renamed, payload=INLINE).models
    assert report.model == "gemini-test"
    (report,) = ack(Outcome(Verdict.COMPLETE, result="x", answered=("gemini-x",)), payload=INLINE).models
    assert report.model == "gemini-test"


def test_a_module_stands_for_its_model_where_nobody_knows_that() -> None:
    (report,) = ack(Outcome(Verdict.RETRY, "ModelTimeout", model_answer=ModelAnswer.UNAVAILABLE)).models
    assert report.model == "module:m"


def test_a_refused_key_lets_the_job_wait_where_model_health_is_kept_and_fails_it_where_not() -> None:
    assert ack(REFUSED).kind is AckKind.SNOOZE
    without = ack(REFUSED, health=False)
    assert (without.kind, without.models) == (AckKind.FAIL, ())


def test_a_run_that_was_stopped_says_nothing_of_its_model() -> None:
    stopped = ack(DOWN, why=Why.DRAIN)
    assert (stopped.kind, stopped.models) == (AckKind.RELEASE, ())


def test_a_failure_that_is_nobodys_but_the_jobs_says_that_the_model_answered() -> None:
    failed = ack(Outcome(Verdict.RETRY, "ToolFailed", answered=("a",)))
    assert failed.models == (ModelReport("a", ModelAnswer.ANSWERED),)
