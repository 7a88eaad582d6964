"""Prompts: a local run puts its tools' questions to the person at the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from agentjobs.cli.local.progress_table import NamedJob, ProgressTable
from agentjobs.cli.printable import escaped, printable
from agentjobs.cli.questions import Question, told
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import InputAnswer, State
from agentjobs.values.answer_schema import example, misfit

NOBODY = (
    "there is no terminal to answer at, so it is cancelled: run it in a terminal, or with --yes to say yes to whatever "
    "is asked"
)


def payload_of(line: str) -> Any:
    """What a person typed, as JSON; as a text where it is none. None: nothing."""
    try:
        return json.loads(line)
    except ValueError:
        return line or None


def made_up(question: Question) -> InputAnswer:
    """The answer of ``--yes``: a yes; the first result of a long-running tool once more; an input that fits its schema."""
    if not question.kind:
        return InputAnswer(question.id, True)
    payload: Any = None
    try:
        payload = json.loads(question.result) if question.result else example(question.schema)
    except ValueError:  # it was cut, or has no end
        payload = {}
    if question.result and misfit(payload, question.schema):
        payload = example(question.schema)
    return InputAnswer(question.id, None, payload={} if payload is None else payload)


def said_of(answer: InputAnswer, question: Question, *, by_yes: bool) -> str:
    """What was answered. A yes with the tool's own payload is not called an approval: the tool may read a no in it."""
    if answer.approved is None:
        return f"answered{' by --yes' if by_yes else ''}: {escaped(json.dumps(answer.payload, ensure_ascii=False))}"
    if not answer.approved:
        return "rejected"
    if not question.payload:
        return f"approved{' by --yes' if by_yes else ''}"
    # what nobody fills in goes back as the tool wrote it (agents.run.questions)
    return (
        f"answered yes{' by --yes' if by_yes else ''}, with what the tool itself filled in: "
        f"{escaped(question.payload)}. What that means, the tool decides"
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
            kind=request.kind,
            result=request.result,
            schema=request.schema,
        )
        self._progress.pause()
        try:
            self._progress.say(told(question))
            answer = made_up(question) if self._approve_all else await self._asked(question)
            if self._interrupted.is_set():
                return
            if answer is None:
                self._progress.say(f"{shown.name}: {NOBODY}.")
                await self._queue.cancel(shown.job.uid)
                return
            refused = await self._queue.answer(shown.job.uid, answer)
            word = said_of(answer, question, by_yes=self._approve_all)
            self._progress.say(f"{shown.name}: {f'not taken: {refused}' if refused else word}.")
        finally:
            self._progress.go_on()

    async def _asked(self, question: Question) -> InputAnswer | None:
        """The person's answer. None: there is no terminal, or its input has ended."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        form = not question.kind and bool(question.payload)
        yes_or_no = f"Approve? [y/n{', or the form filled in, as JSON' if form else ''}] "
        words = "Answer, as JSON or a line of text: " if question.kind else yes_or_no
        while True:
            print(words, end="", file=sys.stderr, flush=True)  # noqa: T201
            line = await self._line()
            if line is None or line == "":
                return None
            if not question.kind:
                if (word := line.strip().lower()) in ("y", "yes", "n", "no"):
                    return InputAnswer(question.id, word.startswith("y"))
                filled_in = payload_of(line.strip())
                if form and isinstance(filled_in, dict):
                    return InputAnswer(question.id, True, payload=filled_in)
                print("y, n or a JSON object" if form else "y or n", file=sys.stderr, flush=True)  # noqa: T201
                continue
            payload = payload_of(line.strip())
            if problem := misfit(payload, question.schema) if payload is not None else "a payload is wanted":
                print(printable(problem), file=sys.stderr, flush=True)  # noqa: T201
                continue
            return InputAnswer(question.id, None, payload=payload)

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
