"""Yaml agents in a worker: what their files name is imported once, in the template, and a question waits for a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_modules import Write, write_module
from runs import Job, module
from yaml_samples import write_agent

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.values.reasons import Reason
from workers import job, running_worker, state_of, submit, worker_config

__all__ = ["write_module"]

LLM = "name: root\nmodel: echo\ninstruction: Answer.\n"
TOOLS = """
import os
IMPORTED_BY = os.getpid()
def where() -> str:
    "Says where it was imported."
    return f"{IMPORTED_BY}, here {IMPORTED_BY == os.getpid()}"
"""


async def test_what_the_files_name_is_imported_once_in_the_template(dsn: str, tmp_path: Path) -> None:
    write_agent(tmp_path / "placed", {"root_agent.yaml": f"{LLM}tools:\n- name: placed.tools.where\n"}, TOOLS)
    settings = AgentSettings(modules=("placed",), preload=("placed",), session_dsn=dsn)
    config = worker_config(dsn, str(tmp_path), settings=settings, memory_limit_mib=None)
    async with running_worker(config), await Queue.open(dsn, application_name="test") as queue:
        jobs = [job("echo:call where", module="placed") for _ in range(2)]
        ended = [await state_of(queue, uid) for uid in await submit(queue, *jobs)]
    assert [one.state for one in ended] == [State.COMPLETE] * 2, [one.message for one in ended]
    first, second = (str(one.result) for one in ended)
    assert first == second
    assert "here False" in first


async def test_a_long_running_tool_waits_for_a_person(dsn: str, tmp_path: Path, write_module: Write) -> None:
    tool = "- name: LongRunningFunctionTool\n  args: {func: manager.tools.ask}\n"
    tools = "def ask(cents: int) -> None:\n    'Asks the manager.'\n"
    write_agent(tmp_path / "manager", {"root_agent.yaml": f"{LLM}tools:\n{tool}"}, tools)
    run = Job(module("manager"), 'echo:call ask {"cents": 7}', modules=("manager",), dsn=dsn)
    outcome = await run.attempt()
    assert outcome.reason == Reason.INPUT_REQUIRED.value, outcome


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    from agentjobs.agents.sessions.service import forget_services

    forget_services()
