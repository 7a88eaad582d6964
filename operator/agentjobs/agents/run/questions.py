"""Questions of tools to a person: a run finds them in its invocation's events, and gives ADK the answers.

For example, the model calls a tool that requires confirmation. ADK ends the model's turn with a call of
``adk_request_confirmation``, one for each such tool call, and the session stores it. A later run, in another
process, finds the open calls and sends the person's answers as function responses of the user, under the same
invocation. ADK then calls the tool, or tells the model of the rejection, and goes on.

ADK goes on only with the agent that asked. :func:`may_ask` therefore refuses questions of an agent inside a
larger one, unless ``continuation.remaining`` can run what comes after it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from agentjobs.agents.run.events import CONFIRMATION, answered_by_user
from agentjobs.agents.verdict.redaction import secrets_of, without
from agentjobs.values.requests import InputRequest
from agentjobs.values.text import clean, shortened

if TYPE_CHECKING:
    from google.adk.agents import SequentialAgent
    from google.adk.events.event import Event
    from google.adk.workflow import BaseNode
    from google.genai.types import Content, FunctionCall

MAX_SHOWN_BYTES = 1024
"""Longest text of a call's arguments, a hint or a payload: enough to decide by, small enough for a status."""
_HINT_OF_ADK = "Please approve or reject the tool call "
"""Begin of ADK's own hint, which tells a program how to answer. People get the kubectl command instead."""


class Question:
    """An open question: one call of ``adk_request_confirmation`` that nobody has answered."""

    def __init__(self, author: str, call: FunctionCall) -> None:
        arguments = call.args or {}
        original = _mapping(arguments.get("originalFunctionCall"))
        confirmation = _mapping(arguments.get("toolConfirmation"))
        self.id = call.id or ""
        self.author = author
        """Name of the agent whose tool asks."""
        self.tool = str(original.get("name") or "")
        self._arguments = original.get("args")
        self._hint = str(confirmation.get("hint") or "")
        self._payload = confirmation.get("payload")

    def request(self) -> InputRequest:
        """The question as people see it: its texts are bounded and hold none of the worker's keys."""
        return InputRequest(
            id=self.id,
            tool=shortened(self.tool, 128),
            arguments=_shown(self._arguments or {}),
            hint="" if self._hint.startswith(_HINT_OF_ADK) else _bounded(self._hint),
            payload="" if self._payload is None else _shown(self._payload),
        )

    def reply(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """A person's answer as ADK's ``ToolConfirmation``.

        A payload that the person did not fill in goes back as the tool wrote it. The person's reason takes
        the place of the hint, where the tool can read it.
        """
        approved = answer.get("approved") is True
        payload = answer.get("payload")
        return {
            "confirmed": approved,
            "hint": str(answer.get("reason") or ""),
            "payload": self._payload if payload is None and approved else payload,
        }


def open_questions(events: Sequence[Event]) -> list[Question]:
    """The questions in these events that no event of the user answers, oldest first."""
    answered = answered_by_user(events)
    return [
        Question(event.author, call)
        for event in events
        for call in event.get_function_calls()
        if call.name == CONFIRMATION and call.id and call.id not in answered
    ]


def reply_to(questions: Sequence[Question], answers: Mapping[str, Mapping[str, Any]]) -> Content | None:
    """The user's message that answers all ``questions``. None: an answer is missing.

    ADK wants the answers to calls that the model made together in one message.
    """
    from google.genai import types

    if not all(question.id in answers for question in questions):
        return None
    return types.Content(
        role="user",
        parts=[
            types.Part(
                function_response=types.FunctionResponse(
                    id=question.id, name=CONFIRMATION, response=question.reply(answers[question.id])
                )
            )
            for question in questions
        ],
    )


def asks(event: Event) -> bool:
    """Whether the event holds a question of a tool."""
    return any(call.name == CONFIRMATION for call in event.get_function_calls())


class QuestionListener:
    """A listener to the events of a run, which tells when a question is stored whole.

    ADK stores a question as two events in either order: the question, and a stand-in for the tool's result.
    """

    def __init__(self) -> None:
        self._asked = self._stood_in = False

    def hear(self, event: Event) -> bool:
        """Whether both parts of a question are stored, ``event`` included."""
        self._asked = self._asked or asks(event)
        self._stood_in = self._stood_in or bool(event.actions.requested_tool_confirmations)
        return self._asked and self._stood_in


# where ADK can go on ---------------------------------------------------------------------------------


def may_ask(root: BaseNode, author: str) -> str:
    """The reason why no run could go on after an answer to a question of agent ``author``. Empty: one can.

    * The author is a lone LLM agent, or one that others hand over to (``sub_agents``): ADK goes on with it.
    * The author is an LLM agent and a step of a sequence: ADK goes on with that step, and
      ``continuation.remaining`` with those after it.
    * The author is inside a loop, parallel steps, a workflow or a custom agent: the history does not have its
      place.
    """
    if is_sequence(root):
        steps = {step.name: step for step in root.sub_agents}
        if author in steps and _lone(steps[author]):
            return ""
        return (
            f"agent {author!r} is not an LLM agent without sub-agents that is a step of the sequence itself"
        )
    if _chats(root) and author in _chatting(root):
        return ""
    return (
        f"agent {author!r} is below a root of type {type(root).__name__}, whose place cannot be found again"
    )


def is_sequence(root: BaseNode) -> TypeGuard[SequentialAgent]:
    """Whether ``root`` is ADK's SequentialAgent.

    The class is not imported, since each run would pay for that: if no module has imported it, no agent is
    one.
    """
    module = sys.modules.get("google.adk.agents.sequential_agent")
    return module is not None and isinstance(root, module.SequentialAgent)


def _lone(node: object) -> bool:
    return _chats(node) and not getattr(node, "sub_agents", None)


def _chats(node: object) -> bool:
    """Whether ``node`` is an LLM agent in chat mode, and not ADK's task agent."""
    from google.adk.agents import LlmAgent

    return isinstance(node, LlmAgent) and node.mode in (None, "chat")


def _chatting(root: Any) -> set[str]:
    """The names of the chatting LLM agents that ``root`` reaches through such agents alone."""
    found: set[str] = set()
    agents = [root]
    while agents:
        agent = agents.pop()
        if _chats(agent):
            found.add(agent.name)
            agents += agent.sub_agents
    return found


# text ------------------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    return _bounded(json.dumps(value, ensure_ascii=False, default=str))


def _bounded(text: str) -> str:
    return shortened(without(clean(text), secrets_of()), MAX_SHOWN_BYTES)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
