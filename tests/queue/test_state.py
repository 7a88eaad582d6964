"""``spec.state``: a job's session gets it with the job's first message, and never again."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import psycopg
import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, error, gemini, text
from runs import Job, module

from agentjobs.agents.sessions.service import forget_services, service_for
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

TOOLS = """
    from google.adk.agents import LlmAgent
    from google.adk.tools import FunctionTool, ToolContext
    def visit(city: str, tool_context: ToolContext) -> dict:
        "Visits."
        left, tool_context.state["city"] = tool_context.state["city"], city
        return {"left": left}
    root_agent = LlmAgent(
        name="agent", model="gemini-2.5-flash",
        instruction="{name} lives in {city}; {user:lang?}.",
        tools=[visit],
    )
    asks = LlmAgent(
        name="agent", model="gemini-2.5-flash", instruction="{name} lives in {city}.",
        tools=[FunctionTool(func=visit, require_confirmation=True)],
    )
"""
STATE = {
    "name": "Ada \N{SNOWMAN}",
    "city": "Paris",
    "deep": {"userID": [None, 1.5, {"__proto__": 2**63 - 1}]},
}


def job(write_module: Write, dsn: str | None, attr: str = "root_agent", **fields: Any) -> Job:
    write_module("stateful", textwrap.dedent(TOOLS))
    return Job(
        module(f"stateful:{attr}"), "Go.", modules=("stateful",), dsn=dsn, **{"state": STATE, **fields}
    )


async def state_of(job: Job) -> dict[str, Any]:
    service = service_for(job.settings.session_dsn)
    session = await service.get_session(**job.session_key)
    assert session is not None
    if job.settings.session_dsn:
        await service.release()  # type: ignore[attr-defined]
    return session.state


def instructions(gemini: FakeGemini) -> list[str]:
    return [request.instruction for request in gemini.requests]


@pytest.mark.parametrize("stored", [True, False], ids=["in Postgres", "in memory"])
async def test_an_instruction_and_a_tool_see_the_state(
    dsn: str, gemini: FakeGemini, write_module: Write, stored: bool
) -> None:
    gemini.script(call("visit", {"city": "Rome"}), text("Done."))
    trip = job(write_module, dsn if stored else None)
    assert (await trip.attempt()).verdict is Verdict.COMPLETE
    assert "Ada \N{SNOWMAN} lives in Paris" in instructions(gemini)[0]
    assert '"left": "Paris"' in json.dumps(gemini.requests[-1].contents)
    assert await state_of(trip) == {**STATE, "city": "Rome"}


async def test_a_retry_and_a_second_round_do_not_put_it_back(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("visit", {"city": "Rome"}), error(500), error(400), text("Done."))
    trip = job(write_module, dsn)
    await trip.attempt()
    forget_services()
    await trip.attempt()
    forget_services()
    trip.round = 2
    assert (await trip.attempt()).result == "Done."
    assert [("Paris" in said) for said in instructions(gemini)] == [True, False, False, False]
    assert await state_of(trip) == {**STATE, "city": "Rome"}


async def test_a_run_that_ended_before_its_message_leaves_the_state_to_the_next(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    trip = job(write_module, dsn)
    assert (await job(write_module, dsn, "nothing").attempt()).reason == "AgentNotFound"
    gemini.script(text("Done."))
    await trip.attempt()
    assert await state_of(trip) == STATE


async def test_an_answer_of_a_person_does_not_put_it_back(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(call("visit", {"city": "Rome"}), text("Done."))
    trip = job(write_module, dsn, "asks")
    (question,) = (await trip.attempt()).requests
    forget_services()
    other = await _change_city(trip, "Oslo")
    trip.fields["answers"] = {question.id: {"approved": True}}
    assert (await trip.attempt()).result == "Done."
    assert other["city"] == "Oslo"
    assert (await state_of(trip))["city"] == "Rome"
    assert "lives in Rome" in instructions(gemini)[-1]


async def _change_city(job: Job, city: str) -> dict[str, Any]:
    """Somebody else's change, while the job waits."""
    with psycopg.connect(job.settings.session_dsn or "") as connection:
        connection.execute(
            "update adk.sessions set state = state || jsonb_build_object('city', %s::text) where id = %s",
            (city, job.session_key["session_id"]),
        )
    return await state_of(job)


async def test_in_a_session_that_exists_it_comes_with_the_jobs_own_message_and_once(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("One."), text("Two."), error(400), text("Four."))
    first = job(write_module, dsn, session_id="shared", state={"name": "Ada", "city": "Paris"})
    await first.attempt()
    second = job(write_module, dsn, session_id="shared", state={"city": "Oslo"})
    await second.attempt()
    assert await state_of(second) == {"name": "Ada", "city": "Oslo"}
    third = job(write_module, dsn, session_id="shared", state={"city": "Bern"})
    await third.attempt()
    await _change_city(third, "Lima")
    gemini.script(text("In between."))
    between = job(write_module, dsn, session_id="shared", state={})
    await between.attempt()
    third.round = 2
    await third.attempt()
    assert await state_of(third) == {"name": "Ada", "city": "Lima"}


async def test_keys_of_the_user_are_there_in_the_users_next_session(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("One."), text("Two."))
    await job(
        write_module, dsn, user_id="ada", state={"name": "Ada", "city": "Paris", "user:lang": "de"}
    ).attempt()
    await job(write_module, dsn, user_id="ada").attempt()
    await job(write_module, dsn, user_id="eve").attempt()
    assert [("; de." in said) for said in instructions(gemini)] == [True, True, False]


async def test_a_state_of_the_largest_size_arrives_whole(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    gemini.script(text("Done."))
    large = {"name": "Ada", "city": "Paris", "text": "\N{SNOWMAN}" * 5000}
    trip = job(write_module, dsn, state=large)
    await trip.attempt()
    assert await state_of(trip) == large
