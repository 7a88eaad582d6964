"""`agentjobs migrate` against a real database."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from agentjobs.cli.main import app
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
