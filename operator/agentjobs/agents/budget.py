"""What a run spends, and the gate before each model call. Plugins of ADK's, so that nested agents count too."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.genai import types

from agentjobs.agents.classify import Origin, chain
from agentjobs.agents.events import tokens
from agentjobs.agents.outcome import AttemptSpec, TokenUsage

if TYPE_CHECKING:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.models.llm_request import LlmRequest
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.tool_context import ToolContext

BUDGET_EXCEEDED = "BUDGET_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Budget:
    """``spec.budget`` and what earlier runs of the round spent of it."""

    max_tokens: int | None = None
    max_llm_calls: int | None = None
    spent: TokenUsage = field(default_factory=TokenUsage)

    @classmethod
    def of(cls, spec: AttemptSpec) -> Budget:
        return cls(spec.max_tokens, spec.max_llm_calls, spec.spent)

    def refusal(self, used: TokenUsage, floor_tokens: int = 0) -> str | None:
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


class Meter:
    """Counts one run. Tools may run agents of their own in other threads."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._used = TokenUsage()
        self._floors: dict[str, int] = {}
        self._errors: list[tuple[Origin, str, BaseException]] = []
        self._models: dict[str, str] = {}
        self._answered: set[str] = set()
        self.called = ""
        """The model of the last call, as its agent names it."""
        self.refusal: str | None = None
        """Why the run was ended by its budget."""

    @property
    def usage(self) -> TokenUsage:
        with self._lock:
            return self._used

    @property
    def answered(self) -> frozenset[str]:
        """The models that gave an answer which is no error."""
        with self._lock:
            return frozenset(self._answered)

    def begin_call(self, agent: str, model: str = "") -> str | None:
        """Counts a model call that is about to begin; a text: it must not, and why."""
        with self._lock:
            if (refusal := self._budget.refusal(self._used, self._floors.get(agent, 0))) is not None:
                self.refusal = refusal
                return refusal
            self._used = self._used.plus(TokenUsage(llm_calls=1))
            self._models[agent] = self.called = model
            return None

    def add_answer(self, agent: str, usage: TokenUsage, *, good: bool = True) -> None:
        with self._lock:
            if good and (model := self._models.get(agent)):
                self._answered.add(model)
            self._used = self._used.plus(usage)
            self._floors[agent] = usage.prompt_tokens + usage.output_tokens

    def add_tool_call(self) -> None:
        with self._lock:
            self._used = self._used.plus(TokenUsage(tool_calls=1))

    def failed(self, origin: Origin, name: str, error: BaseException) -> None:
        """``name``: the model's, the tool's."""
        with self._lock:
            self._errors.append((origin, name, error))

    def origin_of(self, error: BaseException) -> tuple[Origin, str]:
        """Where ``error`` came from first, and the name of that model or tool. A model's error inside of a tool's
        agent is the model's."""
        links = {id(link) for link in chain(error)}
        with self._lock:
            known = [(o, name) for o, name, e in self._errors if id(e) in links]
        return next((k for k in known if k[0] is Origin.MODEL), known[0] if known else (Origin.AGENT, ""))


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
            self._meter.add_answer(callback_context.agent_name, usage, good=not llm_response.error_code)
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

    async def on_tool_error_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext, error: Exception
    ) -> dict[str, Any] | None:
        self._meter.failed(Origin.TOOL, tool.name, error)
        return None


class GatePlugin(BasePlugin):
    """Last of the plugins: lets a model call through, or does not. What a cache answers before is free."""

    def __init__(self, meter: Meter, timeout_seconds: int) -> None:
        super().__init__("agentjobs_gate")
        self._meter = meter
        self._timeout_ms = timeout_seconds * 1000

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        model = llm_request.model or ""
        if (refusal := self._meter.begin_call(callback_context.agent_name, model)) is not None:
            return LlmResponse(error_code=BUDGET_EXCEEDED, error_message=refusal)
        options = llm_request.config.http_options or types.HttpOptions()
        own = options.timeout  # an agent may ask for less, never for more
        options.timeout = min(own, self._timeout_ms) if own else self._timeout_ms
        # Retries are ours. 0 and not 1: to google-genai both mean one attempt, to LiteLLM it is the number of retries.
        options.retry_options = types.HttpRetryOptions(attempts=0)
        llm_request.config.http_options = options
        return None
