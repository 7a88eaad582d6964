"""What a run spends, and the gate before each model call and tool. Plugins of ADK's, so that nested agents count too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.genai import types

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.run.events import tokens
from agentjobs.agents.verdict.classify import Origin, chain, told_by
from agentjobs.values.usage import Usage

if TYPE_CHECKING:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.models.llm_request import LlmRequest
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.tool_context import ToolContext

BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
_REJECTED = {"error": "This tool call is rejected."}
"""ADK's own words, for a tool that it did not call."""


@dataclass(frozen=True, slots=True)
class Budget:
    """``spec.budget`` and what earlier runs of the round spent of it."""

    max_tokens: int | None = None
    max_llm_calls: int | None = None
    spent: Usage = field(default_factory=Usage)

    @classmethod
    def of(cls, spec: AttemptSpec) -> Budget:
        return cls(spec.max_tokens, spec.max_llm_calls, spec.spent)

    def refusal(self, used: Usage, floor_tokens: int = 0) -> str | None:
        """Why the next call may not be made; None: it may.

        :param used: in this run so far, ``llm_calls`` counting the calls that have begun.
        :param floor_tokens: what the next call spends at least: its prompt repeats the conversation so far.
        """
        calls = self.spent.llm_calls + used.llm_calls
        if self.max_llm_calls is not None and calls >= self.max_llm_calls:
            return f"budget.maxLLMCalls is {self.max_llm_calls}, and {calls} calls were made"
        total = self.spent.total_tokens + used.total_tokens
        if self.max_tokens is not None and (
            total >= self.max_tokens or total + floor_tokens > self.max_tokens
        ):
            return (
                f"budget.maxTokens is {self.max_tokens}, {total} tokens were spent, and the next call takes at "
                f"least {max(floor_tokens, 1)}"
            )
        return None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an agent was asked last, to tell what its next call takes at least. Its ends stand for the whole: a run may
    make many calls, and their prompts are long."""

    size: int
    first: object = None
    last: object = None
    tokens: int = 0
    """Of it and of its answer; 0: not known yet."""

    @classmethod
    def of(cls, contents: Sequence[object]) -> Prompt:
        return cls(len(contents), contents[0], contents[-1]) if contents else cls(0)

    def is_repeated_in(self, contents: Sequence[object]) -> bool:
        """Not so where an agent forgets (``include_contents='none'``), or its history was compacted."""
        if not 0 < self.size <= len(contents):
            return False
        return bool(contents[0] == self.first and contents[self.size - 1] == self.last)


@dataclass(frozen=True, slots=True)
class Raised:
    """Where an exception came from."""

    error: BaseException
    """The one that says most."""
    origin: Origin = Origin.AGENT
    name: str = ""
    """Of the tool, or the model."""


class Meter:
    """Counts one run. Tools may run agents of their own in other threads."""

    def __init__(self, budget: Budget, on_usage: Callable[[Usage], None] = lambda _: None) -> None:
        """:param on_usage: called with the sum so far whenever it changes, in order."""
        self._budget = budget
        self._on_usage = on_usage
        self._lock = threading.Lock()
        self._used = Usage()
        self._prompts: dict[str, Prompt] = {}
        self._errors: list[tuple[BaseException, Raised]] = []
        self._models: dict[str, str] = {}
        self._answered: set[str] = set()
        self.called = ""
        """The model of the last call, as its agent names it."""
        self.refusal: str | None = None
        """Why the run was ended by its budget."""

    @property
    def usage(self) -> Usage:
        with self._lock:
            return self._used

    @property
    def answered(self) -> frozenset[str]:
        """The models that gave an answer which is no error."""
        with self._lock:
            return frozenset(self._answered)

    def begin_call(self, speaker: str, contents: Sequence[object] = (), model: str = "") -> str | None:
        """Counts a model call that is about to begin; a text: it must not, and why.

        :param speaker: who asks: an agent in one conversation.
        :param contents: the conversation as the call repeats it.
        """
        with self._lock:
            last = self._prompts.get(speaker)
            floor = last.tokens if last is not None and last.is_repeated_in(contents) else 0
            if (refusal := self._budget.refusal(self._used, floor)) is not None:
                self.refusal = refusal
                return refusal
            self._prompts[speaker] = Prompt.of(contents)
            self._models[speaker] = self.called = model
            self._add(Usage(llm_calls=1))
            return None

    def add_answer(
        self, speaker: str, usage: Usage, repeated_tokens: int | None = None, *, good: bool = True
    ) -> None:
        """
        :param repeated_tokens: what the next prompt holds of this call; None: prompt and output.
        :param good: it is an answer, and no error.
        """
        if repeated_tokens is None:
            repeated_tokens = usage.prompt_tokens + usage.output_tokens
        with self._lock:
            if good and (model := self._models.get(speaker)):
                self._answered.add(model)
            self._add(usage)
            if (asked := self._prompts.get(speaker)) is not None:
                self._prompts[speaker] = replace(asked, tokens=repeated_tokens)

    def add_tool_call(self) -> None:
        with self._lock:
            self._add(Usage(tool_calls=1))

    def take_back_tool_call(self) -> None:
        """The tool was not called after all."""
        with self._lock:
            self._add(Usage(tool_calls=-1))

    def _add(self, usage: Usage) -> None:
        self._used = self._used.plus(usage)
        self._on_usage(self._used)

    def failed(self, origin: Origin, name: str, error: BaseException) -> None:
        """Called where ``error`` was raised: ADK raises it again later, and so loses what is beneath it.

        :param name: the model's, the tool's.
        """
        source = told_by(error) if origin is Origin.MODEL else error
        with self._lock:
            self._errors.append((error, Raised(source, origin, name)))

    def raised(self, error: BaseException) -> Raised:
        """Where ``error`` came from first. A model's error inside of a tool's agent is the model's."""
        links = {id(link) for link in chain(error)}
        with self._lock:
            known = [raised for e, raised in self._errors if id(e) in links]
        models = [raised for raised in known if raised.origin is Origin.MODEL]
        if models:
            return models[0]
        return Raised(error, known[0].origin, known[0].name) if known else Raised(error)


def _speaker(context: CallbackContext) -> str:
    """An agent inside of a tool has a conversation of its own for each call of the tool."""
    return f"{context.invocation_id}/{context.agent_name}"


class MeterPlugin(BasePlugin):
    """First of the plugins: sees every answer, also those that another one replaces."""

    def __init__(self, meter: Meter) -> None:
        super().__init__("agentjobs_meter")
        self._meter = meter

    async def after_model_callback(
        self, *, callback_context: CallbackContext, llm_response: LlmResponse
    ) -> LlmResponse | None:
        if not llm_response.partial:
            usage = tokens(llm_response.usage_metadata)
            thoughts = (llm_response.usage_metadata and llm_response.usage_metadata.thoughts_token_count) or 0
            repeated = usage.prompt_tokens + usage.output_tokens - thoughts
            self._meter.add_answer(
                _speaker(callback_context), usage, repeated, good=not llm_response.error_code
            )
        return None

    async def on_model_error_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest, error: Exception
    ) -> LlmResponse | None:
        self._meter.failed(Origin.MODEL, llm_request.model or "", error)
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        self._meter.add_tool_call()
        return None

    async def after_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, result: Any
    ) -> dict[str, Any] | None:
        """A call that waits for a person's answer counts when it is made, one that was rejected not at all."""
        asked = tool_context.function_call_id in tool_context.actions.requested_tool_confirmations
        answer = tool_context.tool_confirmation
        if asked or (answer is not None and not answer.confirmed and result == _REJECTED):
            self._meter.take_back_tool_call()
        return None

    async def on_tool_error_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, error: Exception
    ) -> dict[str, Any] | None:
        self._meter.failed(Origin.TOOL, tool.name, error)
        return None


class GatePlugin(BasePlugin):
    """Last of the plugins: lets a model call or a tool through, or does not. What a cache answers before is free."""

    def __init__(self, meter: Meter, timeout_seconds: int) -> None:
        super().__init__("agentjobs_gate")
        self._meter = meter
        self._timeout_ms = timeout_seconds * 1000

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        await wait_for_lease()
        speaker = _speaker(callback_context)
        refusal = self._meter.begin_call(speaker, llm_request.contents, llm_request.model or "")
        if refusal is not None:
            return LlmResponse(error_code=BUDGET_EXCEEDED, error_message=refusal)
        options = llm_request.config.http_options or types.HttpOptions()
        own = options.timeout  # an agent may ask for less, never for more
        options.timeout = min(own, self._timeout_ms) if own else self._timeout_ms
        # Retries are ours. 0 and not 1: to google-genai both mean one attempt, to LiteLLM it is the number of retries.
        options.retry_options = types.HttpRetryOptions(attempts=0)
        llm_request.config.http_options = options
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        await wait_for_lease()
        return None
