"""The setting session_database_url as libpq takes it."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from agentjobs.agents.sessions.url import libpq_url


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (
            "postgresql://u:p@h:5433/d",
            {"host": "h", "port": "5433", "user": "u", "password": "p", "dbname": "d"},
        ),
        ("postgres://u@h/d", {"host": "h", "user": "u", "dbname": "d"}),
        (
            "postgresql+asyncpg://u:p%40%2F%3A@h/d",
            {"host": "h", "user": "u", "password": "p@/:", "dbname": "d"},
        ),
        ("postgresql+psycopg:///d?host=/run&user=u", {"host": "/run", "user": "u", "dbname": "d"}),
        (
            "postgresql://u@a:1,b:2/d?target_session_attrs=read-write",
            {"host": "a,b", "port": "1,2", "user": "u", "dbname": "d", "target_session_attrs": "read-write"},
        ),
        (
            "postgresql://u@h/d?sslmode=verify-full&sslrootcert=/ca.crt&channel_binding=require",
            {
                "host": "h",
                "user": "u",
                "dbname": "d",
                "sslmode": "verify-full",
                "sslrootcert": "/ca.crt",
                "channel_binding": "require",
            },
        ),
    ],
)
def test_each_form_is_understood(url: str, wanted: dict[str, str]) -> None:
    assert conninfo_to_dict(libpq_url(url)) == wanted


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "host=/tmp dbname=secret", "", "sqlite:///x"])
def test_what_is_no_url_of_postgres_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="session_database_url") as caught:
        libpq_url(url)
    assert "secret" not in str(caught.value)
