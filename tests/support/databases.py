"""Postgres for the tests: one server per session and worker process, one fresh database per test.

The schema is migrated once, into a template; each test's database is a copy of it (about 30 ms).
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.local.process import LocalServerError
from tiers import leave_out

GIVEN = "AGENTJOBS_TEST_DSN"
# The machine under a test run does not lose power: fsync proves nothing here and costs most of the time. What is
# committed still survives an immediate stop of the server, which is what the tests do to it.
OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "300", "shared_buffers": "256MB"}


class GivenPostgres:
    """The server that ``AGENTJOBS_TEST_DSN`` names. Its role must be allowed to create databases."""

    def __init__(self, dsn: str) -> None:
        self.given = urlsplit(dsn)
        if self.given.scheme not in ("postgresql", "postgres"):
            raise pytest.UsageError(f"{GIVEN}: wants a URI, postgresql://user:password@host:port/database")

    def dsn(self, database: str | None = None) -> str:
        """The URI of a database of that server; without a name, the given one."""
        return urlunsplit(self.given._replace(path=f"/{database}" if database else self.given.path))


_kept: dict[str, psycopg.Connection[object]] = {}
"""The connection that makes and drops databases, one per server: to connect takes as long as to copy a database."""


def _run(statement: sql.Composed, server: EmbeddedPostgres | GivenPostgres) -> None:
    dsn = server.dsn()
    if dsn not in _kept or _kept[dsn].closed:
        _kept[dsn] = psycopg.connect(dsn, autocommit=True)
    _kept[dsn].execute(statement)


def _disconnect(server: EmbeddedPostgres | GivenPostgres) -> None:
    if connection := _kept.pop(server.dsn(), None):
        connection.close()


@contextmanager
def database(server: EmbeddedPostgres | GivenPostgres, template: str | None = None) -> Iterator[str]:
    """A new database, dropped at the end, whoever is still connected; its DSN."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    _run(create, server)
    try:
        yield server.dsn(name)
    finally:
        _run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)), server)


def migrate(dsn: str) -> None:
    """Bring a database to the newest schema, whether or not a loop runs in this thread."""
    from agentjobs.queue import migrate as migrations

    failures: list[BaseException] = []

    def up() -> None:
        try:
            asyncio.run(migrations.up(dsn))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=up)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres | GivenPostgres]:
    """The server of this session: ``.dsn(database)``. Tests that stop it take ``own_postgres`` instead."""
    given = os.environ.get(GIVEN)
    if given:
        server = GivenPostgres(given)
        try:
            _run(sql.SQL("SELECT 1").format(), server)
        except psycopg.OperationalError as error:
            leave_out(f"{GIVEN} does not answer: {error}".strip())
        try:
            yield server
        finally:
            _disconnect(server)
        return
    try:
        embedded = EmbeddedPostgres(options=OPTIONS).start()
    except LocalServerError as error:
        leave_out(str(error))
    try:
        yield embedded
    finally:
        _disconnect(embedded)
        embedded.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres | GivenPostgres) -> Iterator[str]:
    """The name of a database with the newest schema, which nobody may be connected to."""
    with database(postgres) as dsn:
        migrate(dsn)
        yield urlsplit(dsn).path[1:]


@pytest.fixture
def dsn(postgres: EmbeddedPostgres | GivenPostgres, migrated_template: str) -> Iterator[str]:
    """A fresh migrated database for this test."""
    with database(postgres, migrated_template) as fresh:
        yield fresh


@pytest.fixture
def empty_dsn(postgres: EmbeddedPostgres | GivenPostgres) -> Iterator[str]:
    """A fresh database without our schema."""
    with database(postgres) as fresh:
        yield fresh


@pytest.fixture
def other_empty_dsn(postgres: EmbeddedPostgres | GivenPostgres) -> Iterator[str]:
    """A second database without our schema."""
    with database(postgres) as fresh:
        yield fresh


@pytest.fixture
def new_database(postgres: EmbeddedPostgres | GivenPostgres, migrated_template: str) -> Callable[[], object]:
    """A factory of further migrated databases: ``with new_database() as dsn``."""
    return lambda: database(postgres, migrated_template)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server for this test alone, with a migrated database ``agentjobs``: the test may kill and restart it."""
    try:
        server = EmbeddedPostgres(options=OPTIONS).start()
    except LocalServerError as error:
        leave_out(str(error))
    try:
        migrate(server.create_database("agentjobs"))
        yield server
    finally:
        server.stop()
