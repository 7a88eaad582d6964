"""The Postgres under the benches: the embedded one with stock, durable settings, a fresh database per run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql

from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue import migrate

# Room for the peers' pools; a count of connections costs nothing. All else stays as Postgres ships it.
_OPTIONS = {"max_connections": "200"}
_SHOWN = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "wal_level")


class Server:
    """One embedded Postgres. ``pid`` is its postmaster: the root of all that it spends."""

    def __init__(self, **options: object) -> None:
        """``options``: settings of Postgres that differ from those of the other benches."""
        self._postgres = EmbeddedPostgres(
            options=_OPTIONS | {name: str(value) for name, value in options.items()}
        )

    def __enter__(self) -> Server:
        self._postgres.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._postgres.stop()

    @property
    def pid(self) -> int:
        process = self._postgres.process
        assert process is not None
        return process.pid

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """A new database, dropped at the end; its DSN."""
        name = f"b_{uuid4().hex[:12]}"
        dsn = self._postgres.create_database(name)
        try:
            if migrated:
                asyncio.run(migrate.up(dsn))
            yield dsn
        finally:
            with psycopg.connect(self._postgres.dsn(), autocommit=True) as conn:
                conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """So that what was written before a measurement is not flushed during it."""
        with psycopg.connect(self._postgres.dsn(), autocommit=True) as conn:
            conn.execute("checkpoint")

    def describe(self) -> str:
        with psycopg.connect(self._postgres.dsn(), autocommit=True) as conn:
            found = [(name, conn.execute(f"show {name}").fetchone()) for name in _SHOWN]
        version, *rest = [(name, row[0] if row else "?") for name, row in found]
        return f"{version[1]} (embedded), " + ", ".join(f"{name} {value}" for name, value in rest)
