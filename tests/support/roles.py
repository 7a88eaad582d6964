"""The roles of least privilege, made for one test's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psycopg
from psycopg import sql

from agentjobs.queue.roles import ROLES, setup_sql
from rotation import as_role


@dataclass(frozen=True)
class Roles:
    """``admin`` made them; each other DSN is that role's."""

    admin: str
    prefix: str
    password: str

    def dsn(self, role: str) -> str:
        return as_role(self.admin, f"{self.prefix}_{role}", self.password)


@contextmanager
def roles_in(admin: str, superuser: str | None = None) -> Iterator[Roles]:
    """Made by the very SQL that people are given, twice; dropped at the end, by ``superuser`` if it is another."""
    made = Roles(admin, f"t_{uuid4().hex[:10]}", uuid4().hex)
    try:
        with psycopg.connect(admin, autocommit=True) as conn:
            for _ in range(2):
                conn.execute(setup_sql(made.prefix).encode())
            for role in ROLES:
                name = sql.Identifier(f"{made.prefix}_{role}")
                conn.execute(sql.SQL("alter role {} password {}").format(name, sql.Literal(made.password)))
        yield made
    finally:
        with psycopg.connect(superuser or admin, autocommit=True) as conn:
            present = conn.execute(
                "select rolname from pg_roles where rolname ^@ %s", (made.prefix,)
            ).fetchall()
            for name in (sql.Identifier(role) for (role,) in present):
                owned = sql.SQL("reassign owned by {0} to current_user; drop owned by {0}; drop role {0}")
                conn.execute(owned.format(name))
