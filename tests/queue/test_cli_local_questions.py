"""What a tool asks during `agentjobs local`: at a terminal, with --yes, and where nobody can answer."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from local_runs import ROOT, RUN_SECONDS, left_over, run
from processes import until

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine
EXAMPLE = "examples/approval.yaml"


async def answered_at_a_terminal(
    lines: str,
    temporary: Path,
    *arguments: str,
    cwd: Path = ROOT,
    prompt: str = "Approve? [y/n]",
) -> tuple[int, str, str]:
    """(exit status, standard output, what the terminal showed) of a run whose question is answered so, line by line."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    process = subprocess.Popen(  # noqa: ASYNC220 - it is looked at, never waited for
        [sys.executable, "-m", "agentjobs.cli", "local", *(arguments or ("-f", EXAMPLE))],
        cwd=cwd,
        env={**environment, "TMPDIR": str(temporary), "TERM": "dumb", "COLUMNS": "200"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown, given = "", 0

    def asked() -> bool:
        nonlocal shown
        shown += _read(ours)
        return shown.count(prompt) >= given

    try:
        for line in lines.split("\n"):
            given += 1
            await until(asked, "the question", RUN_SECONDS)
            os.write(ours, f"{line}\n".encode())

        def over() -> bool:
            nonlocal shown
            shown += _read(ours)
            return process.poll() is not None

        await until(over, "the end", RUN_SECONDS)
        assert process.stdout is not None
        return process.wait(), process.stdout.read(), shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 1 << 16).decode(errors="replace")
    except OSError:  # nothing there, or the other side is gone
        return ""


async def test_at_a_terminal_the_person_is_asked_and_the_agent_goes_on(tmp_path: Path) -> None:
    status, answer, shown = await answered_at_a_terminal("y", tmp_path)
    assert status == 0, shown
    assert '"refunded": 40' in answer
    assert "refund asks: may the tool refund be called?" in shown
    assert '{"order": "A-17", "euros": 40}' in shown
    assert left_over(tmp_path) == []


async def test_a_no_is_heard_by_the_agent(tmp_path: Path) -> None:
    status, answer, shown = await answered_at_a_terminal("n", tmp_path)
    assert status == 0, shown
    assert "This tool call is rejected." in answer
    assert "refunded" not in answer


def test_yes_approves_without_a_terminal(tmp_path: Path) -> None:
    status, answer, told = run("-f", EXAMPLE, "--yes", cwd=ROOT, temporary=tmp_path)
    assert status == 0, told
    assert '"refunded": 40' in answer
    assert "refund asks: may the tool refund be called?" in told
    assert "refund: approved by --yes.\n" in told


HOTEL = """
from google.adk.agents import LlmAgent
from google.adk.tools import ToolContext
def book(tool_context: ToolContext) -> dict:
    "Books."
    if tool_context.tool_confirmation is None:
        tool_context.request_confirmation(hint="How many nights?", payload={"nights": 2})
        return {"state": "asked"}
    return {"booked": tool_context.tool_confirmation.payload}
root_agent = LlmAgent(name="hotel", model="echo", instruction="i", tools=[book])
"""


def test_yes_says_what_it_has_filled_in(tmp_path: Path) -> None:
    (tmp_path / "hotel.py").write_text(HOTEL)
    status, answer, told = run("hotel", "echo:call book {}", "--yes", cwd=tmp_path, temporary=tmp_path)
    assert (status, answer) == (0, '{"booked": {"nights": 2}}\n'), told
    assert (
        'hotel: answered yes by --yes, with what the tool itself filled in: {"nights": 2}. What that' in told
    )


async def test_a_form_is_filled_in_at_the_terminal_as_json(tmp_path: Path) -> None:
    (tmp_path / "hotel.py").write_text(HOTEL)
    status, answer, shown = await answered_at_a_terminal(
        'maybe\n{"nights": 5}',
        tmp_path,
        "hotel",
        "echo:call book {}",
        cwd=tmp_path,
        prompt="Approve? [y/n, or the form filled in, as JSON]",
    )
    assert status == 0, shown
    assert answer == '{"booked": {"nights": 5}}\n'
    assert "y, n or a JSON object" in shown


WAITING = """
from google.adk.agents import LlmAgent
from google.adk.events import RequestInput
from google.adk.tools import LongRunningFunctionTool
from google.adk.workflow import Workflow
from pydantic import BaseModel
class Decision(BaseModel):
    approved: bool
    days: int
def review(node_input):
    return RequestInput(message="Is it good?", response_schema=Decision)
def publish(node_input):
    return f"{node_input['approved']} for {node_input['days']} days"
def build(branch: str) -> dict:
    "Builds."
    return {"status": "pending"}
desk = Workflow(name="desk", edges=[("START", review, publish)])
builder = LlmAgent(name="builder", model="echo", instruction="i", tools=[LongRunningFunctionTool(build)])
"""


async def test_an_input_is_asked_for_at_the_terminal_until_it_fits(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    status, answer, shown = await answered_at_a_terminal(
        'yes\n{"approved": true}\n{"approved": true, "days": 3}',
        tmp_path,
        "waiting:desk",
        "Go.",
        cwd=tmp_path,
        prompt="Answer, as JSON or a line of text:",
    )
    assert (status, answer) == (0, "True for 3 days\n"), shown
    assert "desk wants an input for review." in shown
    assert "Is it good?" in shown
    assert 'payload is "yes"; an object is wanted' in shown
    assert "payload.days is missing; a whole number is wanted" in shown


def test_yes_says_what_it_gave_as_an_input(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    status, answer, told = run("waiting:desk", "Go.", "--yes", cwd=tmp_path, temporary=tmp_path)
    assert (status, answer) == (0, "True for 0 days\n"), told
    assert 'desk: answered by --yes: {"approved": true, "days": 0}.' in told


def test_yes_gives_a_long_running_tool_its_first_result_again_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    status, answer, told = run(
        "waiting:builder", 'echo:call build {"branch": "main"}', "--yes", cwd=tmp_path, temporary=tmp_path
    )
    assert (status, answer) == (0, '{"status": "pending"}\n'), told
    assert "builder waits for the result of the tool build, which has begun." in told
    assert 'builder: answered by --yes: {"status": "pending"}.' in told


def test_without_a_terminal_the_job_is_cancelled_with_the_way_out(tmp_path: Path) -> None:
    status, answer, told = run("-f", EXAMPLE, cwd=ROOT, temporary=tmp_path)
    assert (status, answer) == (1, ""), told
    assert (
        "refund: there is no terminal to answer at, so it is cancelled: run it in a terminal, or with --yes"
        in told
    )
    assert left_over(tmp_path) == []
