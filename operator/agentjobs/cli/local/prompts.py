"""Prompts: a local run puts its tools' questions to the person at the terminal."""

from __future__ import annotations

import asyncio
import os
import sys

from agentjobs.cli.local.progress_table import NamedJob, ProgressTable
from agentjobs.cli.questions import Question, printable, told
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import InputAnswer, State

NOBODY = (
    "there is no terminal to answer at, so it is cancelled: run it in a terminal, or with --yes to approve whatever "
    "is asked"
)


class Prompts:
    """Asks the questions of a local run's jobs, one at a time, while the other jobs go on."""

    def __init__(
        self, queue: Queue, progress: ProgressTable, interrupted: asyncio.Event, *, approve_all: bool = False
    ) -> None:
        self._queue, self._progress, self._interrupted = queue, progress, interrupted
        self._approve_all = approve_all

    async def settle(self, shown: NamedJob) -> None:
        """Asks the job's question, if it has one, and gives the queue the answer.

        Cancels the job if nobody can answer.
        """
        request = shown.job.input_request
        if shown.job.state is not State.INPUT_REQUIRED or request is None or self._interrupted.is_set():
            return
        question = Question(
            job=shown.name,
            id=request.id,
            tool=request.tool,
            arguments=request.arguments,
            hint=request.hint,
            payload=request.payload,
        )
        self._progress.pause()
        try:
            self._progress.say(told(question))
            approved = True if self._approve_all else await self._ask()
            if self._interrupted.is_set():
                return
            if approved is None:
                self._progress.say(f"{shown.name}: {NOBODY}.")
                await self._queue.cancel(shown.job.uid)
                return
            refused = await self._queue.answer(shown.job.uid, InputAnswer(request.id, approved))
            word = self._approved(question) if approved else "rejected"
            self._progress.say(f"{shown.name}: {f'not taken: {refused}' if refused else word}.")
        finally:
            self._progress.go_on()

    def _approved(self, question: Question) -> str:
        word = "approved by --yes" if self._approve_all else "approved"
        # what nobody fills in goes back as the tool wrote it (agents.run.questions)
        return (
            f"{word}, filled in as the tool has it: {printable(question.payload)}"
            if question.payload
            else word
        )

    async def _ask(self) -> bool | None:
        """The person's answer. None: there is no terminal, or its input has ended."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        while True:
            print("Approve? [y/n] ", end="", file=sys.stderr, flush=True)  # noqa: T201
            line = await self._line()
            if line is None or line == "":
                return None
            if (word := line.strip().lower()) in ("y", "yes", "n", "no"):
                return word.startswith("y")

    async def _line(self) -> str | None:
        """A line from the terminal. None: interrupted.

        Waits on the event loop, since a thread that reads could not be stopped.
        """
        ready = asyncio.Event()
        loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
        loop.add_reader(terminal, ready.set)
        waits = [asyncio.ensure_future(event.wait()) for event in (ready, self._interrupted)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(terminal)
            for wait in waits:
                wait.cancel()
        return os.read(terminal, 4096).decode(errors="replace") if ready.is_set() else None
