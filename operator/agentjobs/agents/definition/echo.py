"""The model ``echo``: a deterministic model for examples, demos and tests. It needs no key and no network.

Its answer is the user's message. Lines of the message that begin with ``echo:`` are a script: ``echo`` plays
them from top to bottom and leaves them out of the answer:

=============================
=================================================================================
``echo:call NAME {json}``      calls the tool NAME with these arguments; the lines below follow after its
result
``echo:say TEXT``              answers TEXT instead of the message
``echo:sleep SECONDS``         takes that long
``echo:fail CODE [RUNS] [S]``  fails like a provider with HTTP status CODE (in the first RUNS runs of the job
                               only, 0: in all), asking to come back after S seconds
``echo:block CODE``            blocks the answer, such as ``echo:block SAFETY``
``echo:empty``                 gives an empty answer
=============================
=================================================================================

After tool calls the answer is the message's text, then each tool's result. Each word counts as one token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.adk.models import BaseLlm, LLMRegistry
from google.adk.models._capabilities import LlmCapabilities
from google.adk.models.llm_response import LlmResponse
from google.genai import errors, types

from agentjobs.agents.context import current_job

if TYPE_CHECKING:
    from google.adk.models.llm_request import LlmRequest

PREFIX = "echo:"
MAX_SLEEP_SECONDS = 86_400.0
_STATUS = {
    429: "RESOURCE_EXHAUSTED",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script: its first word, and what follows."""

    word: str
    rest: str

    @property
    def arguments(self) -> list[str]:
        return self.rest.split()


def script(message: str) -> tuple[list[Step], str]:
    """The steps of the script in ``message``, and the message's text without them."""
    steps: list[Step] = []
    left: list[str] = []
    for line in message.splitlines():
        if line.strip().startswith(PREFIX):
            word, _, rest = line.strip()[len(PREFIX) :].strip().partition(" ")
            steps.append(Step(word, rest.strip()))
        else:
            left.append(line)
    return steps, "\n".join(left).strip()


class EchoLlm(BaseLlm):
    """The model ``echo`` as an ADK model; the module's docstring has its script."""

    @classmethod
    def supported_models(cls) -> list[str]:
        return ["echo"]

    @property
    def capabilities(self) -> LlmCapabilities:
        return LlmCapabilities(output_schema_and_tools=True)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        yield await answer(llm_request.contents)


async def answer(contents: Sequence[types.Content]) -> LlmResponse:
    """The answer of ``echo`` to a prompt: the next step of its script, or the message's text after the
    last."""
    message, results = _turn(contents)
    steps, text = script(message)
    words = sum(len(part.text.split()) for c in contents for part in c.parts or [] if part.text)
    calls_made = 0
    for step in steps:
        if calls_made < len(results):  # an earlier model call of this run played this step
            calls_made += step.word == "call"
            continue
        match step.word:
            case "call":
                return _response(words, call=_call(step, number=calls_made + 1))
            case "sleep":
                await asyncio.sleep(min(float(step.rest), MAX_SLEEP_SECONDS))
            case "fail":
                _fail(step)
            case "block":
                code = step.rest.upper() or "SAFETY"
                return LlmResponse(
                    error_code=code, error_message="blocked by the script", usage_metadata=_usage(words, 0)
                )
            case "empty":
                return _response(words, text="")
            case "say":
                text, results = step.rest, []
            case other:
                raise ValueError(
                    f"echo: there is no step {other[:40]!r}; known are call, say, sleep, fail, block and empty."
                )
    return _response(words, text="\n".join([*([text] if text else []), *map(_result, results)]))


def _turn(contents: Sequence[types.Content]) -> tuple[str, list[types.FunctionResponse]]:
    """The user's last text, and the tool results that follow it."""
    message = ""
    results: list[types.FunctionResponse] = []
    for content in contents:
        parts = content.parts or []
        if content.role == "user" and any(part.text for part in parts):
            message, results = "\n".join(part.text for part in parts if part.text), []
        results += [part.function_response for part in parts if part.function_response]
    return message, results


def _call(step: Step, number: int) -> types.FunctionCall:
    name, _, arguments = step.rest.partition(" ")
    return types.FunctionCall(id=f"echo-{number}", name=name, args=json.loads(arguments or "{}"))


def _result(response: types.FunctionResponse) -> str:
    # as a provider's client sends it: a tool may have returned models of pydantic, dates and the like
    value: Any = response.model_dump(mode="json").get("response") or {}
    if isinstance(value, dict) and set(value) == {"result"}:
        value = value["result"]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _fail(step: Step) -> None:
    numbers = [float(word) for word in step.arguments]
    code = int(numbers[0]) if numbers else 500
    runs = int(numbers[1]) if len(numbers) > 1 else 0
    if runs:
        try:
            if current_job().run > runs:
                return
        except LookupError:
            pass
    status = _STATUS.get(
        code, "UNAVAILABLE" if code == 503 else "INTERNAL" if code >= 500 else "INVALID_ARGUMENT"
    )
    details: list[dict[str, str]] = []
    if len(numbers) > 2:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{numbers[2]:g}s"}
        )
    body = {"error": {"code": code, "message": "failed by the script", "status": status, "details": details}}
    raise (errors.ServerError if code >= 500 else errors.ClientError)(code, body)


def _usage(prompt: int, output: int) -> types.GenerateContentResponseUsageMetadata:
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=prompt, candidates_token_count=output, total_token_count=prompt + output
    )


def _response(words: int, *, text: str | None = None, call: types.FunctionCall | None = None) -> LlmResponse:
    parts = [types.Part(function_call=call)] if call else [types.Part(text=text)] if text else []
    return LlmResponse(
        content=types.Content(role="model", parts=parts),
        usage_metadata=_usage(words, 1 if call else len((text or "").split())),
        finish_reason=types.FinishReason.STOP,
        model_version="echo-1",
    )


def register() -> None:
    """Registers the model with ADK, so that ``model="echo"`` resolves."""
    LLMRegistry.register(EchoLlm)
