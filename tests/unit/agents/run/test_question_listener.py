"""When a run has asked, and is to end before the model is called once more."""

from __future__ import annotations

from typing import Any

import pytest
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types

from agentjobs.agents.run.events import CONFIRMATION
from agentjobs.agents.run.questions import QuestionListener


def calls(*ids: str, waits: tuple[str, ...] = (), name: str = "act") -> Event:
    parts = [types.Part(function_call=types.FunctionCall(id=id, name=name, args={})) for id in ids]
    content = types.Content(role="model", parts=parts)
    return Event(author="a", content=content, long_running_tool_ids=set(waits) or None)


def results(*ids: str, **actions: Any) -> Event:
    parts = [
        types.Part(function_response=types.FunctionResponse(id=id, name="act", response={})) for id in ids
    ]
    content = types.Content(role="user", parts=parts)
    return Event(author="a", content=content, actions=EventActions(**actions))


SAID = Event(author="a", content=types.Content(role="model", parts=[types.Part(text="Wait.")]))
QUESTION = calls("q", waits=("q",), name=CONFIRMATION)
STAND_IN = results("1", requested_tool_confirmations={"1": ToolConfirmation()})


@pytest.mark.parametrize(
    ("events", "ends_at"),
    [
        ([calls("1"), results("1"), SAID], None),
        ([calls("1"), QUESTION, STAND_IN], 2),
        ([calls("1"), STAND_IN, QUESTION], 2),
        ([calls("1", waits=("1",)), results("1"), SAID], None),
        ([calls("1", "2", waits=("1",)), results("1", "2"), SAID], None),
        ([calls("1", "2", waits=("1",)), results("2")], 1),
        ([calls("1", "2", "3", waits=("1", "2")), results("2", "3")], 1),
        ([calls("1", "2", "3", waits=("1",)), results("2")], None),
        ([calls("1", "2", waits=("1",)), results("2", transfer_to_agent="b")], None),
        ([calls("0"), results("0"), calls("1", "2", waits=("1",)), results("2")], 3),
        ([calls("1", "2", waits=("2",)), STAND_IN, QUESTION], 2),
    ],
)
def test_a_run_ends_once_its_question_is_stored_whole(events: list[Event], ends_at: int | None) -> None:
    listener = QuestionListener()
    heard = [listener.hear(event) for event in events]
    assert (heard.index(True) if True in heard else None) == ends_at


def test_a_run_that_carries_out_an_approval_ends_where_another_call_still_waits() -> None:
    """Both were made in one answer, and an earlier run asked about the confirmation alone."""
    history = [calls("1", "2", waits=("2",)), QUESTION, STAND_IN]
    assert QuestionListener(history, {"q"}).hear(results("1"))
    assert not QuestionListener(history, {"q", "2"}).hear(results("1"))
    assert not QuestionListener([calls("1", "2", waits=("2",)), results("2"), QUESTION], {"q"}).hear(
        results("1")
    )
