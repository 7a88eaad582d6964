"""``agentjobs queues``, ``pause``, ``unpause``, ``workers`` and ``models``, on a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agentjobs.cli.database.opened import Database, author, run
from agentjobs.cli.flags import echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output, tables
from agentjobs.cli.kubectl.verbs.board import Because, QueueName, shown, steered
from agentjobs.queue.queue import Queue
from agentjobs.values.verbs import Verb
from agentjobs.web.board_objects import model_of, queues_of, workers_of


def queues(
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
    *,
    database: Database,
) -> None:
    """List the queues: what waits and runs, slots, limit and pause."""
    output.checked(form)
    board = run(lambda queue: queue.board(), database)
    items = [item.as_json() for item in queues_of(board, None)]
    shown("QueueStatList", "queues", items, tables.queues(datetime.now(UTC)), form, no_headers)


def workers(
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
    *,
    database: Database,
) -> None:
    """List the live workers."""
    output.checked(form)
    board = run(lambda queue: queue.board(), database)
    items = [item.as_json() for item in workers_of(board, None, datetime.now(UTC))]
    shown("WorkerList", "workers", items, tables.workers(), form, no_headers)


def models(
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
    *,
    database: Database,
) -> None:
    """List the models whose breaker is open, or counts failures. A model that answers is not in the list."""
    output.checked(form)
    found = run(lambda queue: queue.model_health(), database)
    items = [model_of(one, None).as_json() for one in found]
    shown("ModelList", "models with failures", items, tables.models(datetime.now(UTC)), form, no_headers)


def pause(
    queue: QueueName,
    because: Because = "",
    *,
    database: Database,
) -> None:
    """Pause a queue: no job of it begins; what runs goes on."""
    _steer("pause", queue, because, database)


def unpause(
    queue: QueueName,
    because: Because = "",
    *,
    database: Database,
) -> None:
    """Let a paused queue go on."""
    _steer("resume", queue, because, database)


def _steer(verb: str, name: str, because: str, database: Database) -> None:
    paused = verb == "pause"
    act = replace(author(because), verb=Verb.PAUSE if paused else Verb.UNPAUSE)

    async def done(queue: Queue) -> bool:
        before = {one.name: one.paused for one in await queue.queues()}
        await queue.set_queue(name, paused=paused, by=act)
        return before.get(name, False) is not paused

    echo(steered(name, verb, changed=run(done, database)))
