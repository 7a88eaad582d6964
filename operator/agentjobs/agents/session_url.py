"""A libpq URL for asyncpg.

asyncpg reads most of libpq's URLs itself, sslmode, hosts in the query and several hosts included, but hands every
parameter that it does not know to the server, which refuses the connection for those of them that are only the
client's business.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

SCHEMA = "adk"
"""Where ADK's tables are, and only they."""

CLIENT_ONLY = frozenset(
    {
        "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout", "channel_binding", "gssencmode", "gssdelegation", "require_auth", "requirepeer",
        "load_balance_hosts", "client_encoding", "sslcompression", "sslcertmode", "sslcrldir", "sslsni", "replication",
        "fallback_application_name", "application_name", "prepare_threshold", "min_protocol_version",
        "max_protocol_version",
    }
)  # fmt: skip
"""Parameters of libpq (and of psycopg) that asyncpg would send to the server, or that we set ourselves."""
SCHEMES = ("postgresql", "postgres")


def asyncpg_dsn(url: str) -> tuple[str, dict[str, str]]:
    """``url`` as asyncpg takes it, and the settings that the server is to get besides.

    :raises ValueError: it is no URL of Postgres; the message holds no password.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.split("+", 1)[0]  # SQLAlchemy's postgresql+psycopg:// is accepted
    if scheme not in SCHEMES:
        raise ValueError(
            f"session_database_url: begins with {parts.scheme[:20]!r}, not postgresql://. "
            f"Write postgresql://user:password@host:5432/database."
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    settings = {"options": given.pop("options")} if given.get("options") else {}
    address = given.pop("hostaddr", "")
    if address and not given.get("host"):
        given["host"] = address
    query = urlencode({key: value for key, value in given.items() if value and key not in CLIENT_ONLY})
    path = "" if parts.path == "/" else parts.path  # asyncpg reads / as a database without a name
    # by hand: urlunsplit drops the // of an empty authority, which postgresql:///db?host=/run needs
    return f"postgresql://{parts.netloc}{path}" + (f"?{query}" if query else ""), settings
