"""The whole way of a question with a real worker and real ADK, and what is called how often whoever is killed when.

Each test's agent writes a line into a file whenever its tool is begun, and another one when it is done.
"""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from uuid import UUID

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import FINAL_STATES, InputAnswer, JobView, State
from workers import WorkerProcess, job, running_worker, state_of, submit, worker_config

SOURCE = """
import asyncio, os, signal
from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools import FunctionTool
from agentjobs.agents.context import current_job

def die(when, run):
    if current_job().run == run and os.path.exists(f"{FOLDER}/die-{when}"):
        os.kill(os.getpid(), signal.SIGKILL)

def note(text):
    with open(f"{FOLDER}/notes", "a") as out:
        out.write(f"{current_job().run} {text}\\n")

async def refund(order: str):
    "Refunds."
    note(f"begin {order}")
    die("in-the-tool", 2)
    while os.path.exists(f"{FOLDER}/wait-in-the-tool") and current_job().run == 2:
        await asyncio.sleep(0.02)
    note(f"done {order}")
    return f"refunded {order}"

class Deaths(BasePlugin):
    async def on_user_message_callback(self, *, invocation_context, user_message):
        die("before-the-answer-is-stored", 2)
    async def after_tool_callback(self, *, tool, tool_args, tool_context, result):
        if tool.name == "refund" and tool_context.tool_confirmation is not None:
            die("before-the-result-is-stored", 2)
    async def on_event_callback(self, *, invocation_context, event):
        if event.long_running_tool_ids:
            die("before-the-question-is-stored", 1)
        if event.is_final_response() and not event.long_running_tool_ids and event.get_function_calls() == []:
            if event.content and any(part.text for part in event.content.parts or []):
                die("before-the-final-answer-is-stored", 2)
    async def before_model_callback(self, *, callback_context, llm_request):
        if current_job().run == 2 and os.path.exists(f"{FOLDER}/notes"):
            die("after-the-result-is-stored", 2)
    async def after_run_callback(self, *, invocation_context):
        die("after-the-question-is-stored", 1)
        die("after-the-final-answer-is-stored", 2)

agent = LlmAgent(name="clerk", model="echo", instruction="Answer.", tools=[FunctionTool(refund, require_confirmation=True)])
app = App(name="clerk", root_agent=agent, plugins=[Deaths("deaths")])
"""
MODULES = ("asking",)
ONE = 'echo:call refund {"order": "A-1"}\nDone:'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "asking.py").write_text(f"FOLDER = {str(tmp_path)!r}\n{SOURCE}")
    return tmp_path


def notes(folder: Path) -> list[str]:
    file = folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


async def asked(queue: Queue, uid: UUID, order: str = "A-1") -> JobView:
    """Waits until the job asks about that order."""
    async with asyncio.timeout(60):
        while True:
            view = await state_of(queue, uid, State.INPUT_REQUIRED, *FINAL_STATES)
            assert view.input_request is not None, (view.state, view.reason, view.message, view.attempts_log)
            if json.loads(view.input_request.arguments) == {"order": order}:
                return view
            await asyncio.sleep(0.03)


async def answer(queue: Queue, view: JobView, approved: bool = True) -> None:
    assert view.input_request is not None
    assert await queue.answer(view.uid, InputAnswer(view.input_request.id, approved)) == ""


async def test_a_question_frees_the_slot_and_the_answer_lets_the_tool_run_once(
    queue: Queue, dsn: str, folder: Path
) -> None:
    config = worker_config(dsn, str(folder), queues={"agents": 1}, modules=MODULES)
    async with running_worker(config):
        (uid,) = await submit(queue, job(ONE, module="asking", max_attempts=1))
        view = await asked(queue, uid)
        assert view.attempts == 0
        (other,) = await submit(queue, job("hello", module="asking"))
        assert (await state_of(queue, other)).state is State.COMPLETE, "the slot is free"
        assert notes(folder) == []
        await answer(queue, view)
        done = await state_of(queue, uid)
        assert (done.state, done.attempts, done.result) == (State.COMPLETE, 1, "Done:\nrefunded A-1")
    assert notes(folder) == ["2 begin A-1", "2 done A-1"]


async def test_questions_one_after_another_and_a_rejection(queue: Queue, dsn: str, folder: Path) -> None:
    message = 'echo:call refund {"order": "A-1"}\necho:call refund {"order": "A-2"}\nDone:'
    async with running_worker(worker_config(dsn, str(folder), modules=MODULES)):
        (uid,) = await submit(queue, job(message, module="asking"))
        await answer(queue, await asked(queue, uid), approved=False)
        await answer(queue, await asked(queue, uid, "A-2"))
        done = await state_of(queue, uid)
    assert done.state is State.COMPLETE
    assert "This tool call is rejected." in str(done.result)
    assert notes(folder) == ["3 begin A-2", "3 done A-2"]
    assert [record.outcome for record in done.attempts_log] == ["ask", "ask", "complete"]


PHASES = {
    # in which run the executor is killed: 1 asks, 2 has the answer
    "before-the-question-is-stored": ["3 begin A-1", "3 done A-1"],
    "after-the-question-is-stored": ["3 begin A-1", "3 done A-1"],
    "before-the-answer-is-stored": ["3 begin A-1", "3 done A-1"],
    # what was under way when its process died is at least once (H13)
    "in-the-tool": ["2 begin A-1", "3 begin A-1", "3 done A-1"],
    "before-the-result-is-stored": ["2 begin A-1", "2 done A-1", "3 begin A-1", "3 done A-1"],
    # and what is stored is exactly once
    "after-the-result-is-stored": ["2 begin A-1", "2 done A-1"],
    "before-the-final-answer-is-stored": ["2 begin A-1", "2 done A-1"],
    "after-the-final-answer-is-stored": ["2 begin A-1", "2 done A-1"],
}


@pytest.mark.parametrize("phase", PHASES)
async def test_an_executor_that_is_killed_in_any_phase_repeats_nothing_that_is_stored(
    queue: Queue, dsn: str, folder: Path, phase: str
) -> None:
    (folder / f"die-{phase}").touch()
    async with running_worker(worker_config(dsn, str(folder), modules=MODULES)):
        (uid,) = await submit(queue, job(ONE, module="asking"))
        await answer(queue, await asked(queue, uid))
        done = await state_of(queue, uid)
    assert (done.state, done.result) == (State.COMPLETE, "Done:\nrefunded A-1"), done
    assert notes(folder) == PHASES[phase]
    assert [r.reason for r in done.attempts_log].count("ExecutorCrashed") == 1
    assert [r.outcome for r in done.attempts_log].count("ask") == 1, "asked once, whoever died"


async def test_a_worker_that_is_killed_between_approval_and_ack_repeats_only_what_was_under_way(
    queue: Queue, dsn: str, folder: Path
) -> None:
    (folder / "wait-in-the-tool").touch()
    first = WorkerProcess(dsn, str(folder), folder, modules=MODULES)
    second = None
    try:
        (uid,) = await submit(queue, job(ONE, module="asking", session="shared"))
        view = await asked(queue, uid)
        first.signal(signal.SIGKILL)  # parked jobs need no worker
        second = WorkerProcess(dsn, str(folder), folder, modules=MODULES)
        await second.event("template.ready")
        await answer(queue, view)
        async with asyncio.timeout(60):
            while notes(folder) != ["2 begin A-1"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        second.signal(signal.SIGKILL)
        third = WorkerProcess(dsn, str(folder), folder, modules=MODULES)
        try:
            done = await state_of(queue, uid, seconds=120)
        finally:
            third.end()
    finally:
        first.end()
        if second is not None:
            second.end()
    assert (done.state, done.result) == (State.COMPLETE, "Done:\nrefunded A-1")
    assert notes(folder) == ["2 begin A-1", "3 begin A-1", "3 done A-1"]
    assert [record.outcome for record in done.attempts_log] == ["ask", "lost", "complete"]


async def test_a_question_of_a_run_that_is_being_drained_is_kept(
    queue: Queue, dsn: str, folder: Path
) -> None:
    async with running_worker(worker_config(dsn, str(folder), modules=MODULES)):
        (uid,) = await submit(queue, job(ONE, module="asking"))
        view = await asked(queue, uid)
    assert (await state_of(queue, uid, State.INPUT_REQUIRED)).input_request == view.input_request
    await answer(queue, view, approved=False)
    async with running_worker(worker_config(dsn, str(folder), modules=MODULES)):
        done = await state_of(queue, uid)
    assert "rejected" in str(done.result)
