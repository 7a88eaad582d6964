"""The processes of local servers: started with their owner's life as their own, ended, given free ports."""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
LOG_TAIL_LINES = 15


class LocalServerError(RuntimeError):
    """A local server could not be started, or ended by itself. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms on which a server runs, for :mod:`agentjobs.local.launch`.

    ``death_signal``: sent to the server when its owner ends; ``user``: the user that root becomes first;
    ``reach``: this user may enter folders that only root may enter; ``owner``: the owner's pid.
    """

    death_signal: int = signal.SIGTERM
    user: str | None = None
    reach: bool = False
    owner: int = 0


_requests: queue.SimpleQueue[tuple[Callable[[], object], Future[object]]] = queue.SimpleQueue()
_spawner: threading.Thread | None = None
_spawner_lock = threading.Lock()


def _serve_spawns() -> None:
    while True:
        work, answer = _requests.get()
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)


def _in_spawner(work: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Runs ``work`` in one thread that lives as long as the process.

    PR_SET_PDEATHSIG fires when the *thread* that forked ends. A server that was started from a short-lived
    thread, such as ``asyncio.to_thread``'s, would be killed with it.
    """
    global _spawner
    with _spawner_lock:
        if _spawner is None or not _spawner.is_alive():  # not alive: we are a forked child
            _spawner = threading.Thread(target=_serve_spawns, name="agentjobs-spawner", daemon=True)
            _spawner.start()
    answer: Future[object] = Future()
    _requests.put((work, answer))
    started = answer.result()
    assert isinstance(started, subprocess.Popen)
    return started


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    terms: Terms | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path = Path("/"),
) -> subprocess.Popen[bytes]:
    """Starts ``command`` (an absolute path first) in a session of its own; its output is appended to ``log``.

    ``cwd``: for example, the worker of `agentjobs local` stays in the user's folder, where agents read their
    files.
    """
    asked = json.dumps({**asdict(terms or Terms()), "owner": os.getpid()})
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), asked, *command]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env=dict(env) if env is not None else None,
            )

    return _in_spawner(start)


def end(process: subprocess.Popen[bytes], sign: int, grace_seconds: float) -> None:
    """Sends ``sign``, and after the grace SIGKILL. Safe where the process has ended."""
    if process.poll() is None:
        process.send_signal(sign)
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(ready: Callable[[], bool], timeout_seconds: float, every_seconds: float = 0.02) -> bool:
    """Waits for ``ready()`` to be true. False: the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_seconds)
    return True


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a server's log, indented, for an error message."""
    try:
        text = log.read_text(errors="replace")
    except OSError as error:
        return f"  (no log: {error})"
    return "\n".join(f"  {line[:400]}" for line in text.splitlines()[-lines:]) or "  (its log is empty)"


def free_port() -> int:
    """A loopback port that nothing listens on, outside the kernel's range for client connections.

    Inside that range, a client's connection could take the port while its server is down, and a restart on
    the same port would fail.
    """
    try:
        low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        low = 32768
    first, last = (10000, low - 1) if low > 12000 else (61000, 65000)
    for _ in range(200):
        port = random.randint(first, last)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LocalServerError(f"no free port on 127.0.0.1 between {first} and {last}: end some servers first")
