"""Every exception class that a model's client exports has a row, or is named as one that no model call raises."""

from __future__ import annotations

import pytest
from agent_modules import Write, write_module
from decided_rows import rows
from provider import FakeProvider
from provider_shapes import Answer, Failure
from runs import Job, module

from agentjobs.agents.verdict.classify import Origin, judge_exception
from client_errors import CLASSES, NEVER, error_of, exported

__all__ = ["rows", "write_module"]

AGENTS = """
from google.adk.agents import LlmAgent
from google.adk.models import Gemini, FallbackModel
from google.adk.models.apigee_llm import ApigeeLlm
from google.genai.types import HttpRetryOptions
RETRIES = HttpRetryOptions(attempts=3, initial_delay=0.01)
root_agent = LlmAgent(name="agent", model={model}, instruction="Answer.")
"""
MODELS = {
    "GPT": "'gpt-4o'",
    "GPT by its class": "'openai:gpt-4o'",
    "Apigee": "ApigeeLlm(model='apigee/openai/gpt-4o', retry_options=RETRIES)",
    "Interactions": "Gemini(model='gemini-2.5-flash', use_interactions_api=True, retry_options=RETRIES)",
    "Ollama": "'ollama_chat/llama3'",
    "Fallback": "FallbackModel(models=['gpt-4o'])",
    "Fallback to a made one": "FallbackModel(models=[ApigeeLlm(model='apigee/openai/x', retry_options=RETRIES)])",
}
"""ADK's clients beside those that the table of outcomes goes through, and which share those clients' rows."""
ENVIRONMENT = (
    "GOOGLE_GEMINI_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_BASE", "APIGEE_PROXY_URL", "OLLAMA_API_BASE",
)  # fmt: skip
NOWHERE = "http://127.0.0.1:1"
SAID = {
    "ModelServerError": Answer(failure=Failure(503)),
    "ModelRateLimited": Answer(failure=Failure(429)),
    "ModelNotFound": Answer(failure=Failure(404)),
    "ModelAuthFailed": Answer(failure=Failure(401)),
    "ModelTimeout": Answer(fault="silent"),
    "ModelUnreachable": Answer(fault="reset"),
    "ModelResponseInvalid": Answer(raw="<html>"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reason", SAID)
async def test_what_a_provider_does_is_asked_for_once_and_told_whichever_client_hears_it(
    model: str, reason: str, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("under_test", AGENTS.format(model=MODELS[model]))
    with FakeProvider() as provider:
        provider.answer = SAID[reason]
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, provider.url)
        for name in ("GOOGLE_API_KEY", "OPENAI_API_KEY"):
            monkeypatch.setenv(name, "fake-key-of-the-tests")
        outcome = await Job(module("under_test"), modules=("under_test",), model_timeout_seconds=1).attempt()
        assert outcome.reason == reason, outcome.message
        # LiteLLM's own HTTP handler asks once more where a connection broke
        assert provider.requests <= (2 if model == "Ollama" and provider.answer.fault == "reset" else 1)
        assert "Traceback" not in outcome.message


@pytest.mark.parametrize("model", MODELS)
async def test_a_provider_that_refuses_connections_is_unreachable_whichever_client_tries(
    model: str, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("under_test", AGENTS.format(model=MODELS[model]))
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, NOWHERE)
    for name in ("GOOGLE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "fake-key-of-the-tests")
    outcome = await Job(module("under_test"), modules=("under_test",)).attempt()
    assert outcome.reason == "ModelUnreachable", outcome.message


async def test_an_answer_of_another_form_could_not_be_read(
    write_module: Write, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("under_test", AGENTS.format(model=MODELS["Ollama"]))
    with FakeProvider() as provider:
        provider.answer = Answer(raw='{"model": "x", "message": null}')
        monkeypatch.setenv("OLLAMA_API_BASE", provider.url)
        outcome = await Job(module("under_test"), modules=("under_test",)).attempt()
    assert (outcome.reason, rows) == ("ModelResponseInvalid", ["answer"]), outcome.message


@pytest.mark.parametrize("address", ["127.0.0.1:1/v1", "ftp://127.0.0.1/v1"])
async def test_an_address_that_is_none_fails_at_once(
    address: str, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("under_test", AGENTS.format(model=MODELS["GPT"]))
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "fake-key-of-the-tests")
    outcome = await Job(module("under_test"), modules=("under_test",)).attempt()
    assert outcome.reason == "ModelRequestInvalid", outcome.message


@pytest.mark.parametrize(
    ("module", "kind"), CLASSES, ids=[f"{module}.{kind.__name__}" for module, kind in CLASSES]
)
def test_a_class_that_a_client_exports_has_a_row(module: str, kind: type[BaseException]) -> None:
    rows = {status: judge_exception(error_of(kind, status), Origin.MODEL).row for status in (None, 418, 599)}
    if kind.__name__ in NEVER.get(module, {}):
        assert "unknown" in rows.values(), f"{kind.__name__} has a row: take it off NEVER"
        return
    carries_a_status = rows[418] == "status 4xx" and rows[599] == "status 5xx"
    assert carries_a_status or rows[None] != "unknown", f"{module}.{kind.__name__} has no row"


@pytest.mark.parametrize("module", NEVER)
def test_a_class_that_never_comes_is_exported(module: str) -> None:
    names = {kind.__name__ for kind in exported(module)}
    assert set(NEVER[module]) <= names
