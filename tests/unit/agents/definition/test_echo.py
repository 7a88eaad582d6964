"""The echo model's script."""

from __future__ import annotations

import time
from datetime import date

import pytest
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.tools.load_memory_tool import LoadMemoryResponse
from google.genai import errors, types
from runs import Job

from agentjobs.agents.context import running
from agentjobs.agents.definition.echo import answer, script


def user(text: str) -> types.Content:
    return types.Content(role="user", parts=[types.Part(text=text)])


def result(name: str, response: dict[str, object]) -> types.Content:
    return types.Content(
        role="user",
        parts=[types.Part(function_response=types.FunctionResponse(name=name, response=response))],
    )


async def said(*contents: types.Content) -> str:
    parts = (await answer(contents)).content.parts  # type: ignore[union-attr]
    return "".join(part.text or "" for part in parts or [])


def test_the_script_is_taken_out_of_the_message() -> None:
    steps, left = script("Hello,\n  echo:sleep 2\necho:call t {}\nworld")
    assert [(s.word, s.rest) for s in steps] == [("sleep", "2"), ("call", "t {}")]
    assert left == "Hello,\nworld"


async def test_it_says_the_message() -> None:
    response = await answer([user("one two\nthree")])
    assert await said(user("one two\nthree")) == "one two\nthree"
    usage = response.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (3, 3, 6)


async def test_the_last_message_counts() -> None:
    assert (
        await said(user("first"), types.Content(role="model", parts=[types.Part(text="x")]), user("second"))
        == "second"
    )


async def test_it_calls_tools_one_after_the_other_and_tells_their_results() -> None:
    message = user('Sum:\necho:call add {"a": 1}\necho:call name')
    first = await answer([message])
    call = first.content.parts[0].function_call  # type: ignore[union-attr,index]
    assert call is not None
    assert (call.name, call.args) == ("add", {"a": 1})
    second = await answer([message, result("add", {"result": 3})])
    assert second.content.parts[0].function_call.name == "name"  # type: ignore[union-attr,index]
    assert (
        await said(message, result("add", {"result": 3}), result("name", {"first": "A"}))
        == 'Sum:\n3\n{"first": "A"}'
    )


async def test_it_tells_a_result_of_pydantic_models_as_a_provider_is_told() -> None:
    """ADK's load_memory returns one."""
    memories = LoadMemoryResponse(memories=[MemoryEntry(content=user("Rome"), author="user")])
    told = await said(user("echo:call load_memory {}"), result("load_memory", {"result": memories}))
    assert '"memories": [{"author": "user"' in told
    day = await said(user("echo:call today {}"), result("today", {"day": date(2026, 11, 28)}))
    assert day == '{"day": "2026-11-28"}'


async def test_say_and_empty() -> None:
    assert await said(user("echo:say good bye\nx")) == "good bye"
    assert await said(user("echo:empty\nx")) == ""


async def test_it_blocks() -> None:
    assert (await answer([user("echo:block recitation")])).error_code == "RECITATION"


@pytest.mark.parametrize(
    ("code", "kind"), [(429, errors.ClientError), (400, errors.ClientError), (503, errors.ServerError)]
)
async def test_it_fails_like_a_provider(code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        await answer([user(f"echo:fail {code}")])
    assert caught.value.code == code  # type: ignore[attr-defined]


async def test_it_fails_in_the_first_runs_only() -> None:
    job = Job()
    for run, fails in ((1, True), (2, True), (3, False)):
        job.run = run
        with running(job.spec()):
            if fails:
                with pytest.raises(errors.ServerError):
                    await answer([user("echo:fail 500 2\nhi")])
            else:
                assert await said(user("echo:fail 500 2\nhi")) == "hi"


async def test_steps_after_a_call_are_played_after_its_result() -> None:
    message = user("echo:call t {}\necho:fail 500")
    assert (await answer([message])).content is not None
    with pytest.raises(errors.ServerError):
        await answer([message, result("t", {})])


async def test_it_sleeps() -> None:
    began = time.monotonic()
    await said(user("echo:sleep 0.05\nx"))
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("line", ["echo:dance", "echo:sleep soon", "echo:call t {", "echo:fail often"])
async def test_a_wrong_script_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):
        await answer([user(line)])
