"""The SQL for roles of least privilege, for an administrator: ``roles.sql``, then ``grants.sql``."""

from __future__ import annotations

import re
from importlib import resources

ROLES = ("owner", "worker", "operator", "web", "app", "sessions", "read")
PREFIX = "agentjobs"
_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,39}")


def setup_sql(prefix: str = PREFIX) -> str:
    """SQL for an administrator: makes roles, gives the schemas to their owner, grants. May be repeated."""
    return filled(_text("roles.sql"), prefix) + grants_sql(prefix)


def grants_sql(prefix: str = PREFIX) -> str:
    """SQL for the schema's owner: grants the roles the functions that are there now. May be repeated."""
    return filled(_text("grants.sql"), prefix)


def filled(text: str, prefix: str) -> str:
    """``@worker@`` and the like become names. Raises ValueError for a prefix that would need quotes."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"prefix: {prefix!r}: a letter or _, then letters, digits and _, lower case, at most 40 in all"
        )
    for role in ROLES:
        text = text.replace(f"@{role}@", f"{prefix}_{role}")
    return text.replace("@prefix@", prefix)


def _text(file: str) -> str:
    return (resources.files("agentjobs.queue") / "sql" / file).read_text()
