"""The ids of function calls: each call of a session gets its own, also from providers whose ids count the prompt's calls.

For example, a provider calls a tool as ``call_0``, and the run dies before the tool ends. The next run's prompt does not have
that call, so the model's call in it is ``call_0`` again. ADK and ``history`` pair a call with its result, and with the question
about it, by the id alone: the second call's result would answer the first. So do agents side by side, each with its ``call_0``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

from google.adk.plugins.base_plugin import BasePlugin

from agentjobs.agents.run.events import CONFIRMATION, CREDENTIAL

if TYPE_CHECKING:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.agents.invocation_context import InvocationContext
    from google.adk.events.event import Event
    from google.adk.models.llm_request import LlmRequest
    from google.adk.models.llm_response import LlmResponse
    from google.genai.types import FunctionCall, Part

KEPT_CHARACTERS = 32
"""Of an id that is used again; OpenAI takes 40 characters."""


def call_ids_of(events: Iterable[Event]) -> frozenset[str]:
    """The ids of the function calls in these events."""
    return frozenset(call.id for event in events for call in event.get_function_calls() if call.id)


class CallIdsPlugin(BasePlugin):
    """The plugin that gives a call another id, ``call_0-2`` say, where the session has a call of that id."""

    def __init__(self, used: Iterable[str]) -> None:
        """:param used: the ids of the calls that are in the session when the run begins, also of those that it may not see."""
        super().__init__("agentjobs_call_ids")
        self._used = set(used)
        self._with_models: set[str] = set()
        """The agents whose models were asked. A remote agent needs the ids that it gave."""

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        self._with_models.add(callback_context.agent_name)
        return None

    async def on_event_callback(self, *, invocation_context: InvocationContext, event: Event) -> None:
        """Changes the event itself, before ADK stores it and makes its calls: callbacks of the author, too, answer for a model."""
        if event.partial or event.content is None or event.author not in self._with_models:
            return
        if not any(map(_is_given, event.get_function_calls())):
            return
        # copies: a model may give the same objects once more
        parts = [self._with_own_id(part) for part in event.content.parts or []]
        waiting = event.long_running_tool_ids or set()
        event.long_running_tool_ids = {
            own.function_call.id or ""
            for given, own in zip(event.content.parts or [], parts, strict=True)
            if given.function_call and own.function_call and given.function_call.id in waiting
        } or None
        event.content = event.content.model_copy(update={"parts": parts})

    def _with_own_id(self, part: Part) -> Part:
        call = part.function_call
        if call is None or not call.id or not _is_given(call):
            return part
        id = call.id
        if id in self._used:
            id = next(new for n in count(2) if (new := f"{id[:KEPT_CHARACTERS]}-{n}") not in self._used)
            part = part.model_copy(update={"function_call": call.model_copy(update={"id": id})})
        self._used.add(id)
        return part


def _is_given(call: FunctionCall) -> bool:
    """Whether a model, or who answers for it, gave the call its id: ADK makes its own unique, and a node finds its answer by its id."""
    return call.name not in (CONFIRMATION, CREDENTIAL) and "interruptId" not in (call.args or {})
