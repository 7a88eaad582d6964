"""libpq URLs for asyncpg."""

from __future__ import annotations

from typing import Any

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

from agentjobs.agents.session_url import asyncpg_dsn


def parsed(url: str) -> tuple[list[Any], Any]:
    """Addresses and parameters as asyncpg itself reads what we give it."""
    dsn, settings = asyncpg_dsn(url)
    given = dict.fromkeys(
        ("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile",
         "target_session_attrs", "krbsrvname", "gsslib")
    )  # fmt: skip
    addresses, parameters = _parse_connect_dsn_and_args(
        dsn=dsn, direct_tls=None, server_settings=settings or None, **given
    )
    return addresses, parameters


@pytest.mark.parametrize(
    ("url", "address", "user", "password", "database"),
    [
        ("postgresql://u:p@h:5433/d", ("h", 5433), "u", "p", "d"),
        ("postgres://u@h/d", ("h", 5432), "u", None, "d"),
        ("postgresql+psycopg://u:p@h/d", ("h", 5432), "u", "p", "d"),
        ("postgresql://u:p%40%2F%3A@h/d%20e", ("h", 5432), "u", "p@/:", "d e"),
        ("postgresql://[::1]:5433/d?user=u", ("::1", 5433), "u", None, "d"),
        ("postgresql://u:@/d?host=/tmp/run", "/tmp/run/.s.PGSQL.5432", "u", None, "d"),
        ("postgresql:///d?host=/tmp/run&port=5433&user=u", "/tmp/run/.s.PGSQL.5433", "u", None, "d"),
        ("postgresql://u@%2Ftmp%2Frun/d", "/tmp/run/.s.PGSQL.5432", "u", None, "d"),
        ("postgresql://u:p@h/?dbname=d", ("h", 5432), "u", "p", "d"),
        ("postgresql:///?host=h&port=5433&user=u&password=p&dbname=d", ("h", 5433), "u", "p", "d"),
        ("postgresql://u@/d?hostaddr=10.0.0.1", ("10.0.0.1", 5432), "u", None, "d"),
    ],
)
def test_each_form_is_understood(
    url: str, address: object, user: str, password: str | None, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    addresses, parameters = parsed(url)
    assert addresses == [address]
    assert (parameters.user, parameters.password or None, parameters.database) == (user, password, database)


def test_several_hosts_stay_several() -> None:
    assert parsed("postgresql://u@a:1,b:2/d?target_session_attrs=read-write")[0] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(("mode", "encrypted"), [("disable", False), ("prefer", True), ("require", True)])
def test_sslmode_is_kept(mode: str, encrypted: bool) -> None:
    parameters = parsed(f"postgresql://u@h/d?sslmode={mode}")[1]
    assert bool(parameters.ssl) is encrypted
    assert parameters.sslmode.name == mode


def test_options_go_to_the_server_and_the_clients_own_parameters_do_not() -> None:
    url = (
        "postgresql://u@h/d?options=-c%20work_mem%3D4MB&connect_timeout=5&keepalives=1&channel_binding=prefer"
        "&gssencmode=disable&application_name=x&tcp_user_timeout=100&client_encoding=utf8&sslcert="
    )
    assert parsed(url)[1].server_settings == {"options": "-c work_mem=4MB"}


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "host=/tmp dbname=secret", "", "sqlite:///x"])
def test_what_is_no_url_of_postgres_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="session_database_url") as caught:
        asyncpg_dsn(url)
    assert "secret" not in str(caught.value)
