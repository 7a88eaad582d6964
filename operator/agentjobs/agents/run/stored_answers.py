"""The answers that earlier runs stored, given again in place of a model call that would ask for nothing new.

For example, an agent answers, and its ``after_agent_callback`` raises. The next run enters the agent again, whose prompt
ends with its own answer; ADK would add "Continue processing previous requests as instructed" and store what the model
says to that. The plugin gives the stored answer instead, so only what comes after it is done again. If that fails once
more, the answer may be the cause: ``history.visible`` leaves it out, and the model is asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.genai import types

from agentjobs.agents.run.history import REPEATED, answer_of

if TYPE_CHECKING:
    from google.adk.agents.callback_context import CallbackContext
    from google.adk.events.event import Event
    from google.adk.models.llm_request import LlmRequest


class StoredAnswersPlugin(BasePlugin):
    """The plugin that gives an agent's stored answer, where nothing was said to the agent since.

    It is in front of the author's plugins: no model is called, so there is nothing for them to see.
    """

    def __init__(self, history: Sequence[Event]) -> None:
        """:param history: the events that earlier runs of the invocation stored."""
        super().__init__("agentjobs_stored_answers")
        self._stored = {event.id for event in history}

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        agent = callback_context.agent_name
        own = next(
            (e for e in reversed(callback_context.session.events) if e.author == agent and e.content), None
        )
        if own is None or own.id not in self._stored or own.content is None or not llm_request.contents:
            return None
        said_last = llm_request.contents[-1]
        answers_itself = bool(own.get_function_responses())  # a tool whose result is not summed up
        if said_last.role != "model" and not (
            answers_itself and any(part.function_response for part in said_last.parts or [])
        ):
            return None
        answer = answer_of(own)
        if answer is None:
            return None
        content = own.content
        if answers_itself:
            content = types.Content(role="model", parts=[types.Part(text=answer.answer)])
        return LlmResponse(
            content=content, grounding_metadata=own.grounding_metadata, custom_metadata={REPEATED: True}
        )
