"""The ids of function calls: which stay as the provider gave them, and which are another's already."""

from __future__ import annotations

from typing import Any, cast

import pytest
from google.adk.models.llm_response import LlmResponse
from google.genai import types

from agentjobs.agents.run.call_ids import CallIdsPlugin

ANYBODY = cast(Any, None)


def answer(*ids: str | None, **more: Any) -> LlmResponse:
    calls = [types.Part(function_call=types.FunctionCall(id=id, name="act", args={"n": 1})) for id in ids]
    return LlmResponse(content=types.Content(role="model", parts=[types.Part(text="I act."), *calls]), **more)


async def heard(plugin: CallIdsPlugin, response: LlmResponse) -> list[str | None]:
    assert await plugin.after_model_callback(callback_context=ANYBODY, llm_response=response) is None
    assert response.content is not None
    assert response.content.parts is not None
    assert response.content.parts[0].text == "I act."
    calls = [part.function_call for part in response.content.parts[1:] if part.function_call]
    assert all((call.name, call.args) == ("act", {"n": 1}) for call in calls)
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
async def test_each_call_of_a_session_has_its_own_id(
    used: tuple[str, ...], given: list[str | None], own: list[str | None]
) -> None:
    assert await heard(CallIdsPlugin(used), answer(*given)) == own


async def test_an_answer_that_the_model_keeps_stays_as_it_is() -> None:
    """Such as one from a cache, or of a script: its content is in an event of the session by then."""
    plugin, given = CallIdsPlugin([]), answer("a")
    kept = given.content
    assert kept is not None
    assert kept.parts is not None
    again = LlmResponse(content=kept)
    assert await heard(plugin, given) == ["a"]
    assert await heard(plugin, again) == ["a-2"]
    assert kept.parts[1].function_call is not None
    assert kept.parts[1].function_call.id == "a"


async def test_a_part_of_an_answer_takes_no_id_from_the_whole() -> None:
    plugin = CallIdsPlugin([])
    assert await heard(plugin, answer("a", partial=True)) == ["a"]
    assert await heard(plugin, answer("a")) == ["a"]


async def test_an_answer_without_content_is_none_of_its_business() -> None:
    failed = LlmResponse(error_code="SAFETY")
    await CallIdsPlugin(["a"]).after_model_callback(callback_context=ANYBODY, llm_response=failed)
    assert failed.content is None
