"""The budget of a run: a meter of model calls, tokens and tool calls, and the gate before each call.

Both are plugins of ADK's in the executor, so they also see the calls of nested agents.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.genai import types

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.lease_gate import wait_for_lease
from agentjobs.agents.run import inner_agents, sync_tools, toolsets
from agentjobs.agents.run.events import tokens
from agentjobs.agents.run.steps import Steps
from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import Origin, chain, told_by, tool_of_result
from agentjobs.agents.verdict.error_rules import Rule
from agentjobs.values.usage import Usage

if TYPE_CHECKING:
    from google.adk.agents.base_agent import BaseAgent
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.agents.invocation_context import InvocationContext
    from google.adk.events.event import Event
    from google.adk.models.llm_request import LlmRequest
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.tool_context import ToolContext

STOPPED = "AGENTJOBS_STOPPED"
"""Error code of the answer that a model call gets which must not be made."""
_REJECTED = {"error": "This tool call is rejected."}
"""ADK's own result of a tool call that a person rejected."""


@dataclass(frozen=True, slots=True)
class Budget:
    """``spec.budget`` of a job, and the usage of the round's earlier runs."""

    max_tokens: int | None = None
    max_llm_calls: int | None = None
    spent: Usage = field(default_factory=Usage)

    @classmethod
    def of(cls, spec: AttemptSpec) -> Budget:
        return cls(spec.max_tokens, spec.max_llm_calls, spec.spent)

    def refusal(self, used: Usage, floor_tokens: int = 0) -> str | None:
        """The reason why the budget forbids the next model call. None: the call may be made.

        :param used: usage of this run so far; ``llm_calls`` are the calls that have begun.
        :param floor_tokens: tokens that the next call takes at least, since its prompt repeats the
            conversation.
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
    """The last prompt of one agent. From it follows the least that the agent's next call takes.

    Prompts are long and a run may make many calls, so only the first and the last content are kept, to
    compare by.
    """

    size: int
    first: object = None
    last: object = None
    tokens: int = 0
    """Tokens of the prompt and its answer together. 0: not known yet."""

    @classmethod
    def of(cls, contents: Sequence[object]) -> Prompt:
        return cls(len(contents), contents[0], contents[-1]) if contents else cls(0)

    def is_repeated_in(self, contents: Sequence[object]) -> bool:
        """Whether ``contents`` begin with this prompt.

        They do not where the agent forgets (``include_contents='none'``), or where ADK compacted its history.
        """
        if not 0 < self.size <= len(contents):
            return False
        return bool(contents[0] == self.first and contents[self.size - 1] == self.last)


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception, and where in the run it was raised first."""

    error: BaseException
    """The exception that says most about the cause."""
    origin: Origin = Origin.AGENT
    name: str = ""
    """Name of the tool or the model that raised it. Empty: the agent did."""


class Meter:
    """The counters of one run. They have a lock, since a tool may run agents of its own in another thread."""

    def __init__(self, budget: Budget, on_usage: Callable[[Usage], None] = lambda _: None) -> None:
        """:param on_usage: called with the usage so far after each change, in order."""
        self._budget = budget
        self._on_usage = on_usage
        self._lock = threading.Lock()
        self._used = Usage()
        self._prompts: dict[str, Prompt] = {}
        self._errors: list[tuple[BaseException, Raised]] = []
        self._models: dict[str, str] = {}
        self._answered: set[str] = set()
        self.called = ""
        """Model of the last call, as its agent names it."""
        self.stopped: tuple[Rule, str] | None = None
        """Why no further model call may begin, and the details: the budget is spent, or the run has lost a part
        without which an answer would be made up. None: one may begin."""

    @property
    def usage(self) -> Usage:
        with self._lock:
            return self._used

    @property
    def answered(self) -> frozenset[str]:
        """Models that have answered a call of this run without an error."""
        with self._lock:
            return frozenset(self._answered)

    def begin_call(self, speaker: str, contents: Sequence[object] = (), model: str = "") -> str | None:
        """Counts a model call that is about to begin.

        :param speaker: one agent in one invocation; it calls the model.
        :param contents: the call's prompt, which repeats the conversation.
        :returns: the reason why the call must not be made. None: it may begin, and is counted.
        """
        with self._lock:
            if self.stopped is not None:
                return self.stopped[1]
            last = self._prompts.get(speaker)
            floor = last.tokens if last is not None and last.is_repeated_in(contents) else 0
            if (refusal := self._budget.refusal(self._used, floor)) is not None:
                agent = speaker.partition("/")[2]
                self.stopped = (error_rules.BUDGET, f"{refusal}; agent {agent}" if agent else refusal)
                return refusal
            self._prompts[speaker] = Prompt.of(contents)
            self._models[speaker] = self.called = model
            self._add(Usage(llm_calls=1))
            return None

    def begin_extra_call(self) -> bool:
        """Counts a model call beside the run, such as the compaction's, which the run can do without.

        :returns: False where the budget forbids the call.
        """
        with self._lock:
            if self.stopped is not None or self._budget.refusal(self._used) is not None:
                return False
            self._add(Usage(llm_calls=1))
            return True

    def stop(self, rule: Rule, detail: str) -> None:
        """Lets no further model call begin. The first reason counts."""
        with self._lock:
            self.stopped = self.stopped or (rule, detail)

    def add_answer(
        self, speaker: str, usage: Usage, repeated_tokens: int | None = None, *, good: bool = True
    ) -> None:
        """Counts what a model call has spent.

        :param repeated_tokens: tokens of this call that the agent's next prompt repeats. None: prompt and
            output.
        :param good: True for an answer, False for an error.
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
        """Uncounts a tool call that was not made after all."""
        with self._lock:
            self._set(replace(self._used, tool_calls=self._used.tool_calls - 1))

    def _add(self, usage: Usage) -> None:
        self._set(self._used.plus(usage))

    def _set(self, used: Usage) -> None:
        self._used = used
        self._on_usage(used)

    def failed(self, origin: Origin, name: str, error: BaseException) -> None:
        """Remembers the place where ``error`` was raised first.

        To be called at that place: ADK raises the error again later, and its context is then lost.

        :param name: name of the model or the tool.
        """
        source = told_by(error) if origin is Origin.MODEL else error
        with self._lock:
            self._errors.append((error, Raised(source, origin, name)))

    def raised(self, error: BaseException) -> Raised:
        """The place where ``error`` was raised first: the model's also where a tool's agent called it."""
        links = {id(link) for link in chain(error)}
        with self._lock:
            known = [raised for e, raised in self._errors if id(e) in links]
        models = [raised for raised in known if raised.origin is Origin.MODEL]
        if models:
            return models[0]
        if known:
            return Raised(error, known[0].origin, known[0].name)
        if tool := tool_of_result(error):
            return Raised(error, Origin.TOOL, tool)
        return Raised(error)

    def cancelled_tool(self) -> str:
        """Name of the tool that let the first CancelledError out. Empty: none did."""
        with self._lock:
            return next(
                (
                    raised.name
                    for error, raised in self._errors
                    if raised.origin is Origin.TOOL and isinstance(error, asyncio.CancelledError)
                ),
                "",
            )


def _speaker(context: CallbackContext) -> str:
    """The calling agent, within its invocation: each call of a tool's agent is an invocation of its own."""
    return f"{context.invocation_id}/{context.agent_name}"


class MeterPlugin(BasePlugin):
    """The plugin that counts. It is the first, so it also sees answers that a later plugin replaces."""

    def __init__(self, meter: Meter, steps: Steps | None = None) -> None:
        super().__init__("agentjobs_meter")
        self._meter = meter
        self._steps = steps or Steps(None)

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

    async def before_agent_callback(
        self, *, agent: BaseAgent, callback_context: CallbackContext
    ) -> types.Content | None:
        if not inner_agents.is_inner():
            self._steps.begin(agent.name)
        toolsets.watch(agent)
        return None

    async def on_agent_error_callback(
        self, *, agent: BaseAgent, callback_context: CallbackContext, error: Exception
    ) -> None:
        inner_agents.failed(error)

    async def on_event_callback(self, *, invocation_context: InvocationContext, event: Event) -> Event | None:
        if not inner_agents.hear(event):
            self._steps.hear(event)
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        self._meter.add_tool_call()
        inner_agents.begin(tool)
        return None

    async def after_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, result: Any
    ) -> dict[str, Any] | None:
        """Uncounts a tool call that ADK did not make: it waits for an answer, or a person rejected it."""
        asked = tool_context.function_call_id in tool_context.actions.requested_tool_confirmations
        answer = tool_context.tool_confirmation
        if asked or (answer is not None and not answer.confirmed and result == _REJECTED):
            self._meter.take_back_tool_call()
        if self._meter.stopped is None:
            inner_agents.end(tool, result)
        return None

    async def on_tool_error_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, error: Exception
    ) -> dict[str, Any] | None:
        self._meter.failed(Origin.TOOL, tool.name, error)
        return None


def bound(llm_request: LlmRequest, timeout_ms: int) -> None:
    """Gives a model call its time-out, and no retries: the queue retries."""
    options = llm_request.config.http_options or types.HttpOptions()
    own = options.timeout  # an agent may set a shorter time-out, never a longer one
    options.timeout = min(own, timeout_ms) if own else timeout_ms
    # 0 and not 1: both are one attempt to google-genai, while LiteLLM reads a number of retries.
    options.retry_options = types.HttpRetryOptions(attempts=0)
    llm_request.config.http_options = options


class GatePlugin(BasePlugin):
    """The plugin before each model call and tool call: it waits for the lease and asks the budget.

    It is the last, so a call that an author's plugin answers from a cache costs nothing.
    """

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
            return LlmResponse(error_code=STOPPED, error_message=refusal)
        bound(llm_request, self._timeout_ms)
        return None

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        await wait_for_lease()
        sync_tools.gate(tool)
        return None
