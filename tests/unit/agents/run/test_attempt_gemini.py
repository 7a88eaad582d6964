"""What the real google-genai client makes of each thing that a provider can do, and what we make of that."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from gemini import (
    Answer,
    FakeGemini,
    blocked,
    call,
    error,
    finished,
    gemini,
    hangs,
    malformed,
    no_candidates,
    no_parts,
    prompt_blocked,
    rate_limited,
    text,
    truncated,
)
from runs import GEMINI, Job

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["gemini"]

FAIL, RETRY, SNOOZE, COMPLETE = Verdict.FAIL, Verdict.RETRY, Verdict.SNOOZE, Verdict.COMPLETE

CASES: list[tuple[str, Answer, Verdict, str, float | None, str]] = [
    # what, answer, verdict, reason, delay, part of the message
    ("an answer", text("It is sunny."), COMPLETE, "Completed", None, ""),
    ("429 with RetryInfo", rate_limited(delay="7s"), SNOOZE, "ModelRateLimited", 7, "429"),
    ("429 with fractions", rate_limited(delay="0.25s"), SNOOZE, "ModelRateLimited", 0.25, "429"),
    ("429 with Retry-After", rate_limited(retry_after="11"), SNOOZE, "ModelRateLimited", 11, "429"),
    ("429 with both: the longer", rate_limited(delay="7s", retry_after="11"), SNOOZE, "ModelRateLimited", 11, "429"),
    ("429 without a delay", rate_limited(), SNOOZE, "ModelRateLimited", None, "429"),
    (
        "429, the day's quota",
        rate_limited(delay="5s", quota="GenerateRequestsPerDayPerProjectPerModel"),
        SNOOZE, "ModelRateLimited", 3600, "429",
    ),
    (
        "429, the minute's quota",
        rate_limited(delay="5s", quota="GenerateRequestsPerMinutePerProjectPerModel"),
        SNOOZE, "ModelRateLimited", 5, "429",
    ),
    ("500", error(500, "boom"), RETRY, "ModelServerError", None, "500: boom"),
    ("502", error(502), RETRY, "ModelServerError", None, "502"),
    ("503 without a delay is charged", error(503), RETRY, "ModelServerError", None, "503"),
    ("503 with a delay waits", error(503, retry_after="9"), SNOOZE, "ModelUnavailable", 9, "503"),
    ("529 with a delay waits", error(529, retry_after="3"), SNOOZE, "ModelUnavailable", 3, "529"),
    ("504", error(504), RETRY, "ModelTimeout", None, "504"),
    ("408", error(408), RETRY, "ModelTimeout", None, "408"),
    ("400", error(400, "temperature is too high"), FAIL, "ModelRequestInvalid", None, "temperature is too high"),
    (
        "400 about the key",
        error(400, "API key not valid. Please pass a valid API key."),
        FAIL, "ModelAuthFailed", None, "key",
    ),
    ("401", error(401), FAIL, "ModelAuthFailed", None, "401"),
    ("403", error(403), FAIL, "ModelAuthFailed", None, "403"),
    ("404", error(404, "models/gemini-9 is not found"), FAIL, "ModelNotFound", None, "404"),
    ("413", error(413), FAIL, "ModelRequestInvalid", None, "413"),
    ("safety", blocked("SAFETY"), FAIL, "ModelSafetyBlocked", None, "SAFETY"),
    ("recitation", blocked("RECITATION"), FAIL, "ModelSafetyBlocked", None, "RECITATION"),
    ("a refused prompt", prompt_blocked(), FAIL, "ModelSafetyBlocked", None, "PROHIBITED_CONTENT"),
    ("cut short", truncated("It is su"), FAIL, "ModelOutputTruncated", None, "MAX_TOKENS"),
    ("cut before the first word", finished("MAX_TOKENS"), FAIL, "ModelOutputTruncated", None, "MAX_TOKENS"),
    ("a malformed call", finished("MALFORMED_FUNCTION_CALL"), RETRY, "ModelResponseInvalid", None, "MALFORMED"),
    ("an unknown finish", finished("OTHER"), RETRY, "ModelError", None, "OTHER"),
    ("no candidates", no_candidates(), RETRY, "EmptyAnswer", None, ""),
    ("no parts", no_parts(), RETRY, "EmptyAnswer", None, ""),
    ("blanks only", text("  \n"), RETRY, "EmptyAnswer", None, ""),
    ("malformed JSON", malformed(), RETRY, "ModelResponseInvalid", None, "JSONDecodeError"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "verdict", "reason", "delay", "told"), [pytest.param(*c[1:], id=c[0]) for c in CASES]
)
async def test_each_answer_of_a_provider_has_its_verdict(
    gemini: FakeGemini, answer: Answer, verdict: Verdict, reason: str, delay: float | None, told: str
) -> None:
    gemini.script(answer)
    outcome = await Job(GEMINI, "What about the weather in Ljubljana?").attempt()
    assert (outcome.verdict, outcome.reason, outcome.delay_seconds) == (verdict, reason, delay)
    assert told in outcome.message
    assert "Ljubljana" not in outcome.message
    assert len(gemini.requests) == 1, "retries are ours, not the client's"


async def test_a_retry_after_date_is_a_delay(gemini: FakeGemini) -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    gemini.script(rate_limited(retry_after=in_a_minute))
    outcome = await Job(GEMINI).attempt()
    assert outcome.delay_seconds is not None
    assert 50 < outcome.delay_seconds <= 61


async def test_a_hanging_provider_is_given_up_after_the_pools_timeout(gemini: FakeGemini) -> None:
    gemini.script(hangs())
    began = time.monotonic()
    outcome = await Job(GEMINI, model_timeout_seconds=1).attempt()
    assert (outcome.verdict, outcome.reason) == (RETRY, "ModelTimeout")
    assert time.monotonic() - began < 60


async def test_a_provider_that_is_not_there_is_unreachable(
    gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")
    outcome = await Job(GEMINI).attempt()
    assert (outcome.verdict, outcome.reason) == (RETRY, "ModelUnreachable")


async def test_a_missing_key_fails_at_once(gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY")
    outcome = await Job(GEMINI).attempt()
    assert (outcome.verdict, outcome.reason) == (FAIL, "ModelAuthFailed")
    assert gemini.requests == []


async def test_tokens_thoughts_included_are_summed(gemini: FakeGemini) -> None:
    usage = {
        "promptTokenCount": 20,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 7,
        "totalTokenCount": 30,
    }
    gemini.script(call("nothing"), text("done", thought="let me think", usage=usage))
    job = Job(GEMINI)
    outcome = await job.attempt()
    assert outcome.result == "done", "thoughts are no answer"
    used = outcome.usage
    assert (used.prompt_tokens, used.output_tokens, used.total_tokens) == (30, 15, 45)
    assert (used.llm_calls, used.tool_calls) == (2, 1)
    assert outcome.event_count == len(job.events) == 3


async def test_h6_an_answer_with_nul_is_cleaned(gemini: FakeGemini) -> None:
    gemini.script(text("a\x00b"))
    assert (await Job(GEMINI).attempt()).result == "a�b"


async def test_h7_an_answer_is_cut_at_one_mebibyte(gemini: FakeGemini) -> None:
    gemini.script(text("é" * 1_000_000))
    result = (await Job(GEMINI).attempt()).result
    assert result is not None
    assert len(result.encode()) <= 1024 * 1024
    assert result.endswith("…")
