"""A queue for the time of a command, and the flags that say which."""

from __future__ import annotations

import asyncio
import getpass
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import option
from agentjobs.queue.audit import Act
from agentjobs.queue.errors import QueueError
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView

if TYPE_CHECKING:
    from agentjobs.cli.settings import Settings

T = TypeVar("T")
SOURCE = "agentjobs"
"""Of these commands, in the audit."""
Namespace = Annotated[
    str | None,
    option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Only of this namespace; - means: without an object. Default: all.",
    ),
]


Config = Annotated[
    Path | None,
    option(metavar="FILE", help="A YAML file of settings; flags and AGENTJOBS_* variables go before it."),
]
DatabaseUrlFile = Annotated[
    Path | None,
    option(
        metavar="FILE", help="A file that holds the database's URL; else AGENTJOBS_DATABASE_URL names it."
    ),
]


@dataclass(frozen=True, slots=True)
class Database:
    """The flags that say which database; those of every command here."""

    config: Config = None
    database_url_file: DatabaseUrlFile = None


class Session:
    """A database for the time of a command; each ``do`` is one look at it, or one act."""

    def __init__(self, runner: asyncio.Runner, queue: Queue, settings: Settings) -> None:
        self._runner, self._queue, self.settings = runner, queue, settings

    def do(self, work: Callable[[Queue], Awaitable[T]]) -> T:
        """Does the work.

        :raises Unavailable: the database does not serve, or refuses it.
        """

        async def done() -> T:
            return await work(self._queue)

        try:
            return self._runner.run(done())
        except QueueError as error:
            raise Unavailable(" ".join(str(error).split())) from None


@contextmanager
def opened(database: Database) -> Iterator[Session]:
    """The database that flags, environment or file name.

    :raises BadInput: none is named.
    :raises Unavailable: it does not serve.
    """
    from agentjobs.cli.settings_sources import load

    # each try to connect is logged there; the last one's error is told
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    settings = load({"database_url_file": database.database_url_file}, database.config)
    with asyncio.Runner() as runner:
        try:
            queue = runner.run(Queue.open(settings.dsn()))
        except QueueError as error:
            raise Unavailable(" ".join(str(error).split())) from None
        try:
            yield Session(runner, queue, settings)
        finally:
            runner.run(queue.close())


def run(work: Callable[[Queue], Awaitable[T]], database: Database) -> T:
    """Does the work on the database that flags, environment or file name.

    :raises BadInput: none is named, or what was asked for cannot be.
    :raises Unavailable: it does not serve.
    """
    with opened(database) as session:
        return session.do(work)


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
                f"{name[:80]!r} is no uid; of a job with an object give its namespace, too: -n NAMESPACE"
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
