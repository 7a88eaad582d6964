"""The whole product as its users run it: processes of the command line around a real API server and Postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from clusters import Cluster

_MAIN = "from agentjobs.cli.main import main; main()"


@dataclass
class Part:
    """One process of ours, with its log in a file."""

    arguments: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def descendants(self) -> list[int]:
        """Pids of all processes below this one, the nearest first."""
        found, parents = [], [self.process.pid]
        while parents:
            children = [child for parent in parents for child in _children(parent)]
            found += children
            parents = children
        return found

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Stack:
    """Starts parts; what still runs at the end is killed."""

    cluster: Cluster
    dsn: str
    folder: Path
    parts: list[Part] = field(default_factory=list)

    def operator(self, namespace: str, environment: Mapping[str, str] | None = None) -> Part:
        return self._start(
            "operator",
            f"--namespace={namespace}",
            f"--kubeconfig={self.cluster.kubeconfig}",
            environment={"AGENTJOBS_LEASE_NAMESPACE": namespace, **(environment or {})},
        )

    def worker(self, name: str, *flags: str, environment: Mapping[str, str] | None = None) -> Part:
        return self._start("worker", f"--name={name}", *flags, environment=environment or {})

    def _start(self, *arguments: str, environment: Mapping[str, str]) -> Part:
        log = self.folder / f"{arguments[0]}-{uuid4().hex[:6]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *arguments],
                env={**os.environ, "AGENTJOBS_DATABASE_URL": self.dsn, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.parts.append(part := Part(arguments, log, process))
        return part


@contextmanager
def stack(cluster: Cluster, dsn: str, folder: Path) -> Iterator[Stack]:
    whole = Stack(cluster, dsn, folder)
    try:
        yield whole
    finally:
        for part in whole.parts:
            if part.process.poll() is None:
                part.kill()


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended while we looked
        return []
