"""Questions of a run to the world: a run finds them in its invocation's events, and gives ADK the answers.

For example, the model calls a tool that requires confirmation. ADK ends the model's turn with a call of
``adk_request_confirmation``, one for each such tool call, and the session stores it. A later run, in another
process, finds the open calls and sends the person's answers as function responses of the user, under the same
invocation. ADK then calls the tool, or tells the model of the rejection, and goes on.

So it is with a long-running tool, whose call stays open until the user sends its result, and with a node's
``RequestInput``. Whether ADK can go on at that place is the matter of ``resumable``.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.nodes import nodes_under
from agentjobs.agents.run.events import CONFIRMATION, CREDENTIAL, INPUT, text_of
from agentjobs.agents.verdict.redaction import secrets_of, without
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.requests import ID_CHARACTERS, SCHEMA_CHARACTERS, InputRequest
from agentjobs.values.text import clean, shortened

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.workflow import BaseNode
    from google.genai.types import Content, FunctionCall

MAX_SHOWN_BYTES = 1024
"""Longest text of a call's arguments, a hint or a payload: enough to decide by, small enough for a status."""
_HINT_OF_ADK = "Please approve or reject the tool call "
"""Begin of ADK's own hint, which tells a program how to answer. People get the kubectl command instead."""
_NODE_CONFIRMATION = "wf_tool_confirmation:"
"""Begin of the id of a confirmation that a tool asks for which is a workflow's node."""


class SchemaTooLarge(Exception):
    """The schema of an answer is larger than a question may be."""


class Question:
    """An open question: one call that nobody has answered."""

    def __init__(self, event: Event, call: FunctionCall, number: int) -> None:
        """:param number: the how many-th call of this id it is. A node may use its own id again."""
        self._call = call
        self.id = _id(call.id or "", number)
        self.author = event.author
        """Name of the agent or workflow that asks."""
        self._node = event.node_info.name if event.node_info else ""
        self.first_result: Mapping[str, Any] | None = None
        """What a long-running tool gave at once."""
        self.said = ""
        """What the agent said since."""
        arguments = call.args or {}
        if call.name == CONFIRMATION:
            self.kind = QuestionKind.CONFIRMATION
            original = _mapping(arguments.get("originalFunctionCall"))
            confirmation = _mapping(arguments.get("toolConfirmation"))
            self.tool = str(original.get("name") or "")
            self._about = original.get("args")
            self._hint = str(confirmation.get("hint") or "")
            self._payload = confirmation.get("payload")
        elif call.name == INPUT and (call.id or "").startswith(_NODE_CONFIRMATION):
            self.kind = QuestionKind.CONFIRMATION
            asked = _mapping(arguments.get("payload"))
            self.tool = str(asked.get("tool_name") or "")
            self._about = asked.get("args")
            self._hint = str(arguments.get("message") or "")
            self._payload = asked.get("confirmation_payload")
        elif call.name == INPUT:
            self.kind = QuestionKind.INPUT
            self.tool = self._node if "interruptId" in arguments else str(call.name)
            self._about = arguments.get("payload")
            self._hint = str(arguments.get("message") or "")
            self._payload = None
        else:
            self.kind = QuestionKind.LONG_RUNNING
            self.tool = call.name or ""
            self._about = arguments
            self._hint = ""
            self._payload = None

    @property
    def confirms_a_call(self) -> bool:
        """Whether it is ADK's question about a call that an LLM agent made."""
        return self._call.name == CONFIRMATION

    def request(self, root: BaseNode) -> InputRequest:
        """The question as people see it: its texts are bounded and hold none of the worker's keys.

        :raises SchemaTooLarge: the answer's schema is.
        """
        hint = self.said if self.kind is QuestionKind.LONG_RUNNING else self._hint
        return InputRequest(
            id=self.id,
            tool=shortened(self.tool, 128),
            arguments=""
            if self._about is None and self.kind is QuestionKind.INPUT
            else _shown(self._about or {}),
            hint="" if hint.startswith(_HINT_OF_ADK) else _bounded(hint),
            payload="" if self._payload is None else _shown(self._payload),
            kind=self.kind,
            result=_shown(self.first_result) if self.first_result else "",
            schema=self._schema(root),
        )

    def _schema(self, root: BaseNode) -> str:
        if self.kind is QuestionKind.CONFIRMATION:
            return ""
        if self.kind is QuestionKind.LONG_RUNNING:
            schema = _schema_of_result(root, self.author, self.tool)
            text = _json(schema) if schema else ""
            return text if len(text) <= SCHEMA_CHARACTERS else ""  # ADK does not look at it
        schema = (self._call.args or {}).get("response_schema")
        text = without(clean(_json(schema)), secrets_of()) if schema else ""
        if len(text) > SCHEMA_CHARACTERS:
            raise SchemaTooLarge(
                f"its response_schema has {len(text)} characters as JSON, and at most {SCHEMA_CHARACTERS} are kept: "
                "ask for less at once"
            )
        return text

    def reply(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as ADK's function response.

        A confirmation's payload that the person did not fill in goes back as the tool wrote it. The person's reason
        takes the place of the hint, where the tool can read it.
        """
        payload = answer.get("payload")
        if self.kind is QuestionKind.CONFIRMATION:
            approved = answer.get("approved") is True
            return {
                "confirmed": approved,
                "hint": str(answer.get("reason") or ""),
                "payload": self._payload if payload is None and approved else payload,
            }
        if self.kind is QuestionKind.INPUT:
            return _wrapped_for_adk(payload)
        return payload if isinstance(payload, dict) else {"result": payload}

    def part(self, answer: Mapping[str, Any]) -> Any:
        """The answer as a part of the user's message."""
        from google.genai import types

        response = types.FunctionResponse(id=self._call.id, name=self._call.name, response=self.reply(answer))
        return types.Part(function_response=response)


def open_questions(events: Sequence[Event], answered: Collection[str] = ()) -> list[Question]:
    """The questions in these events that no event of the user answers, oldest first; without those ``answered``.

    Where there are confirmations of calls, they alone: ADK takes no other answer in one message with theirs. The
    others are asked after the run that follows.
    """
    found = _open(events, answered)
    return [question for question in found if question.confirms_a_call] or found


def _open(events: Sequence[Event], answered: Collection[str]) -> list[Question]:
    asked: dict[str, Question] = {}
    times: Counter[str] = Counter()
    for event in events:
        if event.author == "user":
            for response in event.get_function_responses():
                asked.pop(response.id or "", None)
            continue
        for response in event.get_function_responses():
            if (question := asked.get(response.id or "")) is not None:
                question.first_result = response.response
        if text := text_of(event).strip():
            for question in asked.values():
                if question.author == event.author:
                    question.said = text
        for call in event.get_function_calls():
            if call.id and _is_question(event, call):
                times[call.id] += 1
                asked[call.id] = Question(event, call, times[call.id])
    return [question for question in asked.values() if question.id not in answered]


def answers_to_carry_out(events: Sequence[Event], answered: Collection[str]) -> bool:
    """Whether a stored answer of the user to a confirmation waits for ADK to call its tool, or to tell the model of the no.

    ADK does so before it calls the model: where a model has said something since, none waits.

    :param answered: ids of the questions to which people have given answers. A long-running tool that was called and had nothing
        to say yet has no result; who gave one was asked for it after the call.
    """
    asked_about: dict[str, str] = {}
    waiting: set[str] = set()
    for event in events:
        responses = [response.id or "" for response in event.get_function_responses()]
        if event.author == "user":
            waiting.update(asked_about[id] for id in responses if id in asked_about)
            continue
        waiting.difference_update(responses)
        calls = event.get_function_calls()
        if (
            event.content
            and not responses
            and not (calls and all(call.name == CONFIRMATION for call in calls))
        ):
            waiting.clear()
        for call in calls:
            if call.name == CONFIRMATION and call.id:
                original = _mapping((call.args or {}).get("originalFunctionCall"))
                asked_about[call.id] = str(original.get("id") or "")
                waiting.discard(asked_about[call.id])  # the tool was called, and asks once more
    return bool(waiting.difference(answered))


def _is_question(event: Event, call: FunctionCall) -> bool:
    if call.name in (CONFIRMATION, INPUT):
        return True
    return call.id in (event.long_running_tool_ids or set()) and call.name != CREDENTIAL


class QuestionListener:
    """A listener to the events of a run of one agent at a time, which tells when the run has asked and is to end.

    ADK would call the model once more, with a call in its prompt that has no result: providers refuse such a prompt.
    """

    def __init__(self, history: Sequence[Event] = (), answered: Collection[str] = ()) -> None:
        """
        :param history: what earlier runs of the invocation left behind.
        :param answered: ids of the questions that this run has the answers to.
        """
        self._asked = self._stood_in = False
        self._silent = {
            question.id
            for question in _open(history, answered)
            if question.kind is QuestionKind.LONG_RUNNING and question.first_result is None
        }
        """Long-running calls that were made and have no first result."""
        self._others: set[str] = set()
        """The calls beside them that are under way."""

    def hear(self, event: Event) -> bool:
        """Whether ``event`` completes what is to be stored of a question.

        A confirmation is two events in either order: the question, and a stand-in for the tool's result. Of a long-running call
        without a first result it is the event with the results of the calls beside it.
        """
        calls, results = event.get_function_calls(), event.get_function_responses()
        self._asked = self._asked or any(call.name == CONFIRMATION for call in calls)
        self._stood_in = self._stood_in or bool(event.actions.requested_tool_confirmations)
        if self._asked or self._stood_in:
            return self._asked and self._stood_in
        for call in calls:
            (self._silent if _is_question(event, call) else self._others).add(call.id or "")
        done = {result.id or "" for result in results}
        self._silent -= done
        self._others -= done
        if event.actions.transfer_to_agent is not None:
            return False
        return bool(results and self._silent) and not self._others


def reply_to(questions: Sequence[Question], answers: Mapping[str, Mapping[str, Any]]) -> Content | None:
    """The user's message that answers all ``questions``. None: an answer is missing.

    ADK wants the answers to calls that the model made together in one message.
    """
    from google.genai import types

    if not all(question.id in answers for question in questions):
        return None
    return types.Content(role="user", parts=[question.part(answers[question.id]) for question in questions])


def _wrapped_for_adk(payload: Any) -> dict[str, Any]:
    """The payload as a response from which ADK takes the same payload again.

    ADK takes what is alone under ``result``, and reads a text there as JSON where it is some.
    """
    if isinstance(payload, dict) and set(payload) != {"result"}:
        return payload
    if isinstance(payload, str):
        try:
            json.loads(payload)
        except ValueError:
            return {"result": payload}
        return {"result": _json(payload)}
    return {"result": payload}


def _schema_of_result(root: BaseNode, author: str, tool: str) -> Mapping[str, Any] | None:
    """The schema of what a long-running tool returns, by its function's annotation. None: that says nothing."""
    from google.adk.tools.function_tool import FunctionTool
    from pydantic import TypeAdapter

    for node in nodes_under(root):
        for one in (getattr(node, "tools", None) or ()) if getattr(node, "name", "") == author else ():
            if not isinstance(one, FunctionTool) or one.name != tool or not one.is_long_running:
                continue
            try:
                kind = typing.get_type_hints(one.func).get("return", typing.Any)
                return None if kind is type(None) else TypeAdapter(kind).json_schema()
            except Exception:  # an annotation is the author's, and may be anything
                return None
    return None


# text ------------------------------------------------------------------------------------------------


def _id(id: str, number: int) -> str:
    """The id by which an answer names the question: each question of an invocation has another."""
    shown = f"{id}#{number}" if number > 1 else id
    if len(shown) <= ID_CHARACTERS and shown == clean(shown):
        return shown
    return hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()


def _shown(value: Any) -> str:
    return _bounded(_json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _bounded(text: str) -> str:
    return shortened(without(clean(text), secrets_of()), MAX_SHOWN_BYTES)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
