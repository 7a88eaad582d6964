"""URLs of the session store: the setting session_database_url as psycopg takes it."""

from __future__ import annotations

from urllib.parse import urlsplit

SCHEMA = "adk"
"""The schema of ADK's tables and of our fence."""

SCHEMES = ("postgresql", "postgres")


def libpq_url(url: str) -> str:
    """``url`` as libpq takes it: without SQLAlchemy's driver in the scheme, as in ``postgresql+psycopg://``.

    :raises ValueError: the URL is not one of Postgres. The message holds no password.
    """
    scheme, rest = urlsplit(url).scheme, url.partition("://")[2]
    if scheme.split("+", 1)[0] not in SCHEMES:
        raise ValueError(
            f"session_database_url: begins with {scheme[:20]!r}, not postgresql://. "
            f"Write postgresql://user:password@host:5432/database."
        )
    return f"postgresql://{rest}"
