"""Every connection to Postgres is opened here: the queue's, the listener's, the session store's, a migration's.

A connection goes to a server that takes writes, speaks UTF-8 and read committed, and notices within seconds that
its server has gone, whatever lies between.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agentjobs.database.fault import login_refused, one_line
from agentjobs.dsn import Dsn, current

Row = tuple[Any, ...]

CONNECT_SECONDS = 5
"""For each host of the URL."""
TCP_USER_TIMEOUT_SECONDS = 10
"""A server that vanished without a word must be noticed before the lease is over."""
IDLE_SECONDS = 5
"""Idle time after which a connection is tested before its next use: a firewall may drop a silent connection
without telling either end."""
PING_SECONDS = 3
"""Time limit of that test."""
ANSWER_SECONDS = 35
"""The longest wait for an answer: longer than the server's own limit, so that its answer comes first."""
LIFETIME_SECONDS = 600
"""Age at which a connection is replaced, for what nothing else notices: a former primary that still takes writes."""
READ_COMMITTED = r"-c default_transaction_isolation=read\ committed"
"""The statements are written for this level: a limit is counted behind a lock, with what others committed before."""
_READ_ONLY = "session is read-only"
_READ_ONLY_MEANS = (
    " (a standby, or a primary that was demoted; where the role only reads: target_session_attrs=any)"
)
_FROM_A_POOLER = "unsupported startup parameter"


@dataclass(slots=True)
class Target:
    """Where a process connects to, and what each connection asks for. The URL is read at each connect.

    For example, a URL names two hosts, the first of them a standby: the connection goes to the second. A URL that
    says ``target_session_attrs`` itself decides by itself.
    """

    dsn: Dsn
    name: str
    """The application_name."""
    settings: str = READ_COMMITTED
    """Settings of the session (libpq's ``options``); a pooler that refuses them is done without them."""
    required: str = ""
    """Settings without which there is no connection."""
    answer_seconds: float | None = ANSWER_SECONDS
    """The longest wait for an answer; None: for ever."""
    failure: str = ""
    """Why the last connect failed, in one line; empty: it did not."""

    @property
    def login_refused(self) -> bool:
        """Whether the last connect failed for its role or password."""
        return login_refused(self.failure)

    def connect_seconds(self) -> int:
        """The longest that a connect takes where one of the URL's hosts serves."""
        try:
            hosts = str(self._given().get("host") or "")
        except psycopg.OperationalError:
            hosts = ""
        return CONNECT_SECONDS * (hosts.count(",") + 1)

    def conninfo(self) -> str:
        """The URL with what each connection asks for. What the URL says of the session's settings wins."""
        given = self._given()
        if "target_session_attrs" not in given and "PGTARGETSESSIONATTRS" not in os.environ:
            given["target_session_attrs"] = "read-write"
        options = " ".join(filter(None, (self.settings, self.required, str(given.get("options") or ""))))
        return make_conninfo(
            "",
            **given
            | {
                "options": options,
                "application_name": self.name,
                "client_encoding": "UTF8",
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": TCP_USER_TIMEOUT_SECONDS * 1000,
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
            },
        )

    def _given(self) -> dict[str, Any]:
        return parts_of(current(self.dsn))


def parts_of(url: str) -> dict[str, Any]:
    """The parts of a libpq URL. Raises psycopg.OperationalError, which does not quote it."""
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:  # its text quotes the URL, and so the password
        raise psycopg.OperationalError(
            "the database's URL cannot be read: postgresql://user:password@host:5432/database is wanted"
        ) from None


class Connection(psycopg.AsyncConnection[Row]):
    """A connection that can tell whether it still leads to a server that serves."""

    used_at: float
    """The monotonic time at which something was last asked or answered."""
    opened_at: float
    _answer_seconds: float | None = None
    _broken_off: bool = False
    _must_not_be: tuple[bytes, ...] = ()

    @classmethod
    async def connect(cls, conninfo: str = "", *, target: Target, **options: Any) -> Self:  # type: ignore[override]
        """A new connection. Prepares no statement: a pooler in transaction mode may be in between.

        :param conninfo: not used; a pool gives one.
        """
        options = {"autocommit": True, "prepare_threshold": None} | options
        try:
            try:
                made = await super().connect(target.conninfo(), **options)
            except psycopg.OperationalError as error:
                if not target.settings or _FROM_A_POOLER not in str(error):
                    raise
                target.settings = ""
                made = await super().connect(target.conninfo(), **options)
        except psycopg.Error as error:
            target.failure = one_line(error)
            if _READ_ONLY in target.failure:
                target.failure += _READ_ONLY_MEANS
            raise
        target.failure = ""
        made.used_at = made.opened_at = time.monotonic()
        made._answer_seconds = target.answer_seconds
        wanted = made.info.get_parameters().get("target_session_attrs", "any")
        made._must_not_be = _MUST_NOT_BE.get(wanted, ())
        return made

    async def wait(self, *args: Any, **options: Any) -> Any:
        """Breaks the connection off where the answer takes too long, so that the statement fails.

        psycopg sends and reads all by this method. TCP's own limits do not do: a proxy acknowledges what its
        server never sees. A cancellation does not either: psycopg then waits for the server.
        """
        began = self.used_at = time.monotonic()
        timer = None
        if self._answer_seconds is not None:
            timer = asyncio.get_running_loop().call_later(self._answer_seconds, self.break_off)
        try:
            return await super().wait(*args, **options)
        except psycopg.OperationalError as error:
            if self._broken_off:
                raise errors.ConnectionTimeout(f"no answer for {time.monotonic() - began:.0f} s") from error
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.used_at = time.monotonic()

    @property
    def misplaced(self) -> bool:
        """Whether the server has become what the URL does not want: a standby, or read-only.

        A server tells it with its answer to any statement.
        """
        return not self.closed and any(
            self.pgconn.parameter_status(name) == b"on" for name in self._must_not_be
        )

    async def works(self) -> bool:
        """Whether the connection may be used now. Costs a round trip after IDLE_SECONDS without use only."""
        if self.closed or self.misplaced or self._has_news():
            return False
        if time.monotonic() - self.used_at < IDLE_SECONDS:
            return True
        try:
            await self.ping()
        except psycopg.Error:
            return False
        return True

    async def ping(self) -> None:
        """Asks the server whether it is there, and still the right one; raises OperationalError."""
        usual, self._answer_seconds = self._answer_seconds, PING_SECONDS
        try:
            await self.execute("select 1")
        finally:
            self._answer_seconds = usual
        if self.misplaced:
            raise psycopg.OperationalError("the server has become read-only")

    def break_off(self) -> None:
        """Has whoever waits for an answer fail."""
        self._broken_off = True
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)

    def _has_news(self) -> bool:
        """Whether the server has sent something unasked, as it does when it ends the connection."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))


_MUST_NOT_BE = {
    "read-write": (b"in_hot_standby", b"default_transaction_read_only"),
    "primary": (b"in_hot_standby",),
}
