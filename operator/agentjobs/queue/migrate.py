"""Brings a database to a release: schema steps are migrated, functions are installed (``release.py`` reads both).

``up`` runs the pending steps, then, where the stored digest of the functions differs, one transaction that creates all
of them, drops those that the release lacks, seals them and grants what the roles had before. The text that was
installed is kept in table ``bundle`` with its release number, so ``down`` installs exactly what was there.

While workers run: a step expands first, and contracts one release later, for between the steps and the functions the
functions of the release before run on the new tables (H30). So releases are not skipped while workers run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import errors, sql

from agentjobs.database.connection import Connection
from agentjobs.queue.errors import EncodingUnsuitable, GrantRefused, SchemaMismatch
from agentjobs.queue.install import drop, existing, grant, install, prefixes
from agentjobs.queue.migration_session import (
    SCHEMA,
    connect,
    patiently,
    session,
    transaction,
    value,
)
from agentjobs.queue.release import RELEASE, Release, Step, current, functions_of
from agentjobs.queue.steps import migrate

SCHEMA_VERSION = len(current().steps)
_TABLES = """
create table migration (
  version       int primary key,
  name          text not null,
  sections_done int,                -- of a step that is under way; null: all of them
  applied_at    timestamptz not null default clock_timestamp()
);
-- What was installed, each time that it differed; the last one is what is there.
create table bundle (
  release        int not null,
  schema_version int not null,      -- the schema that it was installed on
  digest         text not null,
  functions      text not null,
  grants         text not null,
  installed_at   timestamptz not null default clock_timestamp(),
  primary key (release, schema_version)
)"""


@dataclass(frozen=True, slots=True)
class Status:
    version: int
    """Of the schema; 0: nothing is installed."""
    wanted: int
    release: int
    """Of the functions; 0: none are installed."""
    wanted_release: int
    pending: tuple[str, ...]
    """Steps, and functions that differ."""

    @property
    def newer(self) -> str:
        """What the database has of a later release than this program; empty: nothing."""
        if self.version > self.wanted:
            return f"The schema is at version {self.version}, newer than this program's {self.wanted}."
        if self.release > self.wanted_release:
            return f"The functions are of release {self.release}, newer than this program's {self.wanted_release}."
        return ""


@dataclass(frozen=True, slots=True)
class _State:
    version: int = 0
    """The last step that is whole."""
    sections_done: int = 0
    """Of the step after it."""
    release: int = 0
    digest: str = ""


async def up(dsn: str, *, grant_to: str | None = None, release: Release | None = None) -> list[str]:
    """Brings the database to a release, by default this program's. Returns what ran: steps, then functions.

    Roles that were granted to before are granted what is new; ``grant_to`` is the prefix of others. Raises
    SchemaMismatch for a database of a later release, SchemaBusy where a table stays in use, GrantRefused for a right
    that this role lacks, SessionNotKept behind a pooler in transaction mode, EncodingUnsuitable for a database that is
    not UTF8, QueueUnavailable where no server serves: then repeat it, what was done is kept.
    """
    release = release or current()
    async with session(dsn) as conn:
        await _refuse_encoding(conn)
        state = await _state(conn)
        _refuse_newer(state, release)
        steps = release.steps[state.version :]
        differs = (state.release, state.digest) != (release.number, release.digest)
        done = [str(step) for step in steps] + [release.title] * differs
        if not done and grant_to is None:
            return done
        await _prepare(conn)
        for step in steps:
            await migrate(conn, step, state.sections_done if step.version == state.version + 1 else 0)
        roles = {*await prefixes(conn), *([grant_to] if grant_to is not None else [])}
        async with transaction(conn):
            if differs:
                await install(conn, release.functions, await existing(conn))
                await conn.execute(
                    "insert into bundle (release, schema_version, digest, functions, grants) values (%s, %s, %s, %s, %s)"
                    " on conflict (release, schema_version) do update set digest = excluded.digest,"
                    " functions = excluded.functions, grants = excluded.grants, installed_at = excluded.installed_at",
                    (release.number, len(release.steps), release.digest, release.functions, release.grants),
                )
            await grant(conn, release.grants, roles)
    return done


async def down(
    dsn: str, to: int, *, to_release: int | None = None, release: Release | None = None
) -> list[str]:
    """Takes back every step above version ``to``; 0 removes everything, data included. Returns what was taken back.

    The functions are the ones that were there when the schema last stood at that version, or those of ``to_release``;
    none, where the schema went past that version in one go. One transaction: workers must not run meanwhile.
    """
    release = release or current()
    if not 0 <= to <= len(release.steps):
        raise ValueError(f"to: {to}: a version from 0 (remove everything) to {len(release.steps)} is wanted")
    async with session(dsn) as conn:
        state = await _state(conn)
        _refuse_newer(state, release)
        reached = state.version + (state.sections_done > 0)
        steps = [step for step in reversed(release.steps) if to < step.version <= reached]
        if not steps and to_release in (None, state.release):
            return []

        async def whole() -> list[str]:
            async with transaction(conn):
                return await _take_back(conn, steps, to, to_release, state)

        return await patiently(f"down to version {to}", whole)


async def status(dsn: str, *, release: Release | None = None) -> Status:
    """What is installed, and what is pending."""
    release = release or current()
    async with await connect(dsn) as conn:
        state = await _state(conn)
    differs = (state.release, state.digest) != (release.number, release.digest)
    pending = [str(step) for step in release.steps[state.version :]] + [release.title] * differs
    return Status(state.version, len(release.steps), state.release, release.number, tuple(pending))


async def granted_to(dsn: str) -> list[str]:
    """The prefixes of the roles that may use the schema: ``up`` grants them what is new."""
    async with await connect(dsn) as conn:
        return await prefixes(conn)


async def has_roles(dsn: str) -> bool:
    """Whether functions run with their owner's rights: somebody was granted something."""
    async with await connect(dsn) as conn:
        return any(function.definer for function in await existing(conn))


# where it stands ------------------------------------------------------------------------------------------


async def _state(conn: Connection) -> _State:
    if not await value(conn, "select to_regnamespace('agentjobs') is not null"):
        return _State()
    try:
        if not await value(conn, "select to_regclass('agentjobs.migration') is not null"):
            return _State()
        cursor = await conn.execute(
            "select coalesce(max(version) filter (where sections_done is null), 0), coalesce(max(sections_done), 0)"
            " from agentjobs.migration"
        )
        row = await cursor.fetchone()
        assert row is not None
        cursor = await conn.execute(
            "select release, digest from agentjobs.bundle order by release desc, schema_version desc limit 1"
        )
        return _State(*row, *(await cursor.fetchone() or (0, "")))
    except errors.InsufficientPrivilege as error:
        raise await _not_the_owner(conn) from error


async def _not_the_owner(conn: Connection) -> GrantRefused:
    owner = await value(conn, "select nspowner::regrole::text from pg_namespace where nspname = 'agentjobs'")
    role = await value(conn, "select current_user::text")
    return GrantRefused(
        f"schema {SCHEMA} belongs to role {owner}, and role {role} may not change it; migrate as {owner}"
    )


async def _refuse_encoding(conn: Connection) -> None:
    """SQL_ASCII holds any bytes, but counts them and cuts texts between them."""
    encoding = str(await value(conn, "show server_encoding"))
    if encoding != "UTF8":
        raise EncodingUnsuitable(str(await value(conn, "select current_database()")), encoding)


def _refuse_newer(state: _State, release: Release) -> None:
    if state.version > len(release.steps):
        raise SchemaMismatch(
            f"schema version: {state.version}: newer than this program knows ({len(release.steps)}); "
            "use the agentjobs release that made it"
        )
    if state.release > release.number:
        raise SchemaMismatch(
            f"functions: release {state.release}: newer than this program's ({release.number}); "
            "use the agentjobs release that made it"
        )


async def _prepare(conn: Connection) -> None:
    """The schema and the tables in which this module remembers. Asks for rights only where something is missing."""
    async with transaction(conn):
        owns = await value(
            conn,
            "select (select pg_has_role(nspowner, 'usage') from pg_namespace where nspname = 'agentjobs')",
        )
        if owns is None:
            if not await value(conn, "select has_database_privilege(current_database(), 'create')"):
                role = await value(conn, "select current_user::text")
                raise GrantRefused(
                    f"schema {SCHEMA} is not there, and role {role} may not create it; an administrator does, with the"
                    " output of `agentjobs migrate roles --print-sql`"
                )
            await conn.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
        elif not owns:
            raise await _not_the_owner(conn)
        if not await value(conn, "select to_regclass('agentjobs.migration') is not null"):
            await conn.execute(_TABLES)


async def _take_back(
    conn: Connection, steps: Sequence[Step], to: int, to_release: int | None, state: _State
) -> list[str]:
    """The inside of ``down``: functions first, for some have the types of tables that go."""
    before = await existing(conn)
    await drop(conn, before)
    for step in steps:
        await conn.execute(step.down.encode())
        await conn.execute("delete from migration where version = %s", (step.version,))
    if to == 0:
        await conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(SCHEMA)))
        return [functions_of(state.release), *map(str, steps)]
    await conn.execute(
        "delete from bundle where schema_version > %s or release > coalesce(%s, release)", (to, to_release)
    )
    cursor = await conn.execute(
        "select release, functions, grants from bundle order by release desc, schema_version desc limit 1"
    )
    found = await cursor.fetchone()
    if to_release is not None and (found is None or found[0] != to_release):
        raise ValueError(
            f"to_release: {to_release}: its functions were not installed here on schema version {to}"
        )
    if found is None:
        return [functions_of(state.release), *map(str, steps)]
    number, text, grants = found
    assert isinstance(number, int)
    assert isinstance(text, str)
    assert isinstance(grants, str)
    await install(conn, text, before)
    await grant(conn, grants, await prefixes(conn))
    return [*map(str, steps), functions_of(number)]


__all__ = ["RELEASE", "SCHEMA_VERSION", "Status", "down", "granted_to", "has_roles", "status", "up"]
