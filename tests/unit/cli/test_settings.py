"""Flags go before the environment, the environment before the file; bad values are told with a remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentjobs.cli.errors import BadInput
from agentjobs.cli.settings_sources import load, misspelt_variables
from agentjobs.dsn import current


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("AGENTJOBS_")]:
        monkeypatch.delenv(name)


def file_with(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_a_flag_goes_before_the_environment_and_the_environment_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = file_with(tmp_path, "drain_seconds: 1\nhealth_port: 1001\nname: from-file\n")
    monkeypatch.setenv("AGENTJOBS_DRAIN_SECONDS", "2")
    monkeypatch.setenv("AGENTJOBS_HEALTH_PORT", "1002")

    settings = load({"drain_seconds": 3}, config)

    assert (settings.drain_seconds, settings.health_port, settings.name) == (3, 1002, "from-file")


def test_a_flag_that_was_not_given_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTJOBS_MODULES", "agents,more.agents")
    assert load({"modules": None, "queues": []}).modules == ("agents", "more.agents")


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AGENTJOBS_CONFIG", str(file_with(tmp_path, "queues: {fast: 3}\nmodels: [gemini-*]\n"))
    )
    settings = load({})
    assert settings.queues == {"fast": 3}
    assert settings.models == ("gemini-*",)


def test_queues_are_written_the_same_in_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({"queues": ["agents=10", "scheduled=5"]}).queues == {"agents": 10, "scheduled": 5}
    monkeypatch.setenv("AGENTJOBS_QUEUES", "agents=1, scheduled=2")
    assert load({}).queues == {"agents": 1, "scheduled": 2}


def test_an_empty_variable_is_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTJOBS_DRAIN_SECONDS", "")
    assert load({}).drain_seconds == 300


def test_queue_access_is_read_as_json_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTJOBS_QUEUE_ACCESS", '{"fast": {"namespaces": ["a"], "best_priority": 1}}')
    rule = load({}).queue_access["fast"]
    assert (rule.namespaces, rule.best_priority) == (("a",), 1)


def test_the_database_url_comes_from_a_file_or_the_environment_and_the_stronger_source_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://from-file/db\n")
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", "postgresql://from-env/db")
    assert load({}).dsn() == "postgresql://from-env/db"
    assert load({"database_url_file": secret}).dsn() == "postgresql://from-file/db"


def test_a_part_that_runs_on_reads_the_file_again_and_never_one_that_a_stronger_source_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://first/db\n")
    settings = load({"database_url_file": secret})
    dsn = settings.database()
    secret.write_text("postgresql://second/db\n")
    assert (current(dsn), settings.dsn()) == ("postgresql://second/db", "postgresql://first/db")
    assert settings.session_dsn_file() == str(secret), "conversations are in the same database by default"

    direct = tmp_path / "direct-url"
    direct.write_text("postgresql://first:5432/db\n")
    listens = load({"database_url_file": secret, "database_direct_url_file": direct}).direct_database()
    assert listens is not None
    direct.write_text("postgresql://second:5432/db\n")
    assert current(listens) == "postgresql://second:5432/db"
    assert settings.direct_database() is None, "without one of its own, LISTEN takes the other"

    monkeypatch.setenv("AGENTJOBS_SESSION_DATABASE_URL", "postgresql://sessions/db")
    assert load({"database_url_file": secret}).session_dsn_file() is None
    config = file_with(tmp_path, f"database_url_file: {secret}\n")
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", "postgresql://stronger/db")
    assert load({}, config).database() == "postgresql://stronger/db"


def test_the_database_url_is_not_shown_where_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", "postgresql://u:hunter2@h/db")
    assert "hunter2" not in repr(load({}))


BAD = [
    # (settings file, environment, what the message must name)
    ("", {"AGENTJOBS_DRAIN_SECONDS": "soon"}, ["AGENTJOBS_DRAIN_SECONDS", "'soon'", "integer", "300"]),
    ("drain_seconds: -1", {}, ["drain_seconds (in '", "-1", "greater than or equal to 0"]),
    ("health_port: 70000", {}, ["health_port", "70000", "65535", "8080"]),
    ("", {"AGENTJOBS_QUEUES": "agents"}, ["AGENTJOBS_QUEUES", "'agents'", "QUEUE=SLOTS", "agents=10"]),
    ("", {"AGENTJOBS_QUEUES": "agents=0"}, ["AGENTJOBS_QUEUES", "0 slots", "1 to 1000"]),
    ("", {"AGENTJOBS_QUEUES": "a=1,a=2"}, ["AGENTJOBS_QUEUES", "named twice"]),
    ("", {"AGENTJOBS_QUEUES": "Agents=1"}, ["AGENTJOBS_QUEUES", "'Agents'", "lower case"]),
    ("queues: {}", {}, ["queues", "at least one queue"]),
    ("queues: {agents: many}", {}, ["queues (in '", ".agents", "'many'"]),
    ("drain_second: 3", {}, ["drain_second", "no such setting", "Did you mean 'drain_seconds'?"]),
    ("drainSeconds: 3", {}, ["drainSeconds", "Did you mean 'drain_seconds'?"]),
    ("- a\n- b\n", {}, ["must be a mapping", "list"]),
    ("a: [", {}, ["is not YAML"]),
    (
        "",
        {"AGENTJOBS_QUEUE_ACCESS": "fast"},
        ["AGENTJOBS_QUEUE_ACCESS", "'fast'", "not JSON", "best_priority"],
    ),
    ("queue_access: {fast: {best_priority: 12}}", {}, ["queue_access", ".fast.best_priority", "12"]),
    ("queue_access: {fast: {namespace: a}}", {}, ["queue_access", ".fast.namespace"]),
    ("", {"AGENTJOBS_POOL": "My Pool"}, ["AGENTJOBS_POOL", "'My Pool'"]),
    ("", {"AGENTJOBS_MEMORY_LIMIT_MIB": "8"}, ["AGENTJOBS_MEMORY_LIMIT_MIB", "64", "512"]),
    ("", {"AGENTJOBS_LOG_LEVEL": "loud"}, ["AGENTJOBS_LOG_LEVEL", "'loud'", "debug|info|warning|error"]),
    ("", {"AGENTJOBS_DATABASE_URL_FILE": "/nowhere"}, ["database_url_file", "/nowhere", "cannot be read"]),
    ("", {"AGENTJOBS_DATABASE_URL_FILE": "/dev/null"}, ["database_url_file", "empty", "postgresql://"]),
    ("", {"AGENTJOBS_DATABASE_URL": "mysql://h/d"}, ["AGENTJOBS_DATABASE_URL", "postgresql://"]),
    ("database_url: x\ndatabase_url_file: y", {}, ["database_url", "database_url_file", "keep one"]),
    ("", {"AGENTJOBS_CONFIG": "/nowhere.yaml"}, ["/nowhere.yaml", "cannot be read"]),
]


@pytest.mark.parametrize(("text", "environment", "named"), BAD, ids=[f"{t or e}" for t, e, _ in BAD])
def test_bad_settings_name_the_field_the_value_and_the_remedy(
    text: str,
    environment: dict[str, str],
    named: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as problem:
        load({}, file_with(tmp_path, text) if text else None)
    for part in named:
        assert part in str(problem.value)


def test_a_bad_url_is_not_repeated_because_it_may_hold_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", "mysql://u:hunter2@h/d")
    with pytest.raises(BadInput) as problem:
        load({})
    assert "hunter2" not in str(problem.value)


def test_a_part_without_a_database_says_how_to_name_one() -> None:
    with pytest.raises(BadInput, match=r"AGENTJOBS_DATABASE_URL.*--database-url-file"):
        load({}).dsn()


def test_a_misspelt_variable_is_told() -> None:
    [warning] = misspelt_variables({"AGENTJOBS_QUEUE": "a=1", "AGENTJOBS_TEST_DSN": "x", "PATH": "y"})
    assert "AGENTJOBS_QUEUE is set" in warning
    assert "AGENTJOBS_QUEUES?" in warning
