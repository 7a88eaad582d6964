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

if TYPE_CHECKING:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.events.event import Event
    from google.adk.models.llm_response import LlmResponse
    from google.genai.types import Part

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

    async def after_model_callback(
        self, *, callback_context: CallbackContext, llm_response: LlmResponse
    ) -> LlmResponse | None:
        content = llm_response.content
        if content is not None and content.parts and not llm_response.partial:
            # copies: a model may give the same objects once more
            parts = [self._with_own_id(part) for part in content.parts]
            llm_response.content = content.model_copy(update={"parts": parts})
        return None

    def _with_own_id(self, part: Part) -> Part:
        call = part.function_call
        if call is None or not call.id:  # ADK makes one up
            return part
        id = call.id
        if id in self._used:
            id = next(new for n in count(2) if (new := f"{id[:KEPT_CHARACTERS]}-{n}") not in self._used)
            part = part.model_copy(update={"function_call": call.model_copy(update={"id": id})})
        self._used.add(id)
        return part
