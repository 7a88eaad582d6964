"""What an error of Postgres is about: the server, the schema, a right, time, or one row's data."""

from __future__ import annotations

import re
from enum import Enum, auto

import psycopg
from psycopg import errors


class ConnectionStale(psycopg.OperationalError):
    """The connection was found dead, or on the wrong server, before anything was sent."""


class Fault(Enum):
    """The class of an error, by which a caller decides whether to wait, to repeat or to reject."""

    STALE = auto()
    """The connection was lost while nobody used it: nothing was sent."""
    READ_ONLY = auto()
    """The server is a standby, or a primary that was demoted: nothing was done."""
    AWAY = auto()
    """The server cannot be reached or does not serve; the statement may have been done or not."""
    SLOW = auto()
    """A time limit of the server ended the statement: nothing was done."""
    ROLLED_BACK = auto()
    """The transaction gave way to another one: nothing was done."""
    SCHEMA = auto()
    """A schema, table, function or column is missing."""
    RIGHT = auto()
    """The role may not do this."""
    DATA = auto()
    """A value's type, text or size."""
    KEY = auto()
    """A constraint refuses the row."""
    OTHER = auto()
    """A defect, of whatever kind."""

    @property
    def ends_connection(self) -> bool:
        """Whether another connection may fare better: this one may be broken, or lead to the wrong server."""
        return self in _ENDS_CONNECTION

    @property
    def ends_pool(self) -> bool:
        """Whether the connections that were opened beside this one share its fate."""
        return self in (Fault.STALE, Fault.READ_ONLY, Fault.AWAY)


_ENDS_CONNECTION = (Fault.STALE, Fault.READ_ONLY, Fault.AWAY, Fault.SCHEMA, Fault.RIGHT)
_BY_STATE = {
    "25006": Fault.READ_ONLY,
    "25P02": Fault.OTHER,  # the caller's own transaction has failed before
    "25P03": Fault.SLOW,  # idle_in_transaction_session_timeout
    "25P04": Fault.SLOW,  # transaction_timeout
    "40001": Fault.ROLLED_BACK,
    "40P01": Fault.ROLLED_BACK,
    "42501": Fault.RIGHT,
    "42703": Fault.SCHEMA,  # column
    "42704": Fault.SCHEMA,  # type
    "42883": Fault.SCHEMA,  # function
    "42P01": Fault.SCHEMA,  # table
    "55P03": Fault.SLOW,  # lock_timeout
    "57014": Fault.SLOW,  # statement_timeout, or somebody cancelled it
}
_BY_CLASS = {
    "08": Fault.AWAY,  # connection
    "22": Fault.DATA,
    "23": Fault.KEY,
    "25": Fault.AWAY,  # state of the transaction: a pooler's, not ours
    "28": Fault.AWAY,  # the login is refused
    "3D": Fault.AWAY,  # no such database
    "3F": Fault.SCHEMA,
    "53": Fault.AWAY,  # resources: disk, memory, connections
    "54": Fault.DATA,  # too large, or too deep
    "55": Fault.AWAY,
    "57": Fault.AWAY,  # shutdown, crash, start
    "58": Fault.AWAY,  # input and output
}

_LOGIN_WORDS = {
    "28P01": "password authentication failed|no password supplied|SASL authentication failed|no such user",
    "28000": r"role .* does not exist|role .* is not permitted to log in",
}
_SETTING_WORDS = {
    "28000": r"no pg_hba\.conf entry|pg_hba\.conf rejects connection",
    "3D000": "database .* does not exist|no such database",
    "42501": "permission denied for database",
    "55000": "database .* is not currently accepting connections",
    # of libpq itself, which has no SQLSTATE
    "": (
        "server does not support SSL|certificate verify failed|root certificate file|does not match host name"
        "|URL cannot be read|invalid connection option"
    ),
}
"""What a server says while a connection is opened, by SQLSTATE. libpq passes on the words alone, in the server's language; those
of a pooler are here too."""
_LOGIN = re.compile("|".join(_LOGIN_WORDS.values()))
_SETTING = re.compile("|".join(_SETTING_WORDS.values()))
_UNCURED = {*_LOGIN_WORDS, *_SETTING_WORDS} - {"", "55000"}


def login_refused(told: str) -> bool:
    """Whether a connect failed for its role or password, by what it was told."""
    return bool(_LOGIN.search(told))


def waiting_may_cure(error: psycopg.Error) -> bool:
    """Whether a connect that failed may do later without anybody's help: not where URL, password, database, right or certificate
    is wrong. In a language other than English a server's words are not known, and taken for what may pass."""
    if error.sqlstate:
        return error.sqlstate not in _UNCURED
    return not (_LOGIN.search(str(error)) or _SETTING.search(str(error)))


def fault_of(error: BaseException) -> Fault:
    """The class of a psycopg error, or of an OSError.

    SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    if isinstance(error, ConnectionStale):
        return Fault.STALE
    if isinstance(error, OSError):
        return Fault.AWAY
    if not isinstance(error, psycopg.Error):
        return Fault.OTHER
    state = error.sqlstate or ""
    if state in _BY_STATE:
        return _BY_STATE[state]
    if error.diag.severity_nonlocalized in ("FATAL", "PANIC"):
        return Fault.AWAY
    if state == "54000" and (error.diag.source_file or "").endswith("async.c"):
        return Fault.AWAY  # the NOTIFY queue is full, which an open transaction of anybody's can do
    if state:
        known = _BY_CLASS.get(state[:2])
        return known or (Fault.AWAY if isinstance(error, errors.OperationalError) else Fault.OTHER)
    if isinstance(error, psycopg.DataError):
        return Fault.DATA
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Fault.AWAY
    return Fault.OTHER


def one_line(error: BaseException) -> str:
    """The error in one line. Without the detail, which may quote a row, and libpq's questions, such as "Is the server running?"."""
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (told or str(error)).splitlines()
    said = [
        line for line in lines if not line.startswith("\t")
    ] or lines  # it indents a question below its answer by a tab
    return " ".join(" ".join(said).split())[:500] or type(error).__name__
