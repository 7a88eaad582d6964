"""The table of outcomes: every row, with errors as the libraries raise them."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import aiohttp
import httpx
import pytest
from google.adk.agents.invocation_context import LlmCallsLimitExceededError
from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.models.google_llm import _ResourceExhaustedError
from google.adk.workflow._errors import NodeTimeoutError
from google.genai import errors, types
from google.genai.errors import UnknownApiResponseError
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import IntegrityError

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import Origin, judge_code, judge_exception, status_of
from agentjobs.agents.verdict.errors import (
    AgentInvalid,
    AgentNotFound,
    ModelNotAllowed,
    ModuleNotAllowed,
    SessionFenced,
    SessionStoreUnavailable,
)
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.reasons import Follows, Reason

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
FAIL, RETRY, SNOOZE, CANCELLED = Verdict.FAIL, Verdict.RETRY, Verdict.SNOOZE, Verdict.CANCELLED
MODEL, TOOL, AGENT = Origin.MODEL, Origin.TOOL, Origin.AGENT
REQUEST = httpx.Request("POST", "http://model/")


def genai(code: int, details: list[Any] | None = None, message: str = "said") -> errors.APIError:
    kind = errors.ClientError if code < 500 else errors.ServerError
    return kind(code, said(code, details, message))


def said(code: int, details: list[Any] | None = None, message: str = "said") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": "X", "details": details or []}}


def retry_info(delay: str) -> list[dict[str, str]]:
    return [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]


def exhausted(delay: str) -> _ResourceExhaustedError:
    return _ResourceExhaustedError(errors.ClientError(429, said(429, retry_info(delay))))


def status_error(code: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError(
        "said", request=REQUEST, response=httpx.Response(code, headers=headers, request=REQUEST)
    )


def invalid() -> ValidationError:
    class Answer(BaseModel):
        number: int

    try:
        Answer.model_validate({"number": "the user's own words"})
    except ValidationError as error:
        return error
    raise AssertionError


CASES: list[tuple[BaseException, Origin, Verdict, Reason, float | None]] = [
    # google-genai, by status
    (genai(400), MODEL, FAIL, Reason.MODEL_REQUEST_INVALID, None),
    (genai(400, message="API key not valid. Please"), MODEL, FAIL, Reason.MODEL_AUTH_FAILED, None),
    (genai(401), MODEL, FAIL, Reason.MODEL_AUTH_FAILED, None),
    (genai(403), MODEL, FAIL, Reason.MODEL_AUTH_FAILED, None),
    (genai(404), MODEL, FAIL, Reason.MODEL_NOT_FOUND, None),
    (genai(408), MODEL, RETRY, Reason.MODEL_TIMEOUT, None),
    (genai(409), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    (genai(413), MODEL, FAIL, Reason.MODEL_REQUEST_INVALID, None),
    (genai(425), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    (genai(499), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    (genai(429), MODEL, SNOOZE, Reason.MODEL_RATE_LIMITED, None),
    (genai(429, retry_info("30s")), MODEL, SNOOZE, Reason.MODEL_RATE_LIMITED, 30),
    (exhausted("1.5s"), MODEL, SNOOZE, Reason.MODEL_RATE_LIMITED, 1.5),
    (genai(500), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    (genai(500, retry_info("30s")), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, 30),
    (genai(503), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    (genai(503, retry_info("30s")), MODEL, SNOOZE, Reason.MODEL_UNAVAILABLE, 30),
    (genai(504), MODEL, RETRY, Reason.MODEL_TIMEOUT, None),
    # other clients
    (status_error(429, {"retry-after": "12"}), MODEL, SNOOZE, Reason.MODEL_RATE_LIMITED, 12),
    (status_error(503, {"Retry-After": "12"}), MODEL, SNOOZE, Reason.MODEL_UNAVAILABLE, 12),
    (status_error(500), MODEL, RETRY, Reason.MODEL_SERVER_ERROR, None),
    # time and transport
    (TimeoutError(), MODEL, RETRY, Reason.MODEL_TIMEOUT, None),
    (httpx.ReadTimeout("said"), MODEL, RETRY, Reason.MODEL_TIMEOUT, None),
    (aiohttp.ServerTimeoutError(), MODEL, RETRY, Reason.MODEL_TIMEOUT, None),
    (httpx.ConnectError("said"), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (httpx.RemoteProtocolError("said"), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (aiohttp.ServerDisconnectedError(), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (aiohttp.ClientPayloadError(), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (ConnectionResetError(), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (socket.gaierror(), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    (ssl.SSLError(), MODEL, RETRY, Reason.MODEL_UNREACHABLE, None),
    # answers
    (UnknownApiResponseError("said"), MODEL, RETRY, Reason.MODEL_RESPONSE_INVALID, None),
    (json.JSONDecodeError("said", "doc", 0), MODEL, RETRY, Reason.MODEL_RESPONSE_INVALID, None),
    (json.JSONDecodeError("said", "doc", 0), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (invalid(), MODEL, FAIL, Reason.MODEL_REQUEST_INVALID, None),
    (invalid(), AGENT, RETRY, Reason.AGENT_FAILED, None),
    # plain errors of ADK and of google-genai
    (ValueError("Model nonsense not found.\n\nIt resolves"), AGENT, FAIL, Reason.MODEL_NOT_FOUND, None),
    (ValueError("No API key was provided. Please pass"), MODEL, FAIL, Reason.MODEL_AUTH_FAILED, None),
    (ValueError("Project or API key must be set when"), MODEL, FAIL, Reason.MODEL_AUTH_FAILED, None),
    (KeyError("Context variable not found: `x`."), AGENT, FAIL, Reason.AGENT_INVALID, None),
    (LlmCallsLimitExceededError("said"), AGENT, FAIL, Reason.LLM_CALLS_EXCEEDED, None),
    (NodeTimeoutError(node_name="node", timeout=1.0), AGENT, RETRY, Reason.AGENT_FAILED, None),
    # the session
    (StaleSessionError("said"), AGENT, RETRY, Reason.SESSION_CONFLICT, None),
    (AlreadyExistsError("said"), AGENT, RETRY, Reason.SESSION_CONFLICT, None),
    (IntegrityError("said", None, Exception()), AGENT, RETRY, Reason.SESSION_CONFLICT, None),
    (SessionStoreUnavailable("ours"), AGENT, SNOOZE, Reason.SESSION_STORE_UNAVAILABLE, None),
    (SessionFenced("ours"), AGENT, SNOOZE, Reason.SESSION_FENCED, None),
    # ours
    (AgentNotFound("ours"), AGENT, FAIL, Reason.AGENT_NOT_FOUND, None),
    (AgentInvalid("ours"), AGENT, FAIL, Reason.AGENT_INVALID, None),
    (ModuleNotAllowed("ours"), AGENT, FAIL, Reason.MODULE_NOT_ALLOWED, None),
    (ModelNotAllowed("ours"), AGENT, FAIL, Reason.MODEL_NOT_ALLOWED, None),
    (asyncio.CancelledError(), AGENT, CANCELLED, Reason.CANCELLED, None),
    # the pool's limit, whoever met it
    (MemoryError(), TOOL, RETRY, Reason.OUT_OF_MEMORY, None),
    (MemoryError(), AGENT, RETRY, Reason.OUT_OF_MEMORY, None),
    # tools: whatever it is, it is not about our prompt
    (ValueError("said"), TOOL, RETRY, Reason.TOOL_FAILED, None),
    (genai(400), TOOL, RETRY, Reason.TOOL_FAILED, None),
    (genai(429, retry_info("30s")), TOOL, RETRY, Reason.TOOL_FAILED, None),
    (TimeoutError(), TOOL, RETRY, Reason.TOOL_FAILED, None),
    # the agent's own code, and the unknown
    (ValueError("city not found."), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (TimeoutError(), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (ConnectionError(), AGENT, RETRY, Reason.AGENT_FAILED, None),
    # what the agent's own calls get says nothing about the model, nor when to come back
    (status_error(404), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (status_error(429, {"retry-after": "12"}), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (genai(503, retry_info("30s")), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (httpx.ConnectError("said"), AGENT, RETRY, Reason.AGENT_FAILED, None),
    (RuntimeError("said"), MODEL, RETRY, Reason.UNKNOWN_ERROR, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "origin", "verdict", "reason", "delay"),
    [pytest.param(*case, id=f"{type(case[0]).__name__}-{status_of(case[0])}-{case[1]}") for case in CASES],
)
def test_each_error_has_its_verdict(
    error: BaseException, origin: Origin, verdict: Verdict, reason: Reason, delay: float | None
) -> None:
    judged = judge_exception(error, origin, tool="t" if origin is TOOL else "", now=NOW)
    assert (judged.verdict, judged.reason, judged.delay_seconds) == (verdict, reason, delay)
    assert judged.message


CODES: list[tuple[object, Verdict, Reason]] = [
    *[(reason, FAIL, Reason.MODEL_SAFETY_BLOCKED) for reason in (
        types.FinishReason.SAFETY, types.FinishReason.RECITATION, types.FinishReason.BLOCKLIST,
        types.FinishReason.PROHIBITED_CONTENT, types.FinishReason.SPII, types.FinishReason.IMAGE_SAFETY,
        types.FinishReason.LANGUAGE, types.FinishReason.IMAGE_PROHIBITED_CONTENT, types.FinishReason.IMAGE_RECITATION,
        types.BlockedReason.MODEL_ARMOR, types.BlockedReason.JAILBREAK,
    )],
    (types.FinishReason.MAX_TOKENS, FAIL, Reason.MODEL_OUTPUT_TRUNCATED),
    (types.FinishReason.MALFORMED_FUNCTION_CALL, RETRY, Reason.MODEL_RESPONSE_INVALID),
    (types.FinishReason.UNEXPECTED_TOOL_CALL, RETRY, Reason.MODEL_RESPONSE_INVALID),
    (types.FinishReason.TOO_MANY_TOOL_CALLS, RETRY, Reason.MODEL_RESPONSE_INVALID),
    (types.FinishReason.NO_IMAGE, RETRY, Reason.EMPTY_ANSWER),
    ("MODEL_RETURNED_NO_CONTENT", RETRY, Reason.EMPTY_ANSWER),
    ("INVOCATION_ABORTED", CANCELLED, Reason.CANCELLED),
    (types.FinishReason.OTHER, RETRY, Reason.MODEL_ERROR),
    ("whatever", RETRY, Reason.MODEL_ERROR),
    ("429", SNOOZE, Reason.MODEL_RATE_LIMITED),
    ("500", RETRY, Reason.MODEL_SERVER_ERROR),
    ("StaleSessionError", RETRY, Reason.SESSION_CONFLICT),
    ("", RETRY, Reason.AGENT_FAILED),
]  # fmt: skip


@pytest.mark.parametrize(("code", "verdict", "reason"), CODES, ids=[str(c[0]) for c in CODES])
def test_each_error_code_of_an_event_has_its_verdict(code: object, verdict: Verdict, reason: Reason) -> None:
    judged = judge_code(code, "why")
    assert (judged.verdict, judged.reason) == (verdict, reason)
    name = str(getattr(code, "value", code))
    assert name in judged.message


def test_every_row_of_the_table_is_tried() -> None:
    tried = {str(getattr(code, "value", code)).upper() for code, _, _ in CODES}
    assert set(error_rules.BY_EVENT_CODE) <= tried
    assert {200, 302} & set(error_rules.BY_STATUS) == set()
    assert all(any(status_of(e) == s for e, *_ in CASES) for s in error_rules.BY_STATUS)


def test_verdicts_agree_with_what_the_reasons_say() -> None:
    follows = {RETRY: Follows.RETRIES, SNOOZE: Follows.REFUNDS, FAIL: Follows.ENDS, CANCELLED: Follows.ENDS}
    for _, _, verdict, reason, _ in CASES:
        if reason is not Reason.MODEL_AUTH_FAILED:  # the worker lets it wait: model health
            assert reason.follows is follows[verdict], reason


def test_a_wrapped_error_is_judged_by_its_cause() -> None:
    wrapped = RuntimeError("Error in plugin 'mine' during 'after_run_callback'")
    wrapped.__cause__ = genai(429, retry_info("3s"))
    assert judge_exception(wrapped, MODEL).reason is Reason.MODEL_RATE_LIMITED
    group = ExceptionGroup("parallel", [genai(500)])
    assert judge_exception(group, MODEL).reason is Reason.MODEL_SERVER_ERROR


def test_h7_a_message_is_bounded_and_clean() -> None:
    message = judge_exception(RuntimeError("\x00" + "x" * 1_000_000)).message
    assert len(message.encode()) <= 64 * 1024
    assert "\x00" not in message


SECRET = "the patient's name is Ana"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"could not parse {SECRET!r}"),
        RuntimeError(f"first line\n{SECRET}\nlast line"),
        genai(400, message=f'Invalid value: "{SECRET}"'),
        invalid(),
        json.JSONDecodeError("Expecting value", SECRET, 0),
        UnknownApiResponseError(f"Raw response: {SECRET}"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_no_message_quotes_what_was_said(error: BaseException) -> None:
    said = ["Dear model,\nthe patient's name is Ana\nplease help", SECRET]
    message = judge_exception(error, MODEL, said=said).message
    assert "Ana" not in message
    assert "user's own words" not in message


def test_a_message_says_what_happened_and_what_to_do() -> None:
    assert judge_exception(KeyError("city"), TOOL, tool="weather").message == (
        "Tool 'weather': A tool failed. (KeyError: 'city')"
    )
