"""A database role whose password changes, and the file that says it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from agentjobs.dsn import DsnFile


def as_role(dsn: str, role: str, password: str) -> str:
    """The same database, reached as that role."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@dataclass
class RotatedRole:
    """``file`` holds the URL as the role's user would mount it; ``admin`` is another, that never changes."""

    admin: str
    role: str
    file: Path
    password: str = ""

    def rotate(self, *, tell: bool = True) -> None:
        """A new password for the database, at once; for the file too, unless ``tell`` is false. Cuts all connections."""
        self.password = uuid4().hex
        with psycopg.connect(self.admin, autocommit=True) as conn:
            name, secret = sql.Identifier(self.role), sql.Literal(self.password)
            conn.execute(sql.SQL("alter role {} login password {}").format(name, secret))
            if tell:
                self.tell()
            self._cut(conn)

    def _cut(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        """Ends all connections that began before now, also one whose old password was accepted a moment ago.

        Such a connection has no role in pg_stat_activity until it is ready.
        """
        conn.execute("create temporary table began as select clock_timestamp() as before")
        until = time.monotonic() + 75  # authentication_timeout ends after 60 s what never logs in
        while conn.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity, began"
            " where usename = %s and backend_start < before"
            " union all select null from pg_stat_activity, began, pg_sleep(0.01)"
            " where usename is null and backend_type = 'client backend' and backend_start < before",
            (self.role,),
        ).fetchall():
            assert time.monotonic() < until, f"connections of {self.role} do not end"

    def tell(self) -> None:
        """As a kubelet does: the new content appears whole."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(as_role(self.admin, self.role, self.password) + "\n")
        fresh.rename(self.file)

    def dsn(self) -> DsnFile:
        return DsnFile(self.file, self.file.read_text().strip())

    def connections(self) -> set[str]:
        """The names under which this role is connected now."""
        with psycopg.connect(self.admin, autocommit=True) as conn:
            rows = conn.execute(
                "select application_name from pg_stat_activity where usename = %s", (self.role,)
            )
            return {name for (name,) in rows}
