"""What a provider, or the way to it, can do; and what must come of it: one line each, for every client.

A test runs each with each real client (``model_clients``), and another one sees to it that every row of the table is
named here, or in ``other_rows``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provider_shapes import Answer, Failure

from agentjobs.agents.verdict.outcome import Verdict
from model_clients import Client

COMPLETE, RETRY, SNOOZE, FAIL = Verdict.COMPLETE, Verdict.RETRY, Verdict.SNOOZE, Verdict.FAIL


@dataclass(frozen=True)
class Case:
    name: str
    answer: Answer
    verdict: Verdict
    reason: str
    delay: float | None = None
    row: str | Mapping[str, str] = ""
    """Which row of the table decides; by the beginning of a client's name where that differs, the longest counts."""
    clients: tuple[str, ...] = ("",)
    """Beginnings of the names of the clients that this can happen to."""
    way: str = ""
    """``refused``, ``dns``, ``tls``, ``full``: what is wrong on the way to the provider."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Other reasons, by the beginning of a client's name."""

    @property
    def is_silent(self) -> bool:
        """Nothing more comes, ever."""
        return self.way == "full" or self.answer.fault.startswith("silent")

    def is_for(self, client: Client) -> bool:
        # httpx2 is httpx under another name: what the provider's words mean need not be asked twice
        is_about_words = not (self.way or self.answer.fault or self.answer.raw)
        if client.transport == "httpx2" and is_about_words and self.name != "500":
            return False
        return client.name.startswith(self.clients)

    def row_of(self, client: Client) -> str:
        return self.row if isinstance(self.row, str) else _longest(self.row, client.name, "")

    def reason_of(self, client: Client) -> str:
        return _longest(self.reasons, client.name, self.reason)

    @property
    def rows(self) -> set[str]:
        return {self.row} if isinstance(self.row, str) else set(self.row.values())


def _longest(by_beginning: Mapping[str, str], name: str, default: str) -> str:
    found = [beginning for beginning in by_beginning if name.startswith(beginning)]
    return by_beginning[max(found, key=len)] if found else default


def _status(
    status: int, verdict: Verdict, reason: str, row: str | Mapping[str, str] = "", **more: Any
) -> Case:
    delay = more.pop("delay", None)
    headers = more.pop("headers", {})
    name = more.pop("name", f"{status} {headers}" if headers else str(status))
    failure = Failure(status, **more.pop("failure", {}))
    return Case(
        name,
        Answer(failure=failure, headers=headers),
        verdict,
        reason,
        delay,
        row or f"status {status}",
        **more,
    )


def _limited(name: str, details: tuple[dict[str, Any], ...], delay: float | None) -> Case:
    """429 with google.rpc's details: Gemini's alone."""
    return _status(
        429,
        SNOOZE,
        "ModelRateLimited",
        name=name,
        delay=delay,
        failure={"details": details},
        clients=("gemini",),
    )


def _retry_info(delay: Any) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def _quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def _finish(reason: str, verdict: Verdict, told: str, row: str = "", text: str = "") -> Case:
    return Case(
        f"finish reason {reason}", Answer(text=text, finish=reason), verdict, told, None, row or f"code {reason}",
        clients=("gemini",),
    )  # fmt: skip


def _blocked_prompt(reason: str) -> Case:
    return Case(
        f"blocked prompt {reason}", Answer(prompt_blocked=reason), FAIL, "ModelSafetyBlocked", None, f"code {reason}",
        clients=("gemini",),
    )  # fmt: skip


_UNREACHABLE = {
    "gemini/aiohttp": "class aiohttp.ClientError",
    "gemini/httpx": "class httpx.RequestError",
    "gemini/httpx2": "class httpx2.RequestError",
    "openai": "class openai.APIConnectionError",
    "anthropic": "class httpx.RequestError",
    "claude": "class anthropic.APIConnectionError",
}
_TORN = {
    **_UNREACHABLE,
    "gemini/aiohttp": "class aiohttp.ClientError",
    **dict.fromkeys(("openai/aiohttp/stream", "openai/httpx/stream"), "class httpx.RequestError"),
    "claude/httpx/stream": "class httpx2.RequestError",
}
_TIMED_OUT = {
    "gemini/aiohttp": "class builtins.TimeoutError",
    "gemini/httpx": "class httpx.TimeoutException",
    "gemini/httpx2": "class httpx2.TimeoutException",
    "claude": "class anthropic.APITimeoutError",
    "": "class litellm.Timeout",
}
_LITELLM_TIMEOUT = "class litellm.Timeout"
_TIMED_OUT_MIDWAY = {
    **_TIMED_OUT,
    **{
        f"{p}/{t}/stream": "class httpx.TimeoutException"
        for p in ("openai", "anthropic")
        for t in ("aiohttp", "httpx")
    },
    "claude/httpx/stream": "class httpx2.TimeoutException",
}
# LiteLLM passes over lines of a stream that are no events.
_SILENT_STREAMS = {
    f"{p}/{t}/stream": "EmptyAnswer" for p in ("openai", "anthropic", "claude") for t in ("aiohttp", "httpx")
}
_JSON = "class json.JSONDecodeError"
_NO_JSON = {
    "gemini": _JSON,
    **{f"gemini/{t}/stream": "class google.UnknownApiResponseError" for t in ("aiohttp", "httpx", "httpx2")},
    **{f"{p}/{t}/plain": _JSON for p in ("openai", "anthropic") for t in ("aiohttp", "httpx")},
}
# In streams nothing says so but the silence.
_NO_TEXT = {
    f"{p}/{t}/plain": "code MODEL_RETURNED_NO_CONTENT"
    for p in ("gemini", "openai", "anthropic")
    for t in ("aiohttp", "httpx", "httpx2")
}
# LiteLLM takes an answer without choices for the server's failure.
_NO_CHOICES = {f"openai/{t}/plain": "ModelServerError" for t in ("aiohttp", "httpx")}

CASES: tuple[Case, ...] = (
    Case("an answer", Answer(), COMPLETE, "Completed"),
    # statuses
    _status(400, FAIL, "ModelRequestInvalid", "status 4xx"),
    _status(
        400, FAIL, "ModelAuthFailed", "status 400 about the key", name="400 about the key",
        failure={"message": "API key not valid. Please pass a valid API key."}, clients=("gemini",),
    ),
    _status(
        400, FAIL, "ModelRequestInvalid", "class litellm.ContextWindowExceededError", name="OpenAI's context window",
        failure={"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"},
        clients=("openai",),
    ),
    _status(
        400, FAIL, "ModelRequestInvalid", "class litellm.ContextWindowExceededError", name="Anthropic's context window",
        failure={"message": "prompt is too long: 210000 tokens > 200000 maximum"}, clients=("anthropic",),
    ),
    _status(
        400, FAIL, "ModelSafetyBlocked", "class litellm.ContentPolicyViolationError", name="OpenAI's content policy",
        failure={"message": "Your request was rejected by our safety system.", "code": "content_policy_violation"},
        clients=("openai",),
    ),
    _status(
        400, FAIL, "ModelSafetyBlocked", "class litellm.ContentPolicyViolationError", name="Anthropic's content policy",
        failure={"message": "Output blocked by content filtering policy"}, clients=("anthropic",),
    ),
    _status(401, FAIL, "ModelAuthFailed"),
    _status(403, FAIL, "ModelAuthFailed"),
    _status(404, FAIL, "ModelNotFound"),
    _status(408, RETRY, "ModelTimeout", {"": "status 408", "anthropic": _LITELLM_TIMEOUT}),
    _status(409, RETRY, "ModelServerError"),
    _status(413, FAIL, "ModelRequestInvalid", "status 4xx"),
    _status(422, FAIL, "ModelRequestInvalid", "status 4xx"),
    _status(425, RETRY, "ModelServerError"),
    _status(429, SNOOZE, "ModelRateLimited"),
    _status(499, RETRY, "ModelServerError"),
    _status(500, RETRY, "ModelServerError", "status 5xx"),
    _status(502, RETRY, "ModelServerError", "status 5xx"),
    _status(503, RETRY, "ModelServerError", "status 5xx"),
    _status(504, RETRY, "ModelTimeout", {"": "status 504", "anthropic": _LITELLM_TIMEOUT}),
    _status(529, RETRY, "ModelServerError", "status 5xx"),
    # delays
    _status(503, SNOOZE, "ModelUnavailable", "status 503 with a delay", headers={"Retry-After": "9"}, delay=9),
    _status(529, SNOOZE, "ModelUnavailable", "status 529 with a delay", headers={"Retry-After": "9"}, delay=9),
    _status(500, RETRY, "ModelServerError", "status 5xx", headers={"Retry-After": "9"}, delay=9),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "11"}, delay=11),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "2.5"}, delay=2.5),
    _status(429, SNOOZE, "ModelRateLimited", headers={"retry-after-ms": "1500"}, delay=1.5),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "Mon, 23 Nov 2020 11:00:00 GMT"}, delay=0),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "Mon, 23 Nov 2099 11:00:00 GMT"}, delay=86_400),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "99999999999"}, delay=86_400),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "-5"}),
    _status(429, SNOOZE, "ModelRateLimited", headers={"Retry-After": "soon"}),
    _limited("RetryInfo 12s", (_retry_info("12s"),), 12),
    _limited("RetryInfo 1.5s", (_retry_info("1.5s"),), 1.5),
    _limited("RetryInfo as a message", (_retry_info({"seconds": 3, "nanos": 500_000_000}),), 3.5),
    _limited("RetryInfo -3s", (_retry_info("-3s"),), None),
    _limited("RetryInfo soon", (_retry_info("soon"),), None),
    _limited("the day's quota", (_quota("GenerateRequestsPerDayPerProjectPerModel"), _retry_info("5s")), 3600),
    _limited("the minute's quota", (_quota("GenerateRequestsPerMinutePerProjectPerModel"), _retry_info("5s")), 5),
    # the way to the provider, and its connections
    Case("connection refused", Answer(), RETRY, "ModelUnreachable", None, _UNREACHABLE, way="refused"),
    Case("no such host", Answer(), RETRY, "ModelUnreachable", None, _UNREACHABLE, way="dns"),
    Case("a certificate that nobody trusts", Answer(), RETRY, "ModelUnreachable", None, _UNREACHABLE, way="tls"),
    Case("no connection in time", Answer(), RETRY, "ModelTimeout", None, _TIMED_OUT, way="full"),
    Case("no answer in time", Answer(fault="silent"), RETRY, "ModelTimeout", None, _TIMED_OUT),
    Case("half an answer in time", Answer(fault="silent_midway"), RETRY, "ModelTimeout", None, _TIMED_OUT_MIDWAY),
    Case("reset before the answer", Answer(fault="reset"), RETRY, "ModelUnreachable", None, _UNREACHABLE),
    Case("closed before the answer", Answer(fault="closed"), RETRY, "ModelUnreachable", None, _UNREACHABLE),
    Case("reset in the answer", Answer(fault="reset_midway"), RETRY, "ModelUnreachable", None, _TORN),
    Case("closed in the answer", Answer(fault="truncated"), RETRY, "ModelUnreachable", None, _TORN),
    # answers
    Case("no JSON", Answer(raw="<html>Welcome to the hotel</html>"), RETRY, "ModelResponseInvalid", None, _NO_JSON, reasons=_SILENT_STREAMS),
    Case("no candidates", Answer(candidates=False), RETRY, "EmptyAnswer", reasons=_NO_CHOICES),
    Case("no text", Answer(text=""), RETRY, "EmptyAnswer", None, _NO_TEXT),
    Case("a filtered answer", Answer(text="", finish="SAFETY"), FAIL, "ModelSafetyBlocked", None, "code SAFETY"),
    Case("a cut answer", Answer(finish="MAX_TOKENS"), FAIL, "ModelOutputTruncated", None, "code MAX_TOKENS"),
    Case(
        "a call with broken arguments", Answer(text="", bad_call=True), RETRY, "ModelResponseInvalid", None,
        "code MALFORMED_FUNCTION_CALL", clients=("openai", "anthropic/aiohttp/stream", "anthropic/httpx/stream"),
    ),
    *(
        _finish(reason, FAIL, "ModelSafetyBlocked")
        for reason in (
            "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
        )
    ),
    *(_finish(reason, RETRY, "ModelResponseInvalid") for reason in (
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
    )),
    _finish("NO_IMAGE", RETRY, "EmptyAnswer"),
    _finish("OTHER", RETRY, "ModelError", "code of no row"),
    _finish("A_REASON_OF_NEXT_YEAR", RETRY, "ModelError", "code of no row"),
    *(_blocked_prompt(reason) for reason in (
        "SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "JAILBREAK",
    )),
)  # fmt: skip
