"""The ids of function calls: which stay as the provider gave them, and which are another's already."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.adk.events.event import Event
from google.genai import types

from agentjobs.agents.run.call_ids import CallIdsPlugin
from agentjobs.agents.run.events import CONFIRMATION

ANYBODY = cast(Any, None)


def answer(*ids: str | None, name: str = "act", **more: Any) -> Event:
    calls = [types.Part(function_call=types.FunctionCall(id=id, name=name, args={"n": 1})) for id in ids]
    content = types.Content(role="model", parts=[types.Part(text="I act."), *calls])
    return Event(author="agent", content=content, **more)


async def hear(plugin: CallIdsPlugin, event: Event) -> None:
    asked = cast(Any, SimpleNamespace(agent_name="agent"))
    assert await plugin.before_model_callback(callback_context=asked, llm_request=ANYBODY) is None
    await plugin.on_event_callback(invocation_context=ANYBODY, event=event)


async def heard(plugin: CallIdsPlugin, response: Event) -> list[str | None]:
    await hear(plugin, response)
    assert response.content is not None
    assert response.content.parts is not None
    assert response.content.parts[0].text == "I act."
    calls = [part.function_call for part in response.content.parts[1:] if part.function_call]
    assert all(call.args == {"n": 1} for call in calls)
    return [call.id for call in calls]


@pytest.mark.parametrize(
    ("used", "given", "own"),
    [
        ((), ["a", "b"], ["a", "b"]),
        (("a",), ["a", "b"], ["a-2", "b"]),
        (("a", "a-2"), ["a"], ["a-3"]),
        ((), ["a", "a", "a"], ["a", "a-2", "a-3"]),
        (("a",), [None, ""], [None, ""]),
        (("x" * 40,), ["x" * 40], ["x" * 32 + "-2"]),
    ],
)
async def test_h32_each_call_of_a_session_has_its_own_id(
    used: tuple[str, ...], given: list[str | None], own: list[str | None]
) -> None:
    assert await heard(CallIdsPlugin(used), answer(*given)) == own


async def test_an_answer_that_the_model_keeps_stays_as_it_is() -> None:
    """Such as one from a cache, or of a script: its content is in an event of the session by then."""
    plugin, given = CallIdsPlugin([]), answer("a")
    kept = given.content
    assert kept is not None
    assert kept.parts is not None
    again = Event(author="agent", content=kept)
    assert await heard(plugin, given) == ["a"]
    assert await heard(plugin, again) == ["a-2"]
    assert kept.parts[1].function_call is not None
    assert kept.parts[1].function_call.id == "a"


async def test_a_part_of_an_answer_takes_no_id_from_the_whole() -> None:
    plugin = CallIdsPlugin([])
    assert await heard(plugin, answer("a", partial=True)) == ["a"]
    assert await heard(plugin, answer("a")) == ["a"]


async def test_an_answer_without_content_is_none_of_its_business() -> None:
    failed = Event(author="agent", error_code="SAFETY")
    await hear(CallIdsPlugin(["a"]), failed)
    assert failed.content is None


async def test_a_call_that_waits_does_so_under_its_own_id() -> None:
    event = answer("a", "b", long_running_tool_ids={"a"})
    assert await heard(CallIdsPlugin(["a"]), event) == ["a-2", "b"]
    assert event.long_running_tool_ids == {"a-2"}


async def test_a_question_of_adks_keeps_its_id() -> None:
    assert await heard(CallIdsPlugin(["a"]), answer("a", name=CONFIRMATION)) == ["a"]


async def test_an_agent_without_a_model_keeps_its_ids() -> None:
    """Such as a remote agent, which finds an answer by the id that it gave."""
    remote = answer("a")
    remote.author = "remote"
    assert await heard(CallIdsPlugin(["a"]), remote) == ["a"]


async def test_who_holds_a_call_already_sees_its_own_id() -> None:
    """As ADK does of a call by which an agent hands a task over, before the event is heard."""
    event = answer("a")
    (held,) = event.get_function_calls()
    assert await heard(CallIdsPlugin(["a"]), event) == ["a-2"]
    assert held.id == "a-2"


async def test_calls_that_keep_their_ids_are_not_given_to_others() -> None:
    plugin, remote = CallIdsPlugin([]), answer("a")
    remote.author = "remote"
    assert await heard(plugin, remote) == ["a"]
    assert await heard(plugin, answer("a")) == ["a-2"]
