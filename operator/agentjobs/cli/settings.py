"""The settings of the deployed parts: flags, then the environment, then a file.

A setting has one name everywhere: the field ``drain_seconds`` is the flag ``--drain-seconds``, the
environment variable
``AGENTJOBS_DRAIN_SECONDS`` and the key ``drain_seconds`` of the file. The database's URL is the exception: a
flag would show this secret to everybody who may run ``ps``. So it comes from the environment, or from a file
that a flag may name.
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
from agentjobs.values.setting_names import PREFIX

SECRETS = frozenset({"database_url", "database_direct_url", "session_database_url"})
URL_EXAMPLE = "postgresql://user:password@host:5432/database"
HEADER = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,98}[A-Za-z0-9])?$"
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class QueueRule(BaseModel):
    """The privilege to use a queue: which namespaces, and up to which priority."""

    model_config = ConfigDict(extra="forbid")

    namespaces: tuple[str, ...] = Field(
        (), description="Namespaces that may use the queue. Empty: all.", max_length=1000
    )
    best_priority: int = Field(
        0, ge=0, le=9, description="The most urgent priority that may be asked for; 0 is the first."
    )


class Settings(BaseSettings):
    """All settings of the worker and the operator. Each part reads its own fields."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", env_ignore_empty=True)

    # the database
    database_url: SecretStr | None = Field(
        None,
        description="URL of the Postgres database. May go through a pooler in transaction mode.",
        examples=[URL_EXAMPLE],
    )
    database_url_file: Path | None = Field(
        None,
        description="A file with database_url, read again at each connect.",
        examples=["/run/secrets/database-url"],
    )
    database_direct_url: SecretStr | None = Field(
        None,
        description="URL that reaches the same database without a pooler, for LISTEN. Absent: database_url.",
    )
    database_direct_url_file: Path | None = Field(None, description="A file with database_direct_url.")
    session_database_url: SecretStr | None = Field(
        None,
        description="URL for the conversations (schema adk), with a role of its own. Absent: database_url.",
    )
    session_database_url_file: Path | None = Field(None, description="A file with session_database_url.")

    # worker
    queues: Annotated[dict[str, int], NoDecode] = Field(
        default_factory=lambda: {"agents": 10, "scheduled": 5},
        description="Slots by queue: how many jobs of each queue this worker runs at once.",
        examples=["agents=10,scheduled=5"],
    )
    modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Python modules whose agents may run in this pool; my_agents also allows my_agents.weather.",
        examples=["my_agents,other.pkg"],
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("echo",),
        description="Models that inline agents may use, as shell-style patterns.",
        examples=["echo,gemini-*"],
    )
    preload: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Modules that the template imports once, before the first job.",
        examples=["my_agents"],
    )
    path: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders with the modules, put before Python's path; separated as in PATH.",
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
        description="Standbys: forked executors that wait for the next job; each takes about 11 MB.",
        examples=[1],
    )
    stop_grace_seconds: float = Field(
        5,
        gt=0,
        le=600,
        description="How long a run may take at each step of stopping it; the last step is a kill.",
        examples=[5],
    )
    lease_grace_seconds: float = Field(
        120,
        ge=0,
        le=86_400,
        description="How long runs wait for the database after the worker's lease is over, beginning nothing, before they end.",
        examples=[120],
    )
    drain_seconds: int = Field(
        300,
        ge=0,
        le=86_400,
        description="How long running jobs may go on after SIGTERM, before the worker gives them back.",
        examples=[300],
    )
    poll_seconds: float = Field(
        5,
        gt=0,
        le=60,
        description="Interval of looking for work where LISTEN does not deliver.",
        examples=[5],
    )
    memory_limit_mib: int | None = Field(
        None,
        ge=64,
        le=1_048_576,
        description="The most memory that one job may take, in MiB. Absent: no limit.",
        examples=[512],
    )
    model_timeout_seconds: int = Field(
        300, ge=1, le=86_400, description="The longest that one model call may take.", examples=[300]
    )
    tool_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of a run for its synchronous tools. 0: one after the other on the event loop's thread, as ADK does it.",
        examples=[8],
    )
    artifact_limit_mib: int = Field(
        10,
        ge=1,
        le=64,
        description="The most that one version of one artifact may take, in MiB: a file that an agent saves.",
        examples=[10],
    )
    session_artifacts_limit_mib: int = Field(
        100,
        ge=1,
        le=65_536,
        description="The most that all versions of a session's artifacts may take together, in MiB.",
        examples=[100],
    )
    artifact_service_uri: str | None = Field(
        None,
        description="Where artifacts are kept, as ADK's --artifact_service_uri has it: gs://BUCKET, file:///FOLDER, memory://, or a "
        "scheme of services.yaml. Absent: in the session store.",
        examples=["gs://my-bucket"],
    )
    memory_service_uri: str | None = Field(
        None,
        description="Where memories are kept, as ADK's --memory_service_uri has it: agentengine://ENGINE, rag://CORPUS, "
        "sqlite:////FILE, memory://, or a scheme of services.yaml. Absent: in the session store.",
        examples=["agentengine://1234567890"],
    )
    credential_key_file: Path | None = Field(
        None,
        description="A file, from a Secret, with the keys that seal credentials which tools have got for users: one a line, the first "
        "seals. Absent: a credential lasts for one run.",
        examples=["/run/secrets/credentials/key"],
    )
    pool: str = Field(
        "default", pattern=DNS_LABEL, description="Name of the worker pool; breakers of models belong to it."
    )
    model_health: bool = Field(
        True,
        description="Whether the pool keeps a breaker per model. False: each failure is charged, and a refused key fails its job at once.",
        examples=["false"],
    )

    allow_env_files: bool = Field(
        False,
        description="Whether a worker starts where a .env lies beside its agents: one in an image is a key that everybody has who can "
        "pull it.",
        examples=["true"],
    )
    local: bool = Field(
        False,
        description="Set by `agentjobs local` for its worker, whose messages then speak of no image and no pool.",
    )
    tracebacks: bool = Field(
        False,
        description="Whether an error's whole traceback is printed to the run's output. It may quote the conversation. False: the lines of "
        "the agent's own code alone, by file, number and function.",
        examples=["true"],
    )

    # operator
    kubeconfig: Path | None = Field(
        None, description="A kubeconfig. Absent: the pod's own account, else ~/.kube/config."
    )
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Namespaces that the operator watches. Empty: all.", examples=["team-a,team-b"]
    )
    queue_access: Annotated[dict[str, QueueRule], NoDecode] = Field(
        default_factory=dict,
        description="Privileges by queue: which namespaces may use it, and up to which priority.",
        examples=['{"fast": {"namespaces": ["team-a"], "best_priority": 1}}'],
    )
    input_config_maps: bool = Field(
        True,
        description="Whether the operator reads the ConfigMaps that jobs refer to (spec.inputs, spec.messageFrom) in their namespaces.",
    )
    input_secrets: bool = Field(
        False,
        description="Whether the operator reads the Secrets that jobs refer to (spec.inputs, spec.messageFrom): whoever may create an "
        "AgentJob can then have an agent read each Secret of the namespace.",
        examples=["true"],
    )
    default_ttl_seconds: int | None = Field(
        None,
        ge=0,
        description="How long after their end AgentJobs without ttlSecondsAfterFinished are deleted. Absent: never.",
        examples=[86400],
    )
    status_output: bool = Field(
        False,
        description="Whether an AgentJob's status shows the last 1 KiB of what its last run printed: whoever may read the object reads it.",
        examples=["true"],
    )

    lease_name: str = Field(
        "agentjobs-operator",
        pattern=DNS_LABEL,
        description="Name of the Lease by which one operator leads. Two installations whose Leases are in one namespace need two.",
    )
    lease_namespace: str = Field(
        "default", pattern=DNS_LABEL, description="Namespace of the Lease by which one operator leads."
    )
    restored_label: str | None = Field(
        "velero.io/restore-name",
        description="Label of objects from a backup: their jobs stay unaccepted, with the reason Restored.",
    )
    runs_api_service: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="NAMESPACE/NAME of the Service that serves the runs API; the operator registers it with the API server. "
        "Absent: none.",
        examples=["agentjobs/agentjobs-web"],
    )
    runs_api_off: bool = Field(
        False,
        description="True: the runs API is switched off; the operator withdraws what an earlier one has registered for that Service.",
        examples=["true"],
    )
    runs_api_port: int = Field(443, ge=1, le=65_535, description="Port of that Service.", examples=[443])
    runs_api_secret: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        description="Secret, in that Service's namespace, with the certificate of the runs API. Absent: the Service's name and -tls.",
        examples=["agentjobs-web-tls"],
    )
    runs_api_certificates: bool = Field(
        True,
        description="Whether the operator makes and renews that certificate. False: somebody else does, such as cert-manager; the "
        "operator reads ca.crt.",
        examples=["false"],
    )
    mass_vanish_limit: int = Field(
        20,
        ge=0,
        le=1_000_000,
        description="When more unfinished AgentJobs than this, and more than half of a namespace's, vanish at once, the operator "
        "reports them and does not cancel their jobs.",
        examples=[20],
    )

    # web
    web_tls_dir: Path | None = Field(
        None,
        description="Folder with tls.crt and tls.key, by which `agentjobs web` serves the API server. Absent: it serves behind an "
        "ingress where a port for that is named, else 127.0.0.1 without TLS, by a secret link.",
        examples=["/run/secrets/agentjobs-web"],
    )
    web_port: int = Field(10250, ge=1, le=65_535, description="Port of the runs API.", examples=[10250])
    web_ingress_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port at which `agentjobs web` serves the dashboard behind an ingress, read-only and without TLS. Absent: it does not.",
        examples=[8081],
    )
    web_ingress_token_file: Path | None = Field(
        None,
        description="File with the token that lets everybody who has it read everything at that port. Absent: no token does.",
        examples=["/run/secrets/agentjobs-ingress/token"],
    )
    web_ingress_proxy_secret_file: Path | None = Field(
        None,
        description="File with the secret that the proxy which signs people in sends in X-Agentjobs-Proxy-Secret. Absent: no proxy is "
        "believed.",
        examples=["/run/secrets/agentjobs-ingress/proxy-secret"],
    )
    web_ingress_user_header: str = Field(
        "X-Forwarded-User",
        pattern=HEADER,
        description="Header in which that proxy names the user.",
        examples=["X-Auth-Request-Email"],
    )
    web_ingress_groups_header: str | None = Field(
        None,
        pattern=HEADER,
        description="Header in which that proxy names the user's groups, separated by commas; it must remove a client's own. Absent: "
        "groups are not read.",
        examples=["X-Forwarded-Groups"],
    )
    web_ingress_user_prefix: str = Field(
        "",
        max_length=100,
        description="Put before the user's name, as --oidc-username-prefix of the API server.",
        examples=["oidc:"],
    )
    web_ingress_groups_prefix: str = Field(
        "", max_length=100, description="Put before each group's name.", examples=["oidc:"]
    )
    web_ingress_rights: str = Field(
        "rbac",
        pattern="^(rbac|all)$",
        description="What whoever the proxy names may read: what the cluster's RBAC says, or all, where there is no cluster.",
        examples=["all"],
    )
    web_trace_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s]*\{trace_id\}[^\s]*$",
        description="Address of a trace in your tracing system, with {trace_id} where its id belongs: the dashboard links to it.",
        examples=["https://jaeger.example.com/trace/{trace_id}"],
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
        """The sources in their order: flags, then the environment. ``load`` adds the file as the last."""
        return init_settings, env_settings

    def dsn(self) -> str:
        """The database's URL.

        :raises BadInput: no source has one.
        """
        if self.database_url is None:
            raise BadInput(
                f"No database is named. Set AGENTJOBS_DATABASE_URL ({URL_EXAMPLE}), or "
                "--database-url-file FILE (AGENTJOBS_DATABASE_URL_FILE) with a file that holds it."
            )
        return self.database_url.get_secret_value()

    def direct_dsn(self) -> str | None:
        """The database's URL without a pooler. None: not set."""
        return self.database_direct_url.get_secret_value() if self.database_direct_url else None

    def session_dsn(self) -> str:
        """The URL of the session store: its own, else the database's."""
        return self.session_database_url.get_secret_value() if self.session_database_url else self.dsn()

    def database(self) -> Dsn:
        """``dsn`` for a part that connects more than once: a URL from a file is read again at each
        connect."""
        return _reread(self.dsn(), self.database_url_file)

    def direct_database(self) -> Dsn | None:
        """``direct_dsn``, as ``database`` has ``dsn``."""
        url = self.direct_dsn()
        return None if url is None else _reread(url, self.database_direct_url_file)

    def session_database(self) -> Dsn:
        """``session_dsn``, as ``database`` has ``dsn``."""
        own = self.session_database_url is not None
        return _reread(self.session_dsn(), self.session_database_url_file if own else self.database_url_file)

    def session_dsn_file(self) -> str | None:
        """The file from which ``session_dsn`` came. None: from the environment."""
        own = self.session_database_url is not None
        file = self.session_database_url_file if own else self.database_url_file
        return str(file.absolute()) if file is not None else None


def _reread(url: str, file: Path | None) -> Dsn:
    return url if file is None else DsnFile(file.absolute(), url)


def parse_slots(items: list[str]) -> dict[str, int]:
    """Slots by queue, from items such as ``["agents=10", "scheduled=5"]``."""
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
