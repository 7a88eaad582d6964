"""A tool's questions to a person: found in the events of an invocation, and answered as ADK wants it.

A tool that requires confirmation ends the model's turn with calls of ``adk_request_confirmation``, one per tool call
that waits. They are stored, so a later run, in another process, finds them in the session; a function response by the
user, under the same invocation, makes ADK call the tool (or tell the model that it was rejected) and go on.

ADK resumes the agent that asked, and nothing around it. So only those places are asked from where that is enough, or
where what comes after can be run from here: see :func:`may_ask`.
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
"""Of a call's arguments, of a hint, of a payload: enough to decide by, small enough for a status."""
_HINT_OF_ADK = "Please approve or reject the tool call "
"""ADK's own hint tells a program how to answer; people are told by the command."""


class Question:
    """One call of ``adk_request_confirmation`` that nobody has answered."""

    def __init__(self, author: str, call: FunctionCall) -> None:
        arguments = call.args or {}
        original = _mapping(arguments.get("originalFunctionCall"))
        confirmation = _mapping(arguments.get("toolConfirmation"))
        self.id = call.id or ""
        self.author = author
        """The agent whose tool it is."""
        self.tool = str(original.get("name") or "")
        self._arguments = original.get("args")
        self._hint = str(confirmation.get("hint") or "")
        self._payload = confirmation.get("payload")

    def request(self) -> InputRequest:
        """As people are shown it: bounded, without the worker's keys."""
        return InputRequest(
            id=self.id,
            tool=shortened(self.tool, 128),
            arguments=_shown(self._arguments or {}),
            hint="" if self._hint.startswith(_HINT_OF_ADK) else _bounded(self._hint),
            payload="" if self._payload is None else _shown(self._payload),
        )

    def reply(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """ADK's ``ToolConfirmation``. A payload that was not filled in goes back as the tool wrote it; the person's
        reason takes the place of the hint, where a tool can read it."""
        approved = answer.get("approved") is True
        payload = answer.get("payload")
        return {
            "confirmed": approved,
            "hint": str(answer.get("reason") or ""),
            "payload": self._payload if payload is None and approved else payload,
        }


def open_questions(events: Sequence[Event]) -> list[Question]:
    """The questions that no event of the user answers, oldest first."""
    answered = answered_by_user(events)
    return [
        Question(event.author, call)
        for event in events
        for call in event.get_function_calls()
        if call.name == CONFIRMATION and call.id and call.id not in answered
    ]


def reply_to(questions: Sequence[Question], answers: Mapping[str, Mapping[str, Any]]) -> Content | None:
    """The user's message that answers all of them at once, as ADK wants it for calls that the model made together;
    None: an answer is missing."""
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
    """Whether it holds a question of a tool's."""
    return any(call.name == CONFIRMATION for call in event.get_function_calls())


class Asked:
    """Hears the events of a run, and knows whether a question is stored whole: the question itself, and the stand-in
    for the tool's result that ADK writes before it or after it."""

    def __init__(self) -> None:
        self._asked = self._stood_in = False

    def hear(self, event: Event) -> bool:
        self._asked = self._asked or asks(event)
        self._stood_in = self._stood_in or bool(event.actions.requested_tool_confirmations)
        return self._asked and self._stood_in


# where ADK can go on ---------------------------------------------------------------------------------


def may_ask(root: BaseNode, author: str) -> str:
    """Why an answer to this agent's question could not be followed up; empty: it can.

    * A lone LLM agent, or one that others hand over to (``sub_agents``): ADK goes on with the agent that asked.
    * An LLM agent that is a step of a sequence: ADK goes on with that step, ``remaining`` with those after it.
    * A loop, parallel steps, a workflow, a custom agent: where they were is not in the history.
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


def remaining(root: BaseNode, events: Sequence[Event]) -> BaseNode:
    """What of ``root`` is to be run: of a sequence, the last step that asked, and those after it.

    Those before it have finished. A retry of a sequence without questions begins at its first step.
    """
    if not is_sequence(root):
        return root
    askers = [event.author for event in events if asks(event)]
    names = [step.name for step in root.sub_agents]
    if not askers or askers[-1] not in names:
        return root
    return root.model_copy(update={"sub_agents": root.sub_agents[names.index(askers[-1]) :]})


def is_sequence(root: BaseNode) -> TypeGuard[SequentialAgent]:
    """Without importing the class: where nobody has, nothing is of it, and each run would pay for the import."""
    module = sys.modules.get("google.adk.agents.sequential_agent")
    return module is not None and isinstance(root, module.SequentialAgent)


def _lone(node: object) -> bool:
    return _chats(node) and not getattr(node, "sub_agents", None)


def _chats(node: object) -> bool:
    """An LLM agent that talks, and is no task with an end of its own."""
    from google.adk.agents import LlmAgent

    return isinstance(node, LlmAgent) and node.mode in (None, "chat")


def _chatting(root: Any) -> set[str]:
    """Names of the LLM agents that are reached from ``root`` through LLM agents alone."""
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
