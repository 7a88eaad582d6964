"""Runs the steps of a schema, section by section (``release.Section``), while workers claim."""

from __future__ import annotations

import asyncio
import time

from psycopg import sql

from agentjobs.database.connection import Connection
from agentjobs.queue import migration_session
from agentjobs.queue.errors import SchemaBusy
from agentjobs.queue.migration_session import (
    PAUSE_SECONDS,
    SCHEMA,
    patiently,
    session_kept,
    transaction,
    value,
)
from agentjobs.queue.release import Kind, Section, Step

_BATCH_PAGES = 32
"""Of 8 KiB: some 2,000 rows of a narrow table."""


async def migrate(conn: Connection, step: Step, done: int) -> None:
    """Runs a step from the section behind the ``done`` first on."""
    for number, section in enumerate(step.up, 1):
        if number <= done:
            continue
        last = number == len(step.up)

        async def record(number: int | None = None if last else number) -> None:
            await conn.execute(
                "insert into migration as m (version, name, sections_done) values (%s, %s, %s) on conflict (version)"
                " do update set sections_done = excluded.sections_done, applied_at = excluded.applied_at",
                (step.version, step.name, number),
            )

        match section.kind:
            case Kind.TRANSACTION:

                async def whole(text: str = section.text) -> None:
                    async with transaction(conn):
                        await conn.execute(text.encode())
                        await record()

                await patiently(f"step {step}", whole)
                continue
            case Kind.BATCH:
                await _batches(conn, step, section)
            case Kind.CONCURRENTLY:
                await patiently(f"step {step}", lambda section=section: _index(conn, section))  # type: ignore[misc]
        async with transaction(conn):
            await record()


async def _batches(conn: Connection, step: Step, section: Section) -> None:
    """A few pages after the other; as long as each took it rests, so that the workers have the other half of the time."""
    changed_at = time.monotonic()
    while True:
        for page in range(0, await _pages(conn, section.table), _BATCH_PAGES):
            text = section.text.replace("@from@", f"'({page},0)'").replace(
                "@to@", f"'({page + _BATCH_PAGES},0)'"
            )

            async def one(text: str = text) -> int:
                async with transaction(conn):
                    return (await conn.execute(text.encode())).rowcount

            started = time.monotonic()
            if await patiently(f"step {step}", one):
                changed_at = time.monotonic()
                await asyncio.sleep(min(changed_at - started, PAUSE_SECONDS))
        if await value(conn, f"select {section.until}"):
            return
        if time.monotonic() - changed_at > migration_session.PATIENCE_SECONDS:
            raise SchemaBusy(f"step {step}", migration_session.PATIENCE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


async def _pages(conn: Connection, table: str) -> int:
    cursor = await conn.execute(
        "select pg_relation_size(%s) / current_setting('block_size')::int", (f"{SCHEMA}.{table}",)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(str(row[0]))


async def _index(conn: Connection, section: Section) -> None:
    """Waits for transactions that are open now, and holds up nobody meanwhile."""
    await session_kept(conn)
    cursor = await conn.execute(
        "select indisvalid from pg_index where indexrelid = to_regclass(%s)", (f"{SCHEMA}.{section.index}",)
    )
    found = await cursor.fetchone()
    if found is not None and found[0]:
        return
    if found is not None:
        await conn.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(section.index)))
    await conn.execute(section.text.encode())
