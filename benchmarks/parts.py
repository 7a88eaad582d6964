"""The product's own processes: ``agentjobs worker`` and ``agentjobs operator``, started, awaited, ended by their pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentjobs.local.process import Terms, end, free_port, spawn, tail, wait_until

READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Part:
    """A process that is ready."""

    process: subprocess.Popen[bytes]
    port: int
    """Of its health endpoint."""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of that name with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name) and all(label in line for label in wanted)
        )

    def kill(self) -> None:
        """SIGKILL, as a lost node would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def part(
    kind: str, *flags: str, dsn: str, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[Part]:
    """``agentjobs KIND FLAGS``, ready when its /readyz says so; SIGTERM at the end."""
    port = free_port()
    log = folder / f"{kind}-{port}.log"
    command = [sys.executable, "-m", "agentjobs.cli", kind, f"--health-port={port}", *flags]
    process = spawn(
        command,
        log=log,
        terms=Terms(signal.SIGTERM),
        env={**_environment(), "AGENTJOBS_DATABASE_URL": dsn, **(env or {})},
    )
    try:
        ready = wait_until(
            lambda: process.poll() is not None or is_ready(port), READY_SECONDS, every_seconds=0.1
        )
        if not ready or process.poll() is not None:
            raise RuntimeError(f"agentjobs {kind} did not become ready; end of its log:\n{tail(log, 30)}")
        yield Part(process, port)
    finally:
        end(process, signal.SIGTERM, 20)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("AGENTJOBS_")}


def is_ready(port: int) -> bool:
    """What its /readyz says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
