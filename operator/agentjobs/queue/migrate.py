"""Versioned migrations: each step is a pair of files, ``NNNN_name.up.sql`` and ``NNNN_name.down.sql``.

A step runs in a transaction of its own under an advisory lock, so any number of processes may start at once.
Expand first, contract one release later; a changed function gets a new name and the old one stays (H30).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import sql

from agentjobs.queue.errors import GrantRefused, QueueUnavailable, SchemaMismatch

SCHEMA = "agentjobs"
LOCK_TIMEOUT = "10s"
"""A migration waits this long for a table that is in use, then gives up instead of holding up everybody."""
_SEAL = """
do $$ declare f regprocedure; begin
  for f in select p.oid from pg_proc p where p.pronamespace = 'agentjobs'::regnamespace and p.provolatile <> 'i'
             and not coalesce(array_to_string(p.proconfig, ',') like '%search_path%', false)
  loop execute format('alter function %s set search_path = agentjobs, pg_temp', f); end loop;
end $$"""
"""Callers keep their own search_path; immutable ones stay free of it so that they are inlined."""
_FILE = re.compile(r"^(\d{4})_(\w+)\.(up|down)\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    up: str
    down: str


@dataclass(frozen=True, slots=True)
class Status:
    version: int
    """0: nothing is installed."""
    wanted: int
    pending: tuple[str, ...]


def migrations() -> list[Migration]:
    """All steps of this version, in order."""
    texts: dict[tuple[int, str], dict[str, str]] = {}
    for file in (resources.files("agentjobs.queue") / "migrations").iterdir():
        if match := _FILE.match(file.name):
            texts.setdefault((int(match[1]), match[2]), {})[match[3]] = file.read_text()
    return [Migration(v, name, t["up"], t["down"]) for (v, name), t in sorted(texts.items())]


SCHEMA_VERSION = len(migrations())
OLDEST_SCHEMA_VERSION = SCHEMA_VERSION
"""The oldest schema that this code works with."""


async def up(dsn: str, to: int | None = None) -> list[str]:
    """Installs what is pending, up to version ``to`` (default: all). Returns the names of the steps that ran."""
    steps, done = migrations(), []
    async with await _connect(dsn) as conn:
        await conn.execute("select pg_advisory_lock(hashtext('agentjobs migrate'))")
        version = await _version(conn)
        if version > len(steps):
            raise SchemaMismatch(
                f"schema version: {version}: newer than this program knows ({len(steps)}); "
                "install the agentjobs release that made it"
            )
        for step in steps[version : to if to is not None else len(steps)]:
            async with conn.transaction():
                await _enter(conn)
                await conn.execute(step.up.encode())
                await conn.execute(_SEAL)
                await conn.execute(
                    "insert into migration (version, name) values (%s, %s)", (step.version, step.name)
                )
            done.append(f"{step.version:04} {step.name}")
    return done


async def down(dsn: str, to: int) -> list[str]:
    """Takes back every step above version ``to``; 0 removes everything, data included."""
    done = []
    steps = migrations()
    if not 0 <= to <= len(steps):
        raise ValueError(f"to: {to}: a version from 0 (remove everything) to {len(steps)} is wanted")
    async with await _connect(dsn) as conn:
        await conn.execute("select pg_advisory_lock(hashtext('agentjobs migrate'))")
        version = await _version(conn)
        if version > len(steps):
            raise SchemaMismatch(
                f"schema version: {version}: this program knows only {len(steps)}; use the release that made it"
            )
        for step in reversed(steps[to:version]):
            async with conn.transaction():
                await _enter(conn)
                await conn.execute(step.down.encode())
                await conn.execute(_SEAL)  # what a step takes back may be an older text of a function
                await conn.execute("delete from migration where version = %s", (step.version,))
            done.append(f"{step.version:04} {step.name}")
        if to == 0 and await _version(conn) == 0:
            await conn.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(SCHEMA)))
    return done


async def grant(dsn: str, statements: str) -> None:
    """Runs what ``roles`` made, whole or not at all."""
    async with await _connect(dsn) as conn, conn.transaction():
        try:
            await conn.execute(statements.encode())
        except (psycopg.errors.UndefinedObject, psycopg.errors.InsufficientPrivilege) as error:
            raise GrantRefused(
                f"roles: {error.diag.message_primary}; an administrator makes them with the output of "
                "`agentjobs migrate roles --print-sql`, and the schema's owner grants"
            ) from error


async def has_roles(dsn: str) -> bool:
    """Functions run with their owner's rights: what a migration has made new must be granted too."""
    async with await _connect(dsn) as conn:
        cursor = await conn.execute(
            "select exists (select from pg_proc where prosecdef and pronamespace = to_regnamespace('agentjobs'))"
        )
        row = await cursor.fetchone()
    return bool(row and row[0])


async def status(dsn: str) -> Status:
    """What is installed, and what is pending."""
    async with await _connect(dsn) as conn:
        version = await _version(conn)
    steps = migrations()
    return Status(version, len(steps), tuple(f"{s.version:04} {s.name}" for s in steps[version:]))


async def _connect(dsn: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    try:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise QueueUnavailable(f"database: {error}".strip()) from error


async def _enter(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    await conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA)))
    await conn.execute(sql.SQL("set local search_path = {}, pg_temp").format(sql.Identifier(SCHEMA)))
    await conn.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    await conn.execute(
        "create table if not exists migration (version int primary key, name text not null, "
        "applied_at timestamptz not null default clock_timestamp())"
    )


async def _version(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> int:
    cursor = await conn.execute("select to_regclass('agentjobs.migration') is not null")
    row = await cursor.fetchone()
    if not row or not row[0]:
        return 0
    cursor = await conn.execute("select coalesce(max(version), 0) from agentjobs.migration")
    row = await cursor.fetchone()
    version = row[0] if row else 0
    assert isinstance(version, int)
    return version
