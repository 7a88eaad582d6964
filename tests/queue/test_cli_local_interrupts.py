"""Ctrl-C at any moment of `agentjobs local`: status 130, no traceback, nothing left running.

Nothing here depends on how fast the machine is. The process sends itself the signal when it comes to a certain point, or
is sent it when it has said a certain line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_runs import RUN_SECONDS, finish, left_over, start

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine
JOB = (
    "apiVersion: agentjobs.dev/v1alpha1\nkind: AgentJob\nmetadata: {name: a}\n"
    "spec: {agent: {inline: {name: a, model: echo, instruction: i}}, message: hello}\n"
)
AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it is ignored
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == %r:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Hook())
from agentjobs.cli.entry import main
main()
"""
AT_EXIT = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(lambda: (print("at exit", file=sys.stderr, flush=True), os.kill(os.getpid(), signal.SIGINT)))
from agentjobs.cli.entry import main
main()
"""


def run_script(script: str, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a process that runs the script with these arguments."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        env={**environment, "TMPDIR": str(cwd)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    "module",
    [
        "agentjobs.cli.main",
        "typer",
        "agentjobs.cli.commands.worker",
        "agentjobs.cli.local.run_request",
        "pydantic",
        "agentjobs.cli.local.run",
        "psycopg",
    ],
)
def test_while_modules_are_imported_the_process_just_ends(module: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    assert run_script(AT_IMPORT % module, "local", "-f", "job.yaml", cwd=tmp_path) == (130, "", "")


def test_another_command_ends_as_quietly(tmp_path: Path) -> None:
    script = AT_IMPORT % "agentjobs.cli.settings_sources"
    assert run_script(script, "worker", cwd=tmp_path) == (130, "", "")


def test_after_the_answers_a_ctrl_c_ends_the_process_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    status, answers, told = run_script(AT_EXIT, "local", "-f", "job.yaml", cwd=tmp_path)
    assert (status, answers) == (130, "a:\n  hello\n"), told
    assert told.rstrip().endswith("at exit")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("line", ["Starting Postgres …", "Starting the worker …"])
def test_while_the_servers_start_nothing_is_run(line: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB.replace("hello}", "hello, delaySeconds: 3600}"))
    # a child inherits what is ignored: these tests may run under nohup
    ours = signal.signal(number, signal.SIG_DFL)
    process = start("-f", "job.yaml", cwd=tmp_path, temporary=tmp_path)
    signal.signal(number, ours)
    assert process.stderr is not None
    assert f"{line}\n" in iter(process.stderr.readline, "")
    process.send_signal(number)
    status, answers, told = finish(process)
    assert (status, answers) == (130, ""), told
    assert "Traceback" not in told
    assert "Interrupted" in told
    assert left_over(tmp_path) == []
