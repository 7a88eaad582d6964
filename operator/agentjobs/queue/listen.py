"""Notifications: one direct connection that LISTENs, and polls where they do not arrive.

A notification only wakes. A process that misses one finds the same facts at its next poll.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, cast
from uuid import uuid4

import psycopg

from agentjobs.cancellation import cancellation_kept
from agentjobs.database.connection import LIFETIME_SECONDS, Connection, Target
from agentjobs.database.fault import one_line
from agentjobs.queue import numbers

log = logging.getLogger(__name__)

Kind = Literal["ready", "call", "due", "control", "outbox", "admit", "ended", "poll"]
CHANNELS: Sequence[Kind] = ("ready", "due", "control", "outbox", "admit")
WORKER_CHANNELS: Sequence[Kind] = ("call", "due", "control", "admit")
DEAF = "deaf"
"""The payload of ``poll`` where notifications do not arrive."""
CONNECTED = "connected"
"""The payload of the first ``poll`` of a connection: what was notified before it was not heard."""
_PROBE_SECONDS = 2.0
"""The longest wait for our own probe notification, by which we find out whether LISTEN delivers."""
DEAF_SECONDS = 0.25
"""The pause between two polls where LISTEN does not deliver: a pooler in transaction mode swallows it."""


@dataclass(frozen=True, slots=True)
class Note:
    """One wake-up. ``payload``: a queue (ready); a queue, how many jobs, a number (call: ``notify_ready``); a due time in Unix
    seconds (due); a worker (control); a job (ended)."""

    kind: Kind
    payload: str = ""


async def listen(
    target: Target, channels: Sequence[Kind] = CHANNELS, *, deaf_seconds: float = DEAF_SECONDS
) -> AsyncGenerator[Note, None]:
    """Yields notifications for ever, over reconnects; ``poll`` after each connect and every few seconds.

    :param deaf_seconds: the pause between two polls where notifications do not arrive.
    """
    async with aclosing(_notes(target, channels, deaf_seconds)) as notes:
        while True:
            with cancellation_kept():
                note = await anext(notes)
            yield note


async def _notes(target: Target, channels: Sequence[Kind], deaf_seconds: float) -> AsyncGenerator[Note, None]:
    told = ""
    while True:
        try:
            async with await Connection.connect(target=target) as conn:
                probe = uuid4().hex
                for channel in channels:
                    await conn.execute(f"listen agentjobs_{channel}".encode())
                await conn.execute(f"listen agentjobs_probe_{probe}".encode())
                yield Note("poll", CONNECTED)
                await conn.execute("select pg_notify(%s, '')", (f"agentjobs_probe_{probe}",))
                heard = False
                async for note in conn.notifies(timeout=_PROBE_SECONDS):
                    if note.channel.startswith("agentjobs_probe_"):
                        heard = True
                        break
                    yield _note(note)
                if not heard:
                    log.warning(
                        "LISTEN does not deliver (a pooler in transaction mode?), so we poll; set a direct URL"
                    )
                if told:
                    log.info("notifications are heard again")
                    told = ""
                pause = numbers.POLL_SECONDS if heard else deaf_seconds
                while time.monotonic() - conn.opened_at < LIFETIME_SECONDS:
                    async for note in conn.notifies(timeout=pause):
                        yield _note(note)
                    yield Note("poll", "" if heard else DEAF)
                    # fails where the connection has died without a word, or its server was demoted
                    await conn.ping()
        except (psycopg.Error, OSError) as error:
            if (line := one_line(error)) != told:
                told = line
                log.warning("notifications are not heard until there is another connection: %s", line)
            yield Note("poll")
            await asyncio.sleep(random.uniform(0.5, 1.5))


def _note(note: psycopg.Notify) -> Note:
    return Note(cast(Kind, note.channel.removeprefix("agentjobs_")), note.payload)
