"""The worker of a local run: the command ``agentjobs worker`` as a child process that ends with the run."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.printable import printable_lines
from agentjobs.local.process import Terms, end, spawn, tail

STOP_SECONDS = 10.0
SHOW_SECONDS = 0.1
DRAIN_SECONDS = 0
"""No drain: when the run stops its worker, all jobs have finished or were given up."""


class LocalWorker:
    """The worker process.

    It has a session of its own, so that a Ctrl-C in the terminal reaches the run alone.
    """

    def __init__(
        self,
        *,
        dsn: str,
        queues: Mapping[str, int],
        modules: Sequence[str],
        models: Sequence[str],
        path: Sequence[Path],
        environment: Mapping[str, str],
        shows_log: bool,
        services: Mapping[str, str | None],
    ) -> None:
        """
        :param shows_log: its log, with what agents print, is copied to standard error.
        :param services: the variables of services by URI.
        """
        self._settings = {
            "AGENTJOBS_QUEUES": ",".join(f"{queue}={slots}" for queue, slots in queues.items()),
            "AGENTJOBS_MODULES": ",".join(modules),
            "AGENTJOBS_MODELS": ",".join(models),
            "AGENTJOBS_PATH": os.pathsep.join(map(str, path)),
            "AGENTJOBS_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "AGENTJOBS_NAME": "local",
            "AGENTJOBS_LOCAL": "true",
            # read by the run, as `adk run` does; nobody pulls this machine
            "AGENTJOBS_ALLOW_ENV_FILES": "true",
            # a person waits: a refused key must show at once, and not wait for a new one
            "AGENTJOBS_MODEL_HEALTH": "false",
            "AGENTJOBS_LOG_FORMAT": "text",
            "AGENTJOBS_TRACEBACKS": "true",  # to the developer's own terminal
            **{name: uri for name, uri in services.items() if uri},
        }
        self._dsn = dsn
        self._environment = environment
        self._folder = tempfile.TemporaryDirectory(prefix="agentjobs-local-")
        self.log = Path(self._folder.name) / "worker.log"
        self._shows_log = shows_log
        self._showing: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        secret = Path(self._folder.name) / "database-url"
        secret.touch(mode=0o600)
        secret.write_text(self._dsn)
        # AGENTJOBS_* variables of the caller's shell are meant for other workers
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AGENTJOBS_")}
        self._process = spawn(
            [sys.executable, "-P", "-m", "agentjobs.cli", "worker"],
            log=self.log,
            # killed if the run dies: its database ends then, too, so there is nothing to drain
            terms=Terms(signal.SIGKILL),
            env={
                **self._environment,
                **inherited,
                **self._settings,
                "AGENTJOBS_DATABASE_URL_FILE": str(secret),
            },
            cwd=Path.cwd(),
        )
        if self._shows_log:
            self._showing = asyncio.create_task(self._show())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            await asyncio.to_thread(end, self._process, signal.SIGTERM, STOP_SECONDS)
        self._ended.set()
        if self._showing is not None:
            await self._showing
        self._folder.cleanup()

    async def _show(self) -> None:
        """Copies the log to standard error as it grows, to the end; to a terminal without characters that steer it."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with self.log.open("rb") as log:
            whole = False
            while not whole:
                whole = self._ended.is_set()
                text = decoder.decode(log.read())
                sys.stderr.write(printable_lines(text) if sys.stderr.isatty() else text)
                sys.stderr.flush()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), SHOW_SECONDS)

    def check(self) -> None:
        """Checks that the worker is there.

        :raises Unavailable: it has ended by itself; the message has the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise Unavailable(
                f"The worker ended by itself with status {self._process.returncode}; the end of its log:\n"
                f"{tail(self.log)}"
            )
