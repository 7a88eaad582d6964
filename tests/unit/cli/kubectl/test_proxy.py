"""The proxy's life: as long as the command's, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.proxy import kubectl_proxy
from agentjobs.cli.kubectl.where import Where

COMMAND = """
import os, signal, time
from agentjobs.cli.kubectl.proxy import kubectl_proxy
from agentjobs.cli.kubectl.where import Where
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so do their children
with kubectl_proxy(Where(), os.environ):
    print("open", flush=True)
    time.sleep(120)
"""


def environment_with(folder: Path, script: str) -> dict[str, str]:
    """An environment in which kubectl is this shell script."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def ended(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process has ended within the time; one that nobody has waited for yet has, too."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel ends it on Linux alone")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_proxy_ends_with_a_command_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    environment = environment_with(tmp_path, f"echo $$ > {tmp_path}/pid; echo listening; exec sleep 120")
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"open\n"
        command.send_signal(number)
    assert command.returncode != 0, "it has ended by itself"
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_proxy_whose_helper_outlives_it_does_not_keep_the_command(tmp_path: Path) -> None:
    """A program that asks for credentials holds the proxy's log open, and is not killed with it."""
    environment = environment_with(
        tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; echo listening; exec sleep 60"
    )
    began = time.monotonic()
    with kubectl_proxy(Where(), environment):
        pass
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert time.monotonic() - began < 30


def test_a_log_of_any_length_does_not_stop_the_proxy(tmp_path: Path) -> None:
    """A pipe holds 64 KiB: what nobody reads would stop its writer."""
    environment = environment_with(
        tmp_path,
        f"echo listening; head -c 4000000 /dev/zero >&2; touch {tmp_path}/written; exec sleep 60",
    )
    with kubectl_proxy(Where(), environment):
        until = time.monotonic() + 20
        while not (tmp_path / "written").exists():
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_proxy_that_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    environment = environment_with(tmp_path, "echo 'error: no such context' >&2; exit 1")
    with (
        pytest.raises(Unavailable, match=r"^kubectl: no such context\. See: "),
        kubectl_proxy(Where(), environment),
    ):
        pass
