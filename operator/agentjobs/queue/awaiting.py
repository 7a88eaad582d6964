"""The ends of jobs, for callers that await them; a part of Queue. The SQL that enqueues on a caller's own connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import orjson
import psycopg

from agentjobs.queue.codec import FINAL_STATES_BY_CODE
from agentjobs.queue.connection import Database
from agentjobs.queue.records import State

ENQUEUE_HERE: LiteralString = "select cast(array_to_json(agentjobs.enqueue(cast({} as json))) as text), cast(pg_current_xact_id() as text)"
"""Stores jobs in the transaction of whoever runs it, by any driver: ``{}`` is the driver's place of the only parameter.
Answers the uids that were new, as JSON or null, and the transaction."""


@dataclass(frozen=True, slots=True)
class End:
    """How a job has ended."""

    uid: UUID
    state: State
    reason: str
    message: str
    result: str | None
    """COMPLETE: the final answer."""
    result_truncated: bool
    """The answer was longer than the 1 MiB that the queue keeps."""
    texts_removed: bool
    """Its texts were erased, or are past retention: ``result`` and ``message`` are gone."""


class Awaiting:
    """Tells how jobs have ended; a part of Queue."""

    _db: Database

    async def await_ends(self, uids: Sequence[UUID], seconds: float) -> Mapping[UUID, End | None]:
        """The ends of those jobs that are known; None: it has not ended. Those ends, and the ones of jobs that are not known yet, are
        notified (``listen``: ended) for so many seconds from now on."""
        rows = await self._db.fetch(
            "select uid, state, reason, message, result, truncated, erased"
            " from agentjobs.await_ends(%s, make_interval(secs => %s))",
            (list(uids), seconds),
        )
        return {
            row[0]: End(row[0], FINAL_STATES_BY_CODE[row[1]], *row[2:]) if row[1] else None for row in rows
        }

    async def transaction_open(self, transaction: str) -> bool:
        """Whether a transaction, as ``ENQUEUE_HERE`` names it, is still open."""
        try:
            rows = await self._db.fetch("select pg_xact_status(%s::xid8)", (transaction,))
        except psycopg.DataError:
            return False  # of a server that was given up for another one
        return bool(rows[0][0] == "in progress")


def new_uids(answer: str | None) -> set[UUID]:
    """The uids in the answer to ``ENQUEUE_HERE``."""
    return {UUID(uid) for uid in orjson.loads(answer or "[]")}
