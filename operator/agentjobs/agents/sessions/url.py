"""The setting session_database_url for psycopg."""

from __future__ import annotations

from urllib.parse import urlsplit

SCHEMA = "adk"
"""Where ADK's tables are, and only they."""

SCHEMES = ("postgresql", "postgres")


def libpq_url(url: str) -> str:
    """``url`` as libpq takes it: without the driver that SQLAlchemy has in a scheme, ``postgresql+psycopg://``.

    :raises ValueError: it is no URL of Postgres; the message holds no password.
    """
    scheme, rest = urlsplit(url).scheme, url.partition("://")[2]
    if scheme.split("+", 1)[0] not in SCHEMES:
        raise ValueError(
            f"session_database_url: begins with {scheme[:20]!r}, not postgresql://. "
            f"Write postgresql://user:password@host:5432/database."
        )
    return f"postgresql://{rest}"
