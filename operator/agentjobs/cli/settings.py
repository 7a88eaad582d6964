"""The settings of the deployed parts: flags, then the environment, then a file.

One name everywhere: the field ``drain_seconds`` is the flag ``--drain-seconds``, the environment variable
``AGENTJOBS_DRAIN_SECONDS`` and the key ``drain_seconds`` of the file. The database's URL is the exception: it is
a secret, and a flag would show it to everybody who may run ``ps``, so it comes from the environment or from a
file whose *name* may be a flag.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from agentjobs.cli.errors import BadInput
from agentjobs.dsn import Dsn, DsnFile

PREFIX = "AGENTJOBS_"
SECRETS = frozenset({"database_url", "database_direct_url", "session_database_url"})
URL_EXAMPLE = "postgresql://user:password@host:5432/database"
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class QueueRule(BaseModel):
    """Who may use a queue: queues are privileges."""

    model_config = ConfigDict(extra="forbid")

    namespaces: tuple[str, ...] = Field(
        (), description="Namespaces that may use the queue. Empty: all.", max_length=1000
    )
    best_priority: int = Field(
        0, ge=0, le=9, description="The most urgent priority that may be asked for; 0 is the first."
    )


class Settings(BaseSettings):
    """Everything that can be set. A part reads the fields that concern it."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", env_ignore_empty=True)

    # the database
    database_url: SecretStr | None = Field(
        None,
        description="URL of the Postgres database. May go through a pooler in transaction mode.",
        examples=[URL_EXAMPLE],
    )
    database_url_file: Path | None = Field(
        None,
        description="A file that holds database_url; read again at each connect.",
        examples=["/run/secrets/database-url"],
    )
    database_direct_url: SecretStr | None = Field(
        None,
        description="URL that reaches the same database without a pooler, for LISTEN. Absent: database_url.",
    )
    database_direct_url_file: Path | None = Field(None, description="A file that holds database_direct_url.")
    session_database_url: SecretStr | None = Field(
        None,
        description="URL for the conversations (schema adk), with a role of its own. Absent: database_url.",
    )
    session_database_url_file: Path | None = Field(
        None, description="A file that holds session_database_url."
    )

    # worker
    queues: Annotated[dict[str, int], NoDecode] = Field(
        default_factory=lambda: {"agents": 10, "scheduled": 5},
        description="Slots by queue: how many jobs of each this worker runs at once.",
        examples=["agents=10,scheduled=5"],
    )
    modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Python modules whose agents may run here; my_agents allows my_agents.weather too.",
        examples=["my_agents,other.pkg"],
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("echo",),
        description="Models that inline agents may use, as patterns.",
        examples=["echo,gemini-*"],
    )
    preload: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Modules imported once, before the first job.", examples=["my_agents"]
    )
    path: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders put before Python's path, where the modules are; separated as PATH is.",
        examples=["/agents"],
    )
    signal_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Modules that subscribe to signals such as job.complete; they must not import google.adk.",
        examples=["my_hooks"],
    )
    standbys: int = Field(
        1,
        ge=0,
        le=2,
        description="Processes that wait warm for the next job; each takes about 11 MB.",
        examples=[1],
    )
    stop_grace_seconds: float = Field(
        5,
        gt=0,
        le=600,
        description="How long a job may take to stop when asked, before it is killed.",
        examples=[5],
    )
    lease_grace_seconds: float = Field(
        120,
        ge=0,
        le=86_400,
        description="How long jobs wait, beginning nothing, when the database cannot be reached any more, before they end.",
        examples=[120],
    )
    drain_seconds: int = Field(
        300, ge=0, le=86_400, description="How long running jobs may finish after SIGTERM.", examples=[300]
    )
    poll_seconds: float = Field(
        5, gt=0, le=60, description="How often to look for work where LISTEN does not deliver.", examples=[5]
    )
    memory_limit_mib: int | None = Field(
        None,
        ge=64,
        le=1_048_576,
        description="Memory that one job may take. Absent: no limit.",
        examples=[512],
    )
    model_timeout_seconds: int = Field(
        300, ge=1, le=86_400, description="The longest that one call of a model may take.", examples=[300]
    )
    pool: str = Field(
        "default", pattern=DNS_LABEL, description="Name of the worker pool; model health is kept per pool."
    )
    model_health: bool = Field(
        True,
        description="Keep a breaker per pool and model. False: each failure is charged, a refused key fails its job at once.",
        examples=["false"],
    )

    # operator
    kubeconfig: Path | None = Field(
        None, description="A kubeconfig. Absent: the pod's own account, else ~/.kube/config."
    )
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Namespaces to watch. Empty: all.", examples=["team-a,team-b"]
    )
    queue_access: Annotated[dict[str, QueueRule], NoDecode] = Field(
        default_factory=dict,
        description="Per queue, who may use it and how urgently.",
        examples=['{"fast": {"namespaces": ["team-a"], "best_priority": 1}}'],
    )
    default_ttl_seconds: int | None = Field(
        None,
        ge=0,
        description="Objects without ttlSecondsAfterFinished are deleted this long after they finish. "
        "Absent: never.",
        examples=[86400],
    )

    lease_namespace: str = Field(
        "default", pattern=DNS_LABEL, description="Namespace of the Lease that says which operator leads."
    )
    restored_label: str | None = Field(
        "velero.io/restore-name",
        description="Objects with this label come from a backup: they are held until somebody releases them.",
    )
    mass_vanish_limit: int = Field(
        20,
        ge=0,
        le=1_000_000,
        description="More unfinished jobs than this, and more than half of a namespace, whose objects vanished at once are "
        "reported and not cancelled.",
        examples=[20],
    )

    # both
    name: str | None = Field(
        None,
        max_length=253,
        description="Name of this process in statuses and logs. Absent: the host's name.",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port for /healthz, /readyz and /metrics. 0: any free one. Absent: none.",
        examples=[8080],
    )
    log_format: str = Field(
        "json", pattern="^(json|text)$", description="One JSON object a line, or text for people's eyes."
    )
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="How much to log.")

    @field_validator("database_url", "database_direct_url", "session_database_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError(f"not the URL of a Postgres database, which looks like {URL_EXAMPLE}")
        return value

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        return parse_slots(_items(value)) if isinstance(value, str | list | tuple) else value

    @field_validator("queues")
    @classmethod
    def _check_queues(cls, value: dict[str, int]) -> dict[str, int]:
        if not value:
            raise ValueError("at least one queue is needed")
        for name, slots in value.items():
            if not re.fullmatch(DNS_LABEL, name):
                raise ValueError(f"queue '{name}' is not a DNS label: lower case letters, digits and hyphens")
            if not 1 <= slots <= 1000:
                raise ValueError(f"queue '{name}' has {slots} slots; 1 to 1000 are possible")
        return value

    @field_validator("modules", "models", "preload", "namespaces", "signal_modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _items(value) if isinstance(value, str | list | tuple) else value

    @field_validator("path", mode="before")
    @classmethod
    def _split_path(cls, value: object) -> object:
        return [p for p in value.split(os.pathsep) if p] if isinstance(value, str) else value

    @field_validator("queue_access", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"not JSON ({error})") from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment; ``load`` adds the file as the last."""
        return init_settings, env_settings

    def dsn(self) -> str:
        """The database's URL; BadInput where none was given."""
        if self.database_url is None:
            raise BadInput(
                f"No database is named. Set AGENTJOBS_DATABASE_URL ({URL_EXAMPLE}), or "
                "--database-url-file FILE (AGENTJOBS_DATABASE_URL_FILE) with a file that holds it."
            )
        return self.database_url.get_secret_value()

    def direct_dsn(self) -> str | None:
        return self.database_direct_url.get_secret_value() if self.database_direct_url else None

    def session_dsn(self) -> str:
        """Where conversations are stored: a URL of its own, else the database itself."""
        return self.session_database_url.get_secret_value() if self.session_database_url else self.dsn()

    def database(self) -> Dsn:
        """``dsn`` for a part that runs on: from a file, it is read again at each connect."""
        return _reread(self.dsn(), self.database_url_file)

    def direct_database(self) -> Dsn | None:
        url = self.direct_dsn()
        return None if url is None else _reread(url, self.database_direct_url_file)

    def session_dsn_file(self) -> str | None:
        """The file that ``session_dsn`` came from."""
        own = self.session_database_url is not None
        file = self.session_database_url_file if own else self.database_url_file
        return str(file.absolute()) if file is not None else None


def _reread(url: str, file: Path | None) -> Dsn:
    return url if file is None else DsnFile(file.absolute(), url)


def parse_slots(items: list[str]) -> dict[str, int]:
    """``["agents=10", "scheduled=5"]`` as slots by queue."""
    slots: dict[str, int] = {}
    for item in items:
        name, equals, number = (part.strip() for part in item.partition("="))
        if not equals or not number.isdigit() or not name:
            raise ValueError(f"'{item}' is not QUEUE=SLOTS")
        if name in slots:
            raise ValueError(f"queue '{name}' is named twice")
        slots[name] = int(number)
    return slots


def _items(value: object) -> list[str]:
    parts = (
        value.split(",") if isinstance(value, str) else [p for v in _each(value) for p in str(v).split(",")]
    )
    return [part.strip() for part in parts if part.strip()]


def _each(value: object) -> Iterable[object]:
    return value if isinstance(value, list | tuple) else (value,)
