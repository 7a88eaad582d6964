"""A worker's settings: what cannot work is refused, and what agents must not see is kept from them."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.worker.supervisor.config import WorkerConfig, executor_environment

DSN = "postgresql://owner:s3cr%21t@db:5432/agents"


def config(**changes: Any) -> WorkerConfig:
    return WorkerConfig(**{"dsn": DSN, "queues": {"agents": 1}, "settings": AgentSettings(), **changes})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"queues": {}}, "queues is empty"),
        ({"queues": {"agents": 0}}, "agents has 0 slots"),
        ({"queues": {"Agents!": 1}}, "'Agents!' is not a DNS label"),
        ({"standbys": 3}, "standbys is 3"),
        ({"poll_seconds": 0}, "poll_seconds is 0"),
        ({"lease_grace_seconds": -1.0}, "lease_grace_seconds is -1.0"),
        ({"heartbeat_seconds": 10.0}, "expiry_seconds is 15"),
    ],
)
def test_settings_that_cannot_work_name_field_and_value(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        config(**changes)


def test_a_config_does_not_print_its_secrets() -> None:
    assert "s3cr" not in repr(config(direct_dsn=DSN, settings=AgentSettings(session_dsn=DSN)))


def test_executors_see_model_keys_but_neither_our_settings_nor_the_queues_secrets() -> None:
    environment = {
        "PATH": "/usr/lib/postgresql/bin:/usr/bin",
        "GOOGLE_API_KEY": "key",
        "AGENTJOBS_DATABASE_URL": DSN,
        "AGENTJOBS_DRAIN_SECONDS": "300",
        "DATABASE_URL": f"{DSN}?sslmode=require",
        "PGPASSWORD": "s3cr!t",
        "OTHER": "postgresql://me:s3cr%21t@elsewhere/db",
        "CONNINFO": "host=db password=s3cr!t",
    }
    assert executor_environment(environment, config()) == {
        "PATH": "/usr/lib/postgresql/bin:/usr/bin",
        "GOOGLE_API_KEY": "key",
    }


def test_a_password_that_is_part_of_an_innocent_word_takes_nothing_away() -> None:
    environment = {"PATH": "/usr/lib/postgresql/bin", "HOME": "/home/postgres"}
    plain = config(dsn="postgresql://postgres:postgres@db/agents")
    assert executor_environment(environment, plain) == environment


def test_a_conninfo_string_has_a_password_too() -> None:
    plain = config(dsn="host=db user=me password='pa ss' dbname=agents")
    assert executor_environment({"PGPASSWORD": "pa ss", "A": "b"}, plain) == {"A": "b"}
