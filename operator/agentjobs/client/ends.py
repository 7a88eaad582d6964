"""The ends of jobs that a program awaits: one listening connection, and looks into the database when it says so.

A job's end is notified where somebody has said that it is awaited. What a notification may miss is found by looking
again: soon after a job was first asked for (its end may have been under way), with each new connection, and every
RECHECK_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.client.errors import JobGone
from agentjobs.database.connection import CONNECT_SECONDS
from agentjobs.queue.awaiting import End
from agentjobs.queue.errors import QueueError, QueueUnavailable
from agentjobs.queue.listen import CONNECTED, DEAF
from agentjobs.queue.queue import Queue

log = logging.getLogger(__name__)

RECHECK_SECONDS = 30.0
"""Between two looks at all jobs that are awaited."""
AWAITED_SECONDS = 3 * RECHECK_SECONDS
"""How long the database remembers that a job is awaited: two looks may fail."""
FIRST_LOOKS_SECONDS = (0.2, 2.0)
"""After the first look: a transaction that was ending the job then could not know that it is awaited."""
RETRY_SECONDS = 1.0
"""Before a look that found no database is repeated."""
DEAF_SECONDS = 1.0
"""Between two looks where notifications do not arrive: a pooler in transaction mode without a direct URL."""
LOOK_JOBS = 50
"""Jobs of one look: each may bring 1 MiB."""
QUIET_SECONDS = 30.0
"""The listening connection is given back so long after the last job was awaited: each costs Postgres a little with every
notification, whoever is meant."""


@dataclass(slots=True)
class _Awaited:
    """One job that is awaited, by any number of callers."""

    transaction: str | None
    """In which it was enqueued, by the caller; None: it is known."""
    known: bool = False
    looked: bool = False
    over: bool = False
    """The transaction was found to have ended."""
    callers: set[asyncio.Future[End]] = field(default_factory=set)


class Ends:
    """Waits for the ends of jobs, for the tasks of one event loop."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._awaited: dict[UUID, _Awaited] = {}
        self._asked: dict[UUID, None] = {}
        self._looking: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        """Whether the first connect of the listening connection is over."""
        self._trouble = ""
        self._closed = False

    async def end(self, uid: UUID, transaction: str | None, seconds: float | None) -> End:
        """The end of a job, as soon as it has one. Raises TimeoutError, JobGone, and the errors of the database that do
        not pass by themselves."""
        if self._closed:
            raise QueueUnavailable("the queue is closed")
        awaited = self._awaited.setdefault(uid, _Awaited(transaction))
        caller: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        awaited.callers.add(caller)
        self._ask([uid])
        try:
            async with asyncio.timeout(seconds):
                return await caller
        except TimeoutError:
            trouble = f"; the last look failed: {self._trouble}" if self._trouble else ""
            raise TimeoutError(
                f"job {uid} has not ended within {seconds:g} s{trouble}; why: agentjobs why {uid}"
            ) from None
        finally:
            awaited.callers.discard(caller)
            if not awaited.callers and self._awaited.get(uid) is awaited:
                del self._awaited[uid]

    async def close(self) -> None:
        """Ends all waiting with QueueUnavailable."""
        self._closed = True
        if self._hearing is not None and not self._connected.is_set():
            # cancelled in its middle, a connect leaves Postgres with a login that nobody goes on with
            connected = asyncio.ensure_future(self._connected.wait())
            await asyncio.wait(
                {connected, self._hearing}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            connected.cancel()
        tasks = [task for task in (self._looking, self._hearing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail(list(self._awaited), QueueUnavailable("the queue was closed"))

    # -- looking ----------------------------------------------------------------------------------

    def _ask(self, uids: Iterable[UUID]) -> None:
        """Has the next look include these jobs."""
        self._asked.update(dict.fromkeys(uid for uid in uids if uid in self._awaited))
        if self._asked and not self._closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look())

    def _ask_later(self, seconds: float, uids: list[UUID]) -> None:
        asyncio.get_running_loop().call_later(seconds, self._ask, uids)

    async def _look(self) -> None:
        while self._asked:
            batch = list(self._asked)[:LOOK_JOBS]
            for uid in batch:
                del self._asked[uid]
            try:
                await self._look_at(batch)
                self._trouble = ""
            except QueueUnavailable as error:
                self._trouble = str(error)
                self._ask_later(RETRY_SECONDS, batch)
            except Exception as error:
                if not isinstance(error, QueueError):
                    log.exception("the ends of jobs cannot be read")
                self._fail(batch, error)

    async def _look_at(self, uids: list[UUID]) -> None:
        found = await self._queue.await_ends(uids, AWAITED_SECONDS)
        for uid in uids:
            awaited = self._awaited.get(uid)
            if awaited is None:
                continue
            if uid not in found:
                await self._missing(uid, awaited)
            elif (end := found[uid]) is not None:
                self._tell(uid, end)
            else:
                awaited.known = True
        new = [uid for uid in uids if (one := self._awaited.get(uid)) is not None and not one.looked]
        if new:
            for uid in new:
                self._awaited[uid].looked = True
            for seconds in FIRST_LOOKS_SECONDS:
                self._ask_later(seconds, new)
            self._hear()

    async def _missing(self, uid: UUID, awaited: _Awaited) -> None:
        if awaited.known:
            self._fail([uid], JobGone(uid, "it was removed while it was awaited: its retention is over"))
        elif awaited.transaction is None:
            self._fail(
                [uid], JobGone(uid, "it is not known: its retention is over, or it never was enqueued")
            )
        elif awaited.over:
            self._fail(
                [uid],
                JobGone(uid, "it is not there: the transaction in which it was enqueued was rolled back"),
            )
        elif not await self._queue.transaction_open(awaited.transaction):
            # it may have been committed since the look
            awaited.over = True
            self._ask([uid])

    def _tell(self, uid: UUID, end: End) -> None:
        for caller in self._awaited.pop(uid).callers:
            if not caller.done():
                caller.set_result(end)

    def _fail(self, uids: Iterable[UUID], error: Exception) -> None:
        for uid in uids:
            awaited = self._awaited.pop(uid, None)
            for caller in awaited.callers if awaited else ():
                if not caller.done():
                    caller.set_exception(error)

    # -- hearing ----------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self._awaited and not self._closed and self._hearing is None:
            self._connected.clear()
            self._hearing = asyncio.create_task(self._heard())

    async def _heard(self) -> None:
        """Asks for the jobs that notifications name, until nothing was awaited for a while."""
        looked = wanted = time.monotonic()
        try:
            async with aclosing(self._queue.listen(("ended",), deaf_seconds=DEAF_SECONDS)) as notes:
                async for note in notes:
                    self._connected.set()
                    now = time.monotonic()
                    if note.kind == "ended":
                        self._ask(_uid(note.payload))
                    elif note.payload in (CONNECTED, DEAF) or now - looked >= RECHECK_SECONDS:
                        self._ask(list(self._awaited))
                        looked = now
                    if self._awaited:
                        wanted = now
                    elif now - wanted >= QUIET_SECONDS:
                        self._hearing = None  # from here on, whoever awaits begins to listen anew
                        return
        except Exception as error:
            log.exception("notifications of ended jobs are not heard")
            self._hearing = None
            self._fail(list(self._awaited), error)


def _uid(payload: str) -> list[UUID]:
    """Anybody may notify of anything."""
    try:
        return [UUID(payload)]
    except ValueError:
        return []
