"""What a run says about the models that it called."""

from __future__ import annotations

import pytest
from gemini import Answer, FakeGemini, error, gemini, rate_limited, text
from runs import GEMINI, Job

from agentjobs.agents.verdict.classify import Origin, judge_code, judge_exception
from agentjobs.agents.verdict.outcome import Outcome, Verdict
from agentjobs.values.model_answer import ModelAnswer

__all__ = ["gemini"]

MODEL = str(GEMINI["inline"]["model"])


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (error(500), ModelAnswer.UNAVAILABLE),
        (error(503), ModelAnswer.UNAVAILABLE),
        (error(503, retry_after="3"), ModelAnswer.UNAVAILABLE),
        (error(504), ModelAnswer.UNAVAILABLE),
        (error(401), ModelAnswer.KEY_REFUSED),
        (error(403), ModelAnswer.KEY_REFUSED),
        (error(400, "API key not valid. Please pass a valid API key."), ModelAnswer.KEY_REFUSED),
        (rate_limited(delay="3s"), ModelAnswer.RATE_LIMITED),
    ],
)
async def test_a_failed_call_names_its_model_and_what_it_says_about_it(
    gemini: FakeGemini, answer: Answer, health: ModelAnswer
) -> None:
    gemini.script(answer)
    outcome = await Job(GEMINI).attempt()
    assert (outcome.model_answer, outcome.model, outcome.answered) == (health, MODEL, ())
    assert Outcome.from_json(outcome.as_json()) == outcome


@pytest.mark.parametrize("answer", [error(400, "too long"), error(404), error(413)])
async def test_a_refused_request_says_nothing_about_the_model(gemini: FakeGemini, answer: Answer) -> None:
    gemini.script(answer)
    outcome = await Job(GEMINI).attempt()
    assert (outcome.model_answer, outcome.model, outcome.answered) == (None, "", ())


async def test_an_answer_names_its_model(gemini: FakeGemini) -> None:
    gemini.script(text("hello"))
    outcome = await Job(GEMINI).attempt()
    assert (outcome.verdict, outcome.answered, outcome.model_answer) == (Verdict.COMPLETE, (MODEL,), None)


@pytest.mark.parametrize("origin", [Origin.AGENT, Origin.TOOL])
def test_errors_that_no_models_call_raised_say_nothing_about_a_model(origin: Origin) -> None:
    for raised in (ConnectionError("x"), TimeoutError("x")):
        assert judge_exception(raised, origin).model_answer is None
    assert judge_exception(ConnectionError("x"), Origin.MODEL).model_answer is ModelAnswer.UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "health"), [("503", ModelAnswer.UNAVAILABLE), ("401", ModelAnswer.KEY_REFUSED), ("SAFETY", None)]
)
def test_an_error_event_without_an_exception_says_the_same(code: str, health: ModelAnswer | None) -> None:
    assert judge_code(code).model_answer is health
