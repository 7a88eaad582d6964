"""`agentjobs migrate` against a real database."""

from __future__ import annotations

import re
import threading
import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.main import app
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue import migrate


@pytest.fixture
def command(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", empty_dsn)
    return CliRunner()


def invoke(command: CliRunner, *arguments: str) -> Result:
    return command.invoke(app, ["migrate", *arguments], catch_exceptions=False)


def test_up_down_and_status_tell_where_the_schema_is(command: CliRunner) -> None:
    before = invoke(command, "status")
    assert before.exit_code == 1
    assert "The schema is at version 0" in before.output
    assert "agentjobs migrate up" in before.output

    assert f"The schema is at version {migrate.SCHEMA_VERSION}." in invoke(command, "up").output
    assert invoke(command, "status").exit_code == 0

    assert "The schema is at version 0." in invoke(command, "down", "--to", "0", "--yes").output
    assert invoke(command, "status").exit_code == 1


def test_up_may_be_repeated(command: CliRunner) -> None:
    invoke(command, "up")
    again = invoke(command, "up")
    assert again.exit_code == 0
    assert "up 0001" not in again.output


def test_h30_an_older_program_leaves_a_newer_schema_alone_and_may_go_on(
    command: CliRunner, empty_dsn: str
) -> None:
    invoke(command, "up")
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(
            "insert into agentjobs.migration (version, name) values (%s, 'future')",
            [migrate.SCHEMA_VERSION + 1],
        )

    with pytest.raises(Unavailable, match="newer than this program"):
        invoke(command, "up")
    accepted = invoke(command, "up", "--accept-newer")
    assert accepted.exit_code == 0
    assert f"at version {migrate.SCHEMA_VERSION + 1}, newer" in accepted.output


def test_h30_newer_functions_alone_are_left_alone_too(command: CliRunner, empty_dsn: str) -> None:
    invoke(command, "up")
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("update agentjobs.bundle set release = release + 1")

    with pytest.raises(Unavailable, match="newer than this program"):
        invoke(command, "up")
    accepted = invoke(command, "up", "--accept-newer")
    assert accepted.exit_code == 0
    assert f"of release {migrate.RELEASE + 1}, newer" in accepted.output
    told = invoke(command, "status")
    assert told.exit_code == 1
    assert "install the release that made it" in told.output


def test_functions_that_differ_are_pending_and_installed(command: CliRunner, empty_dsn: str) -> None:
    invoke(command, "up")
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("update agentjobs.bundle set digest = 'of other functions'")
    told = invoke(command, "status")
    assert told.exit_code == 1
    assert f"pending functions of release {migrate.RELEASE}" in told.output
    assert f"up functions of release {migrate.RELEASE}" in invoke(command, "up").output
    assert invoke(command, "status").exit_code == 0


def test_down_to_a_release_that_was_never_there_is_refused(command: CliRunner) -> None:
    invoke(command, "up")
    with pytest.raises(BadInput, match="to_release: 7"):
        invoke(command, "down", "--to", "1", "--release", "7", "--yes")


def test_up_waits_for_a_database_that_does_not_answer_yet_and_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = EmbeddedPostgres()
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", server.dsn())
    late = threading.Timer(1.5, server.start)
    late.start()
    try:
        done = invoke(CliRunner(), "up", "--wait-seconds", "60")
    finally:
        late.join()
        server.stop()
    assert done.exit_code == 0
    first, *_ = done.stderr.splitlines()
    assert re.search("Connection refused.*; waiting for 60 s more", first)
    assert len(done.stderr.splitlines()) < 4, "the same failure is not told each half second"
    assert "The schema is at version" in done.stdout


PLAIN = {"sslmode": "disable"}
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a password that is refused": ({"password": "wrong"}, "password authentication failed"),
    "no password": ({"password": ""}, "no password supplied"),
    "a role that is not there": ({"user": "nobody-such"}, "authentication failed|does not exist"),
    "a database that is not there": ({"dbname": "nowhere"}, '"nowhere" does not exist'),
    "a database that takes no connections": ({"dbname": "template0"}, "not currently accepting connections"),
    "TLS that the server does not have": ({"sslmode": "require"}, "does not support SSL"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_up_fails_at_once_for_what_waiting_does_not_cure(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    change, said = WRONG[case]
    right = {key: str(value) for key, value in conninfo_to_dict(postgres.dsn()).items()}
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}?sslmode={sslmode}"
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", url.format_map(PLAIN | right | change))
    began = time.monotonic()
    with pytest.raises(Unavailable, match=said) as refused:
        invoke(CliRunner(), "up", "--wait-seconds", "120")
    assert time.monotonic() - began < 60
    assert "database.existingSecret" in str(refused.value)
