"""A database that is there and does not serve: whoever holds a connection goes on by itself once a good server is
reachable by its URL, and says until then, by the type of its error, what is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agentjobs.agents.sessions.adk import AdkSessions
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.database import connection
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue import migrate
from agentjobs.queue.errors import GrantRefused, QueueError, QueueUnavailable, SchemaMismatch
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import WorkerInfo
from databases import OPTIONS
from databases import migrate as migrated
from queue_builders import new_job
from rotation import as_role
from standbys import standby_of
from tcp_proxy import TcpProxy, tcp_proxy

pytestmark = pytest.mark.timeout(300)

HEALS_SECONDS = 10.0
"""What is promised; the tests wait six times as long, for machines that are busy."""
DATABASE = "app"
TYPED = (QueueError, SessionStoreUnavailable)


@dataclass
class Servers:
    a: EmbeddedPostgres
    b: EmbeddedPostgres
    standby: EmbeddedPostgres
    """Of ``a``."""
    empty: EmbeddedPostgres


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Two primaries with the same password and schema, a standby, and a server without a schema."""
    a = EmbeddedPostgres(options=OPTIONS)
    started = [a.start()]
    try:
        made = [a]
        for _ in range(2):
            one = EmbeddedPostgres(options=OPTIONS)
            one._password = a._password
            started.append(one.start())
            made.append(one)
        for one in (a, made[1]):
            migrated(one.create_database(DATABASE))
            asyncio.run(_tables(one.dsn(DATABASE)))
        made[2].create_database(DATABASE)
        started.append(standby_of(a))
        yield Servers(a, made[1], started[-1], made[2])
    finally:
        for one in reversed(started):
            one.stop()


async def _tables(url: str) -> None:
    sessions = JobSessions(url)
    await sessions.prepare()
    await sessions.release()


# who holds a connection ----------------------------------------------------------------------------------


@dataclass
class Holder:
    use: Callable[[], Awaitable[object]]
    """Uses the connection that is held, or raises."""


def _enqueues(queue: Queue) -> Callable[[], Awaitable[object]]:
    return lambda: queue.enqueue([new_job()])


@asynccontextmanager
async def pool(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    async with await Queue.open(url) as queue:
        yield Holder(_enqueues(queue))


@asynccontextmanager
async def busy_pool(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    """Several connections are there, and each may be on the wrong server."""
    async with await Queue.open(url) as queue:
        blocked = [asyncio.create_task(queue._db.fetch("select pg_sleep(0.3)")) for _ in range(4)]
        await asyncio.gather(*blocked)
        yield Holder(_enqueues(queue))


@asynccontextmanager
async def heartbeat(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    async with await Queue.open(url) as queue:
        yield Holder(lambda: queue.register(WorkerInfo(uuid4(), "w", {}, "1")))


@asynccontextmanager
async def listener(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    """Is woken by what is enqueued on the server that serves now."""
    heard = asyncio.Event()

    async def hear(queue: Queue) -> None:
        async for note in queue.listen():
            if note.kind == "ready":
                heard.set()

    async def use() -> None:
        assert not hearing.done(), hearing.exception()
        heard.clear()
        async with await Queue.open(good()) as other:
            await other.enqueue([new_job()])
        try:
            async with asyncio.timeout(1):
                await heard.wait()
        except TimeoutError:
            raise QueueUnavailable("nothing was heard") from None

    async with await Queue.open(url) as queue:
        hearing = asyncio.create_task(hear(queue))
        yield Holder(use)
        hearing.cancel()
        with suppress(asyncio.CancelledError):
            await hearing


@asynccontextmanager
async def sessions(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    service = JobSessions(url)
    yield Holder(lambda: service.create_session(app_name="t/app", user_id="u", session_id=uuid4().hex))
    await service.release()


@asynccontextmanager
async def adk(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    service = JobSessions(url)
    service._chosen = AdkSessions(url)
    yield Holder(lambda: service.create_session(app_name="t/app", user_id="u", session_id=uuid4().hex))
    await service.release()


@asynccontextmanager
async def migrations(url: str, good: Callable[[], str]) -> AsyncIterator[Holder]:
    yield Holder(lambda: migrate.up(url))


HOLDERS = {made.__name__: made for made in (pool, busy_pool, heartbeat, listener, sessions, adk, migrations)}

# what happens to its server ------------------------------------------------------------------------------


@dataclass
class Scene:
    servers: Servers
    proxy: TcpProxy
    url: str = ""
    """What the holder connects to, by the proxy, which leads to ``a`` at first."""
    good: str = ""
    """The URL of the server that serves."""

    def lead_to(self, server: EmbeddedPostgres) -> None:
        self.proxy.lead_to(server.dsn(DATABASE))
        self.good = server.dsn(DATABASE)


@dataclass
class Fault:
    strike: Callable[[Scene], None]
    heal: Callable[[Scene], None]
    error: type[Exception] | None = QueueUnavailable
    """Of the queue while it lasts; None: a good server is there at once."""
    url: Callable[[Scene], str] = lambda scene: scene.proxy.url
    but_not: tuple[str, ...] = ()
    unnoticed: bool = False
    """Whoever asks something does not even get an error."""


def nothing(scene: Scene) -> None:
    pass


def read_only(scene: Scene) -> None:
    """The old primary takes no writes any more, connections to it live on; new ones reach the new primary."""
    url = scene.servers.a.dsn()
    _execute(url, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    with psycopg.connect(url, autocommit=True) as conn:  # until the postmaster has it
        while conn.execute("show default_transaction_read_only").fetchone() != ("on",):
            conn.execute("select pg_sleep(0.01)")
    scene.lead_to(scene.servers.b)


def read_only_for_a_while(scene: Scene) -> None:
    read_only(scene)
    scene.lead_to(scene.servers.a)


def to_b(scene: Scene) -> None:
    scene.lead_to(scene.servers.b)


def silent(scene: Scene) -> None:
    scene.proxy.silence()
    scene.lead_to(scene.servers.b)


def cut(scene: Scene) -> None:
    scene.proxy.cut()
    scene.lead_to(scene.servers.b)


def impatient(scene: Scene) -> str:
    """The server ends sessions that were idle for a moment."""
    url = scene.servers.a.dsn()
    _execute(url, "alter system set idle_session_timeout = '300ms'", "select pg_reload_conf()")
    with psycopg.connect(url, autocommit=True) as conn:
        _until_the_postmaster_has(conn, idle_session_timeout="300")
    return scene.servers.a.dsn(DATABASE)


def _until_the_postmaster_has(conn: psycopg.Connection[Any], *, idle_session_timeout: str) -> None:
    conn.execute("set idle_session_timeout = 0")
    reset = "select reset_val from pg_settings where name = 'idle_session_timeout'"
    while conn.execute(reset).fetchone() != (idle_session_timeout,):
        conn.execute("select pg_sleep(0.01)")


def all_ended(scene: Scene) -> None:
    with psycopg.connect(scene.servers.a.dsn(), autocommit=True) as conn:
        end = time.monotonic() + 60
        conn.execute("set idle_session_timeout = 0")
        # a pipeline ends with a flush, behind which Postgres does not count a session as idle: ended by hand
        conn.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = %s and application_name = 'agentjobs-session'",
            (DATABASE,),
        )
        while conn.execute(
            "select 1 from pg_stat_activity where datname = %s and backend_type = 'client backend'",
            (DATABASE,),
        ).fetchone():
            assert time.monotonic() < end
            conn.execute("select pg_sleep(0.02)")
        # the connection that takes their place may be idle for longer, where its process gets no CPU
        conn.execute("alter system reset idle_session_timeout")
        conn.execute("select pg_reload_conf()")
        _until_the_postmaster_has(conn, idle_session_timeout="0")


def standby(scene: Scene) -> None:
    scene.proxy.lead_to(scene.servers.standby.dsn(DATABASE))
    scene.proxy.cut()
    scene.good = scene.servers.b.dsn(DATABASE)


def two_hosts(scene: Scene) -> str:
    parts = urlsplit(scene.proxy.url)
    return scene.proxy.url.replace(parts.netloc, f"{parts.netloc},127.0.0.1:{scene.servers.b.port}")


def only_standby(scene: Scene) -> None:
    scene.proxy.lead_to(scene.servers.standby.dsn(DATABASE))
    scene.proxy.cut()


def refused(state: str, message: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        scene.proxy.refuse(state, message)
        scene.proxy.cut()

    return strike


def empty(*statements: str) -> Callable[[Scene], None]:
    def strike(scene: Scene) -> None:
        url = scene.servers.empty.dsn(DATABASE)
        _execute(url, "drop schema if exists agentjobs cascade", "drop schema if exists adk cascade")
        _execute(url, *statements)
        scene.proxy.lead_to(url)
        scene.proxy.cut()

    return strike


TABLES = ("agentjobs.job", "agentjobs.worker", "adk.sessions")


def raising(code: str) -> Callable[[Scene], None]:
    return lambda scene: _execute(
        scene.servers.a.dsn(DATABASE),
        "create function public.refuse() returns trigger language plpgsql as"
        f" $$ begin raise exception 'the server says so' using errcode = '{code}'; end $$",
        *(
            f"create trigger refuse before insert on {table} for each row execute function public.refuse()"
            for table in TABLES
        ),
    )


def _quiet(scene: Scene) -> None:
    _execute(scene.servers.a.dsn(DATABASE), "drop function if exists public.refuse() cascade")


def limited(scene: Scene) -> str:
    """A role that may do everything here, but is no superuser."""
    role, password = "limited", uuid4().hex
    admin = scene.servers.a.dsn(DATABASE)
    with psycopg.connect(admin, autocommit=True) as conn:
        if not conn.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
            conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        conn.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))
        for schema in ("agentjobs", "adk"):
            for what in ("usage, create on schema {}", "all on all tables in schema {}"):
                conn.execute(sql.SQL("grant " + what + " to limited").format(sql.Identifier(schema)))
            conn.execute(
                sql.SQL("grant all on all sequences in schema {} to limited").format(sql.Identifier(schema))
            )
    return as_role(scene.proxy.url, role, password)


def revoke(scene: Scene) -> None:
    _execute(scene.servers.a.dsn(DATABASE), "revoke all on schema agentjobs, adk from limited")


def grant(scene: Scene) -> None:
    _execute(scene.servers.a.dsn(DATABASE), "grant usage on schema agentjobs, adk to limited")


REACHES_ANOTHER = ("listener", "migrations")
FAULTS = {
    "read-only, connections live on": Fault(read_only, nothing, None, unnoticed=True),
    "read-only for a while": Fault(read_only_for_a_while, to_b, but_not=REACHES_ANOTHER),
    "silent while idle": Fault(silent, nothing, None, unnoticed=True),
    "cut": Fault(cut, nothing, None),
    "cut while idle": Fault(all_ended, nothing, None, url=impatient, unnoticed=True, but_not=REACHES_ANOTHER),
    "a standby is the first of two hosts": Fault(standby, nothing, None, url=two_hosts),
    "a standby for a while": Fault(only_standby, to_b, but_not=("listener",)),
    "starting up": Fault(refused("57P03", "the database system is starting up"), to_b),
    "too many connections": Fault(refused("53300", "sorry, too many clients already"), to_b),
    "refused password": Fault(refused("28P01", "password authentication failed"), to_b),
    "no such database": Fault(refused("3D000", 'database "app" does not exist'), to_b),
    "disk full": Fault(raising("53100"), _quiet, but_not=REACHES_ANOTHER),
    "an input or output error": Fault(raising("58030"), _quiet, but_not=REACHES_ANOTHER),
    "right revoked": Fault(revoke, grant, GrantRefused, url=limited, but_not=REACHES_ANOTHER),
    "empty database": Fault(empty(), to_b, SchemaMismatch, but_not=REACHES_ANOTHER),
    "older schema": Fault(
        empty("create schema agentjobs", "create schema adk", "create table agentjobs.migration ()"),
        to_b,
        SchemaMismatch,
        but_not=REACHES_ANOTHER,
    ),
}
CASES = [
    (holder, fault) for fault, told in FAULTS.items() for holder in HOLDERS if holder not in told.but_not
]


@pytest.fixture
async def scene(servers: Servers) -> AsyncIterator[Scene]:
    async with tcp_proxy(servers.a.dsn(DATABASE)) as proxy:
        made = Scene(servers, proxy)
        made.lead_to(servers.a)
        yield made
        _execute(
            servers.a.dsn(),
            "set default_transaction_read_only = off",
            "alter system reset all",
            "select pg_reload_conf()",
        )
        with psycopg.connect(servers.a.dsn(), autocommit=True) as conn:
            while conn.execute("show default_transaction_read_only").fetchone() != ("off",):
                conn.execute("select pg_sleep(0.01)")
        _quiet(made)


@pytest.mark.parametrize(("holder", "fault"), CASES)
async def test_whoever_holds_a_connection_goes_on_by_itself(
    scene: Scene, holder: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = FAULTS[fault]
    if fault == "silent while idle":  # each use is then the first one after a pause
        monkeypatch.setattr(connection, "IDLE_SECONDS", 0)
    url = told.url(scene)
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(HOLDERS[holder](url, lambda: scene.good))
        await _until_used(held)
        told.strike(scene)
        if told.error is not None and holder != "listener":
            wanted = SessionStoreUnavailable if holder in ("sessions", "adk") else told.error
            error = await _until_raised(held, wanted)
            assert "\n" not in str(error), "one line"
        told.heal(scene)
        if told.unnoticed and holder != "listener":
            await held.use()
        await _until_used(held)


async def _until_raised(held: Holder, wanted: type[Exception]) -> Exception:
    """The error of that type. The first use may meet the connection's end."""
    async with asyncio.timeout(6 * HEALS_SECONDS):
        while True:
            try:
                await held.use()
            except wanted as error:
                return error
            except TYPED:
                await asyncio.sleep(0.1)
            else:
                pytest.fail("it serves")


async def _until_used(held: Holder) -> None:
    """Repeats what may be repeated; any other error fails the test."""
    last: Exception | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(6 * HEALS_SECONDS):
            while True:
                try:
                    await held.use()
                except TYPED as error:
                    last = error
                    await asyncio.sleep(0.2)
                else:
                    return
    pytest.fail(f"not healed; the last error was {last!r}")
