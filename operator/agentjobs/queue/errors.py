"""The errors of the queue, as types that callers can act on."""

from __future__ import annotations


class QueueError(Exception):
    """Any error of the queue."""


class InvalidUrl(QueueError, ValueError):
    """A database's URL that cannot be read. The message does not quote it: it has the password."""


class QueueUnavailable(QueueError):
    """No server serves: away, starting, read-only, full, or the connection broke. The statement may have been done
    or not.

    Repeat it: enqueue is idempotent by uid, and a repeated ack is answered ``already``.
    """


class QueueTimeout(QueueUnavailable):
    """The database is there, and did not do the statement within a time limit of its own."""


class Misconfigured(QueueUnavailable):
    """The URL names a role, password, database or certificate that is wrong: waiting does not cure that."""


class LoginRefused(Misconfigured):
    """The database refuses the role or its password: it waits for another URL."""


class SchemaMismatch(QueueError):
    """The database's schema is not one that this version works with. Run ``agentjobs migrate up``."""


class SchemaBusy(QueueError):
    """A migration did not get a table, or rows, that others keep in use. Everything it did before is kept."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(
            f"{what}: what it needs was in use for {seconds:.0f} s; end the transactions that are open for long"
            " (xact_start in pg_stat_activity tells), then repeat the command"
        )


class SessionNotKept(QueueError):
    """The URL goes through a pooler in transaction mode: the lock that keeps migrations apart would be lost."""

    def __init__(self) -> None:
        super().__init__(
            "database: this URL goes through a pooler in transaction mode, which does not keep the session that a"
            " migration needs; use the URL of the database itself (AGENTJOBS_DATABASE_DIRECT_URL), or a pool in session mode"
        )


class GrantRefused(QueueError):
    """A role is not there, or this one may not do something; says who may."""


class EncodingUnsuitable(QueueError):
    """The database's encoding cannot hold all texts."""

    def __init__(self, database: str, encoding: str) -> None:
        super().__init__(
            f"database {database}: its encoding {encoding} cannot hold all texts. UTF8 is wanted: make another with"
            f" `create database … encoding 'UTF8' template template0`, and name it in the URL"
        )


class JobRejected(QueueError, ValueError):
    """The job cannot be stored; the message names the field, its value, and what to do."""

    def __init__(self, field: str, value: object, remedy: str) -> None:
        shown = repr(value)
        super().__init__(f"{field}: {shown if len(shown) <= 120 else shown[:117] + '...'}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy
