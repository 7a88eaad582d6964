"""Servers that live as long as their owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentjobs.local.certificates import Authority
from agentjobs.local.process import Terms, end, free_port, spawn, tail, wait_until

OWNER = """
import sys
from pathlib import Path
from agentjobs.local.process import Terms, spawn
print(spawn(["/bin/sleep", "600"], log=Path(sys.argv[1]), terms=Terms()).pid, flush=True)
sys.stdin.read()
"""


def runs(pid: int, name: bytes = b"sleep") -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(name)
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "log")]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert wait_until(lambda: runs(pid), 60)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert wait_until(lambda: not runs(pid), 60)


def test_a_server_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    server = spawn(["/bin/sleep", "600"], log=tmp_path / "log")
    try:
        assert os.getsid(server.pid) == server.pid
    finally:
        end(server, signal.SIGTERM, 60)
    assert server.returncode == -signal.SIGTERM


def test_a_server_that_ignores_the_request_to_end_is_killed_after_its_grace(tmp_path: Path) -> None:
    script = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); sys.stdin.read(); signal.pause()"
    server = spawn([sys.executable, "-c", script], log=tmp_path / "log")
    assert wait_until(lambda: (tmp_path / "log").read_text() == "deaf\n", 60)
    end(server, signal.SIGTERM, 0.1)
    assert server.returncode == -signal.SIGKILL
    end(server, signal.SIGTERM, 0.1)


def test_a_program_that_is_not_there_is_named_in_the_log(tmp_path: Path) -> None:
    assert spawn(["/nowhere/etcd"], log=tmp_path / "log").wait(60) != 0
    assert "cannot run /nowhere/etcd: No such file or directory" in tail(tmp_path / "log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("reach", [False, True])
def test_root_drops_for_good_and_keeps_at_most_the_right_to_pass_folders(tmp_path: Path, reach: bool) -> None:
    script = "import os; print(os.getuid(), os.geteuid(), open('/proc/self/status').read())"
    command = ["/usr/bin/env", "-i", "python3", "-c", script] if reach else ["/bin/cat", "/proc/self/status"]
    spawn(command, log=tmp_path / "log", terms=Terms(user="nobody", reach=reach), env=dict(os.environ)).wait(
        60
    )
    status = dict(line.split(":", 1) for line in (tmp_path / "log").read_text().splitlines() if ":" in line)
    assert int(status["CapEff"], 16) in ((1 << 1, 1 << 2) if reach else (0,))
    assert "0" not in status["Uid"].split()
    assert status["Groups"].strip() == ""


def test_a_free_port_is_outside_the_range_of_clients_and_can_be_listened_on() -> None:
    low, high = (int(n) for n in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for _ in range(50):
        port = free_port()
        assert not low <= port <= high
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_log_that_is_missing_or_empty_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "no log" in tail(tmp_path / "none")
    assert "empty" in tail(tmp_path / "empty")


def test_keys_and_kubeconfigs_are_for_their_owner_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    client = authority.client("admin", "admin", ("system:masters",))
    config = authority.kubeconfig("admin", "https://127.0.0.1:1", client)
    assert [file.stat().st_mode & 0o777 for file in (client.key, config, tmp_path / "pki")] == [
        0o600,
        0o600,
        0o700,
    ]
