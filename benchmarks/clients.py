"""Client processes that drain a queue, ours and the peers', under one small protocol.

A client prints ``ready`` once it is connected, begins at the line ``go``, prints ``n COUNT`` whenever COUNT more jobs
are done, and ends in order at the end of its standard input. What it says else, it says on standard error.
"""

from __future__ import annotations

import itertools
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Meter

ROOT = Path(__file__).parents[1]
_READY_SECONDS = 180.0
_STOP_SECONDS = 20.0


class ClientError(RuntimeError):
    """A client ended before its work did."""


@dataclass(frozen=True, slots=True)
class Drained:
    """One run. CPU is in µs per job."""

    jobs: int
    seconds: float
    client_us: float
    postgres_us: float
    foreign_share: float
    by_second: tuple[float, ...]
    """Jobs/s in each whole second."""

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.client_us + self.postgres_us


class Client:
    """One started client process."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self._name = " ".join(command)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **(env or {})}, cwd=cwd
        )
        self._rest = b""

    def lines(self) -> list[bytes]:
        """What is there to read; raises ClientError at the end of its output."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            raise ClientError(f"{self._name}: ended with status {self.process.wait()}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + _READY_SECONDS
            while selector.select(max(0.0, deadline - time.monotonic())):
                if b"ready" in self.lines():
                    return
        raise ClientError(f"{self._name}: not ready after {_READY_SECONDS:.0f} s")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def wait_done(self, jobs: int, limit_seconds: float) -> None:
        """Until it said that ``jobs`` are done."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + limit_seconds
            while jobs > 0 and selector.select(max(0.0, deadline - time.monotonic())):
                jobs -= counted(self.lines())
        if jobs > 0:
            raise ClientError(f"{self._name}: {jobs} jobs were not done in {limit_seconds:.0f} s")

    def stop(self) -> bytes:
        """In order; SIGKILL by its pid when that takes too long. Returns the last line that it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        killer = threading.Timer(_STOP_SECONDS, self.process.kill)
        killer.start()
        rest = self._rest + self.process.stdout.read()
        self.process.wait()
        killer.cancel()
        self.process.stdout.close()
        return rest.strip().rsplit(b"\n", 1)[-1]


def counted(lines: Sequence[bytes]) -> int:
    """Jobs done, by these lines of a client."""
    return sum(int(line[2:]) for line in lines if line.startswith(b"n "))


def drain(
    clients: Sequence[Client], jobs: int, postgres: int, limit_seconds: float, *, partly: bool = False
) -> Drained:
    """Lets ready clients go until ``jobs`` are done, then stops them.

    ``partly``: what is done when the time is over will do, if it is anything; else that raises ClientError, as the end
    of a client does.
    """
    try:
        for client in clients:
            client.wait_ready()
        meter = Meter(client=[c.process.pid for c in clients], postgres=postgres)
        done = 0
        seconds: list[int] = []
        with selectors.DefaultSelector() as selector:
            for client in clients:
                assert client.process.stdout is not None
                selector.register(client.process.stdout, selectors.EVENT_READ, client)
            meter.start()
            begin = time.perf_counter()
            for client in clients:
                client.go()
            now = begin
            while done < jobs and now - begin < limit_seconds:
                for key, _ in selector.select(0.5):
                    done += counted(key.data.lines())
                now = time.perf_counter()
                while now - begin >= len(seconds) + 1:
                    seconds.append(done)
            meter.stop()
        if done < jobs and not (partly and done):
            raise ClientError(f"{done} of {jobs} jobs were done in {limit_seconds:.0f} s")
        rates = tuple(float(b - a) for a, b in itertools.pairwise([0, *seconds]))
        cpu = meter.cpu_seconds
        return Drained(
            done,
            meter.wall_seconds,
            cpu["client"] / done * 1e6,
            cpu["postgres"] / done * 1e6,
            meter.foreign_share,
            rates,
        )
    finally:
        for client in clients:
            client.stop()
