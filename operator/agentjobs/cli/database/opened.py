"""A queue for the time of a command, and the flags that say which."""

from __future__ import annotations

import asyncio
import getpass
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.queue.audit import Act
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView

T = TypeVar("T")
SOURCE = "agentjobs"
"""Of these commands, in the audit."""
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Only of this namespace; - means: without an object. Default: all.",
    ),
]


def run(work: Callable[[Queue], Awaitable[T]], config: Path | None, database_url_file: Path | None) -> T:
    """Does the work on the database that flags, environment or file name.

    :raises BadInput: none is named, or what was asked for cannot be.
    :raises Unavailable: it does not serve.
    """
    from agentjobs.cli.settings_sources import load

    logging.getLogger("psycopg.pool").setLevel(
        logging.ERROR
    )  # each try to connect; the last one's error is told
    dsn = load({"database_url_file": database_url_file}, config).dsn()

    async def done() -> T:
        async with await Queue.open(dsn) as queue:
            return await work(queue)

    try:
        return asyncio.run(done())
    except QueueError as error:
        raise Unavailable(" ".join(str(error).split())) from None


async def job_of(queue: Queue, name: str, namespace: str | None) -> JobView:
    """The job of that uid, or the newest of that name.

    :raises Unavailable: there is none.
    """
    uid: UUID | None
    try:
        uid = UUID(name)
    except ValueError:
        if not namespace or namespace == "-":
            raise BadInput(
                f"{name[:80]!r} is no uid; of a job with an object give its namespace, too: -n NAME"
            ) from None
        uid = await queue.job_at(namespace, name)
    view = None if uid is None else await queue.show(uid)
    if view is None:
        raise Unavailable(f"job {name} is not in the database. Those that are there: agentjobs list")
    return view


def author(because: str) -> Act:
    """Who acts: the user of this machine, as it says."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = ""
    return Act(name, reason=because, source=SOURCE)
