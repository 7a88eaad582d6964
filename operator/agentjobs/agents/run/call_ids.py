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

from agentjobs.agents.run.events import CONFIRMATION, CREDENTIAL, INPUT

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
        self._of_models: set[str] = set()
        """The agents that have a model. What a remote agent calls keeps its id, by which that agent takes the answer."""
        self._heard: dict[int, FunctionCall] = {}
        """The calls of earlier events, by identity."""

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        self._of_models.add(callback_context.agent_name)
        return None

    async def on_event_callback(self, *, invocation_context: InvocationContext, event: Event) -> None:
        """Changes the event itself, before ADK stores it and makes its calls: callbacks of the author, too, answer for a model."""
        if event.partial or event.content is None:
            return
        given = [call.id for call in event.get_function_calls()]
        shown = event.content.parts or []
        parts = [self._with_own_id(part, event.author) for part in shown]
        if any(own is not part for own, part in zip(parts, shown, strict=True)):
            event.content = event.content.model_copy(update={"parts": parts})
        if waiting := event.long_running_tool_ids:
            calls = zip(given, event.get_function_calls(), strict=True)
            event.long_running_tool_ids = {call.id or "" for id, call in calls if id in waiting} or None

    def _with_own_id(self, part: Part, author: str) -> Part:
        """The part, whose call has an id of its own: the same object, which ADK may hold by now, or a copy where a model gives
        an object once more that is in an event already."""
        call = part.function_call
        if call is None or not call.id:  # ADK makes one up
            return part
        if call.id in self._used and author in self._of_models and _is_given(call):
            if id(call) in self._heard:
                call = call.model_copy()
                part = part.model_copy(update={"function_call": call})
            kept = (call.id or "")[:KEPT_CHARACTERS]
            call.id = next(new for n in count(2) if (new := f"{kept}-{n}") not in self._used)
        self._used.add(call.id or "")
        self._heard[id(call)] = call
        return part


def _is_given(call: FunctionCall) -> bool:
    """Whether a model, or who answers for it, gave the call its id: ADK's own are unique, and a node finds its answer by its id."""
    asks_for_a_node = call.name == INPUT and "interruptId" in (call.args or {})
    return call.name not in (CONFIRMATION, CREDENTIAL) and not asks_for_a_node
