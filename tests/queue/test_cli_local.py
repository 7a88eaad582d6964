"""`agentjobs local` from the outside: answers, exit statuses, and that nothing is left running."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_runs import RUN_SECONDS, finish, left_over, run, start
from processes import until

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine
HEAD = "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\n"
INLINE = "agent: {inline: {name: a, model: echo, instruction: i}}"


def manifest(folder: Path, *jobs: str) -> Path:
    path = folder / "jobs.yaml"
    path.write_text("---\n".join(HEAD + job for job in jobs))
    return path


@pytest.mark.parametrize("kind", ["code", "config"])
def test_a_folder_made_by_adk_create_answers_with_one_command_and_its_env(kind: str, tmp_path: Path) -> None:
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            "from google.adk.cli.cli_create import run_cmd\n"
            "run_cmd('my_agent', model='echo', google_api_key='a-key', google_cloud_project=None,\n"
            f"        google_cloud_region=None, type='{kind}')",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    code = tmp_path / "my_agent" / ("agent.py" if kind == "code" else "tools.py")
    written = code.read_text() if kind == "code" else "def tool(): ...\n"
    code.write_text("import os\nassert os.environ['GOOGLE_API_KEY'] == 'a-key'\n" + written)
    if kind == "config":
        with (tmp_path / "my_agent" / "root_agent.yaml").open("a") as file:
            file.write("tools:\n- name: my_agent.tools.tool\n")

    status, answer, told = run("my_agent", "Hello there", cwd=tmp_path, temporary=tmp_path)

    assert (status, answer) == (0, "Hello there\n"), told
    assert "EXPERIMENTAL" not in told
    assert left_over(tmp_path) == []


def test_a_yaml_agent_of_a_manifest_is_checked_before_anything_is_started(tmp_path: Path) -> None:
    agent = tmp_path / "shop" / "root_agent.yaml"
    agent.parent.mkdir()
    agent.write_text("name: a\nmodel: echo\ninstruction: i\ntools:\n- name: os.system\n")
    jobs = manifest(tmp_path, "metadata: {name: a}\nspec: {agent: {module: shop}, message: x}\n")
    status, answers, told = run("-f", str(jobs), cwd=tmp_path, temporary=tmp_path)
    assert (status, answers) == (2, "")
    assert "shop/root_agent.yaml: tools[0].name: 'os.system'" in told
    assert "Starting" not in told


def test_a_failing_job_ends_with_status_1_its_reason_and_what_it_printed_and_spoils_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "talker.py").write_text(
        "from google.adk.agents import LlmAgent\n"
        "def shout() -> str:\n"
        "    'Shout.'\n"
        "    print('taking a deep breath')\n"
        "    raise RuntimeError('no voice today')\n"
        "root_agent = LlmAgent(name='talker', model='echo', instruction='i', tools=[shout])\n"
    )
    jobs = manifest(
        tmp_path,
        "metadata: {name: shouter}\nspec: {agent: {module: talker}, message: 'echo:call shout', maxAttempts: 2,\n"
        "  retryPolicy: {initialDelaySeconds: 1}}\n",
        f"metadata: {{name: blocked}}\nspec: {{{INLINE}, message: 'echo:block SAFETY'}}\n",
        f"metadata: {{name: good}}\nspec: {{{INLINE}, message: fine}}\n",
    )

    status, answers, told = run("-f", str(jobs), cwd=tmp_path, temporary=tmp_path)

    assert (status, answers) == (1, "good:\n  fine\n"), told
    assert "shouter: Failed (ToolFailed) after 2 of 2 attempts" in told
    assert "no voice today" in told
    assert told.splitlines()[-1] == "3 jobs: 1 Failed (ToolFailed), 1 Failed (ModelSafetyBlocked), 1 Complete"
    assert "  | taking a deep breath" in told
    assert "  |     raise RuntimeError('no voice today')" in told, "the developer sees the whole traceback"
    assert "another exception" not in told, "that of the tool, without what ADK was doing itself"
    assert "blocked: Failed (ModelSafetyBlocked) after 1 of 3 attempts" in told
    assert left_over(tmp_path) == []


def test_a_provider_that_cannot_be_reached_is_told_without_the_frames_of_its_client(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text(
        "import os\n"
        "from google.adk.agents import LlmAgent\n"
        "os.environ |= {'GOOGLE_API_KEY': 'a-key', 'GOOGLE_GEMINI_BASE_URL': 'http://127.0.0.1:1'}\n"
        "root_agent = LlmAgent(name='far', model='gemini-flash-latest', instruction='i')\n"
    )

    status, _, told = run("far", "Hello", cwd=tmp_path, temporary=tmp_path)

    assert status == 1
    assert "far: Failed (ModelUnreachable) after 1 of 1 attempts" in told
    assert "Traceback" not in told, "none of its lines is the developer's"


def test_an_error_at_import_is_told_with_its_own_traceback_alone(tmp_path: Path) -> None:
    package = tmp_path / "keyed"
    package.mkdir()
    (package / "__init__.py").write_text("from . import agent\n")
    (package / "agent.py").write_text("import os\nKEY = os.environ['MY_KEY']\n")
    status, _, told = run("keyed", "Hello", cwd=tmp_path, temporary=tmp_path)
    assert status == 1
    assert "it reads the environment variable 'MY_KEY'" in told
    assert "  |   File " in told
    assert told.count("Traceback") == 1, "of its cause; what we made of it is the message"
    assert told.splitlines()[-1] == "  | KeyError: 'MY_KEY'"


def test_a_conversation_goes_on_in_the_folder_that_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(
        "from google.adk.agents import LlmAgent\n"
        "def count(tool_context) -> str:\n"
        "    'Count.'\n"
        "    said = tool_context.state['said'] = tool_context.state.get('said', 0) + 1\n"
        "    return f'{said} of {tool_context.user_id}'\n"
        "root_agent = LlmAgent(name='counter', model='echo', instruction='i', tools=[count])\n"
    )

    def say(*options: str) -> tuple[int, str, str]:
        return run("counter", "echo:call count", *options, cwd=tmp_path, temporary=tmp_path)

    kept = ("--data", "kept", "--session", "trip", "--user", "ada")
    assert say(*kept)[:2] == (0, "1 of ada\n")
    assert say(*kept)[:2] == (0, "2 of ada\n")
    status, _, told = say("--session", "trip")
    assert status == 2
    assert "--session trip: add --data DIR" in told


STEERS = "\x1b]52;c;bGlhcg==\x07\x1b[2J"
SPEAKER = f"""
from google.adk.agents import LlmAgent
def speak(text: str) -> str:
    "Speak."
    if text == "fail":
        raise ValueError({STEERS!r})
    return {STEERS!r} + text
root_agent = LlmAgent(name="speaker", model="echo", instruction="i", tools=[speak])
"""


def test_an_answer_and_an_error_steer_no_terminal_and_an_answer_is_whole_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    say, fail = (f'echo:call speak {{"text": "{text}"}}' for text in ("said", "fail"))
    status, answer, told = run("speaker", say, cwd=tmp_path, temporary=tmp_path)
    assert (status, answer) == (0, f"{STEERS}said\n"), told
    for message, expected in ((say, "\\x07\\x1b[2Jsaid"), (fail, "\\x1b]52;c;bGlhcg==\\x07\\x1b[2J")):
        shown = at_a_terminal("speaker", message, cwd=tmp_path)
        assert expected in shown
        assert "\x07" not in shown
        assert "\x1b]" not in shown


def test_verbose_shows_what_an_agent_prints_and_steers_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "printer.py").write_text(
        SPEAKER.replace('if text == "fail":', f"print({STEERS!r} + text)\n    if 0:")
    )
    say = 'echo:call speak {"text": "said"}'
    status, answer, told = run("printer", say, "-v", cwd=tmp_path, temporary=tmp_path)
    assert (status, answer) == (0, f"{STEERS}said\n"), told
    assert f"{STEERS}said" in told
    shown = at_a_terminal("printer", say, "-v", cwd=tmp_path)
    assert shown.count("\\x07\\x1b[2Jsaid") == 2, "as the tool printed it, and as the answer"
    assert "\x07" not in shown


def at_a_terminal(*arguments: str, cwd: Path) -> str:
    """What a terminal shows of a run, to its end."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "agentjobs.cli", "local", *arguments],
        cwd=cwd,
        env={**environment, "TMPDIR": str(cwd), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        with contextlib.suppress(OSError):  # the other side is gone
            while piece := os.read(ours, 1 << 16):
                shown += piece
        process.wait(RUN_SECONDS)
    finally:
        process.kill()
        os.close(ours)
    return shown.decode(errors="replace")


def test_files_that_agents_save_are_copied_where_save_names(tmp_path: Path) -> None:
    (tmp_path / "writer.py").write_text(
        "from google.adk.agents import LlmAgent\n"
        "from google.genai import types\n"
        "async def write(tool_context) -> str:\n"
        "    'Write.'\n"
        "    for name, text in {'../report.txt': 'All is well.', 'a/b.txt': 'one', 'a_b.txt': 'other'}.items():\n"
        "        await tool_context.save_artifact(name, types.Part(text=text))\n"
        "    return 'written'\n"
        "root_agent = LlmAgent(name='writer', model='echo', instruction='i', tools=[write])\n"
    )
    status, answer, told = run(
        "writer", "echo:call write", "--save", "made", cwd=tmp_path, temporary=tmp_path
    )
    assert (status, answer) == (0, "written\n"), told
    assert "Saved made/_._report.txt" in told
    assert {one.name: one.read_text() for one in (tmp_path / "made").iterdir()} == {
        "_._report.txt": "All is well.",
        "a_b-5550000d.txt": "one",
        "a_b-bd3722f0.txt": "other",
    }
    _, _, told = run("writer", "echo:call write", cwd=tmp_path, temporary=tmp_path)
    assert "saved ../report.txt, a/b.txt, a_b.txt. Copy with --save DIR." in told


def waiting_agent(folder: Path) -> None:
    """A module ``patient``: its tool says that it waits, and waits (deaf to everything) until it may go."""
    (folder / "patient.py").write_text(
        "import pathlib, time\n"
        "from google.adk.agents import LlmAgent\n"
        f"HERE = pathlib.Path({str(folder)!r})\n"
        "def wait() -> str:\n"
        "    'Wait.'\n"
        "    (HERE / 'waits').touch()\n"
        "    while not (HERE / 'go').exists(): time.sleep(0.05)\n"
        "    return 'at last'\n"
        "root_agent = LlmAgent(name='patient', model='echo', instruction='i', tools=[wait])\n"
    )


PATIENT = "metadata: {name: patient}\nspec: {agent: {module: patient}, message: 'echo:call wait'}\n"


def signal_is_taken(process: subprocess.Popen[str]) -> bool:
    """No signal waits to be delivered: two in a row of the same kind would else arrive as one."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return all(
        int(line.split()[1], 16) == 0 for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))
    )


async def test_ctrl_c_cancels_what_is_not_finished_and_leaves_nothing_running(tmp_path: Path) -> None:
    waiting_agent(tmp_path)
    later = f"metadata: {{name: later}}\nspec: {{{INLINE}, message: x, delaySeconds: 3600}}\n"
    process = start("-f", str(manifest(tmp_path, PATIENT, later)), cwd=tmp_path, temporary=tmp_path)
    await until(lambda: (tmp_path / "waits").exists() or process.poll() is not None, "the tool waits", 120)

    process.send_signal(signal.SIGINT)
    status, answers, told = finish(process)

    assert (status, answers) == (130, ""), told
    assert "Interrupted: cancelling what is not finished" in told
    assert {"patient: Cancelled", "later: Cancelled"} <= set(told.splitlines())
    assert left_over(tmp_path) == []


async def test_a_second_ctrl_c_does_not_wait_and_leaves_nothing_running_either(tmp_path: Path) -> None:
    waiting_agent(tmp_path)
    process = start("-f", str(manifest(tmp_path, PATIENT)), cwd=tmp_path, temporary=tmp_path)
    await until(lambda: (tmp_path / "waits").exists() or process.poll() is not None, "the tool waits", 120)

    process.send_signal(signal.SIGINT)
    await until(lambda: signal_is_taken(process), "the first signal is taken")
    process.send_signal(signal.SIGINT)
    status, answers, told = finish(process)

    assert (status, answers) == (130, ""), told
    assert "Traceback" not in told
    assert left_over(tmp_path) == []


async def test_a_killed_run_leaves_nothing_and_its_job_goes_on_with_the_same_data(tmp_path: Path) -> None:
    waiting_agent(tmp_path)
    data = str(tmp_path / "data")
    process = start("-f", str(manifest(tmp_path, PATIENT)), "--data", data, cwd=tmp_path, temporary=tmp_path)
    await until(lambda: (tmp_path / "waits").exists() or process.poll() is not None, "the tool waits", 120)
    process.kill()
    finish(process)
    await until(lambda: not left_over(tmp_path), "all processes follow their owner")
    (tmp_path / "go").touch()

    other = manifest(tmp_path, f"metadata: {{name: second}}\nspec: {{{INLINE}, message: me too}}\n")
    status, answers, told = run("-f", str(other), "--data", data, cwd=tmp_path, temporary=tmp_path)

    assert (status, answers) == (0, "patient:\n  at last\n\nsecond:\n  me too\n"), told
    assert "1 unfinished job of an earlier run goes on" in told
    assert left_over(tmp_path) == []


def test_bad_manifests_end_with_status_2_before_anything_is_started(tmp_path: Path) -> None:
    jobs = manifest(tmp_path, "metadata: {name: a}\nspec: {message: x}\n")
    status, answers, told = run("-f", str(jobs), cwd=tmp_path, temporary=tmp_path)
    assert (status, answers) == (2, "")
    assert "document 1 (line 1): spec.agent: is required" in told
    assert "Starting" not in told
