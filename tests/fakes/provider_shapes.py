"""What a model provider can say, in the three shapes that our clients read: Gemini's, OpenAI's and Anthropic's.

An :class:`Answer` is neutral; ``render`` turns it into the body that the provider of that shape sends, streaming or
not. Error bodies follow google.rpc, OpenAI's and Anthropic's own documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHAPES = ("gemini", "openai", "anthropic")
PROMPT_TOKENS, OUTPUT_TOKENS = 10, 5
_RPC_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_OPENAI_TYPE = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPE = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """An HTTP error."""

    status: int
    message: str = "an error"
    code: str = ""
    """OpenAI's ``error.code``."""
    details: tuple[Mapping[str, Any], ...] = ()
    """google.rpc's ``error.details``."""


@dataclass(frozen=True)
class Answer:
    """What the server says to one request. At most one of ``failure`` and ``raw`` is set."""

    text: str = "It is sunny."
    finish: str = "STOP"
    """As Gemini names it; the others' words follow from it."""
    failure: Failure | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    """Sent as it is."""
    prompt_blocked: str = ""
    """Gemini's block reason."""
    bad_call: bool = False
    """A call whose arguments are no JSON."""
    candidates: bool = True
    """False: the list of answers is empty."""
    fault: str = ""
    """What the connection does: ``reset`` (before the first byte), ``reset_midway``, ``truncated``, ``closed``,
    ``silent`` (nothing is ever sent), ``silent_midway``."""


def body_of(answer: Answer, shape: str, streaming: bool) -> tuple[str, str]:
    """(content type, body)."""
    if answer.raw is not None:
        return ("text/event-stream" if streaming else "application/json"), answer.raw
    if answer.failure is not None:
        return "application/json", json.dumps(_ERRORS[shape](answer.failure))
    if not streaming:
        return "application/json", json.dumps(_BODIES[shape](answer))
    return "text/event-stream", "".join(_STREAMS[shape](answer))


# Gemini ----------------------------------------------------------------------------------------------


def _gemini(answer: Answer) -> dict[str, Any]:
    if answer.prompt_blocked:
        usage = {"promptTokenCount": PROMPT_TOKENS, "totalTokenCount": PROMPT_TOKENS}
        return {"promptFeedback": {"blockReason": answer.prompt_blocked}, "usageMetadata": usage}
    usage = {
        "promptTokenCount": PROMPT_TOKENS,
        "candidatesTokenCount": OUTPUT_TOKENS,
        "totalTokenCount": PROMPT_TOKENS + OUTPUT_TOKENS,
    }
    if not answer.candidates:
        return {"usageMetadata": usage}
    candidate: dict[str, Any] = {"index": 0, "finishReason": answer.finish}
    if answer.text:
        candidate["content"] = {"role": "model", "parts": [{"text": answer.text}]}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "fake-1"}


def _gemini_error(failure: Failure) -> dict[str, Any]:
    return {
        "error": {
            "code": failure.status,
            "message": failure.message,
            "status": _RPC_STATUS.get(failure.status, "UNKNOWN"),
            "details": list(failure.details),
        }
    }


def _gemini_stream(answer: Answer) -> list[str]:
    return [f"data: {json.dumps(_gemini(answer))}\r\n\r\n"]


# OpenAI ----------------------------------------------------------------------------------------------

_OPENAI_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def _openai_choice(answer: Answer, part: str) -> list[dict[str, Any]]:
    if not answer.candidates:
        return []
    said: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    finish = _OPENAI_FINISH.get(answer.finish, answer.finish.lower())
    if answer.bad_call:
        function = {"name": "weather", "arguments": '{"city": "Lju'}
        said["tool_calls"] = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
        finish = "tool_calls"
    return [{"index": 0, part: said, "finish_reason": finish}]


def _openai(answer: Answer, part: str = "message") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion" if part == "message" else "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "fake-1",
        "choices": _openai_choice(answer, part),
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": PROMPT_TOKENS + OUTPUT_TOKENS,
        },
    }


def _openai_error(failure: Failure) -> dict[str, Any]:
    return {
        "error": {
            "message": failure.message,
            "type": _OPENAI_TYPE.get(failure.status, "invalid_request_error"),
            "param": None,
            "code": failure.code or None,
        }
    }


def _openai_stream(answer: Answer) -> list[str]:
    whole = _openai(answer, "delta")
    end = {**whole, "choices": [{**c, "delta": {}} for c in whole["choices"]]}
    first = {**whole, "choices": [{**c, "finish_reason": None} for c in whole["choices"]]}
    del first["usage"]
    return [f"data: {json.dumps(first)}\n\n", f"data: {json.dumps(end)}\n\n", "data: [DONE]\n\n"]


# Anthropic -------------------------------------------------------------------------------------------

_ANTHROPIC_FINISH = {"STOP": "end_turn", "MAX_TOKENS": "max_tokens", "SAFETY": "refusal"}


def _anthropic(answer: Answer) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if answer.candidates and answer.text:
        content = [{"type": "text", "text": answer.text}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "fake-1",
        "content": content,
        "stop_reason": _ANTHROPIC_FINISH.get(answer.finish, answer.finish.lower()),
        "stop_sequence": None,
        "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }


def _anthropic_error(failure: Failure) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPE.get(
        failure.status, "invalid_request_error" if failure.status < 500 else "api_error"
    )
    return {"type": "error", "error": {"type": kind, "message": failure.message}, "request_id": "req_1"}


def _anthropic_stream(answer: Answer) -> list[str]:
    whole = _anthropic(answer)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    ]
    blocks = whole["content"]
    deltas = [{"type": "text_delta", "text": block["text"]} for block in blocks]
    starts: list[dict[str, Any]] = [{"type": "text", "text": ""} for _ in blocks]
    if answer.bad_call:
        starts.append({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}})
        deltas.append({"type": "input_json_delta", "partial_json": '{"city": "Lju'})
    for index, (start, delta) in enumerate(zip(starts, deltas, strict=True)):
        events += [
            {"type": "content_block_start", "index": index, "content_block": start},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    stop = "tool_use" if answer.bad_call else whole["stop_reason"]
    events += [
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": OUTPUT_TOKENS}},
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


_BODIES = {"gemini": _gemini, "openai": _openai, "anthropic": _anthropic}
_ERRORS = {"gemini": _gemini_error, "openai": _openai_error, "anthropic": _anthropic_error}
_STREAMS = {"gemini": _gemini_stream, "openai": _openai_stream, "anthropic": _anthropic_stream}
