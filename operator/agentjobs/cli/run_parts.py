"""Parts that run: a worker or an operator, started from the settings.

Each function imports only its own part.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agentjobs.cli.env_files import refuse_env_files
from agentjobs.cli.errors import BadInput
from agentjobs.cli.pid1 import with_pid1_duties
from agentjobs.cli.settings import Settings
from agentjobs.cli.settings_sources import misspelt_variables
from agentjobs.telemetry import log as logs

if TYPE_CHECKING:
    from agentjobs.controller.runs_api.settings import RunsApiSettings
    from agentjobs.web.server import IngressConfig

log = logging.getLogger("agentjobs")


def _credential_key_file(settings: Settings) -> str | None:
    """The file with the keys of credentials, read once, so that a wrong one ends the worker and not its jobs. Raises ValueError."""
    if settings.credential_key_file is None:
        return None
    from agentjobs.values.sealing import keys_of

    keys_of(settings.credential_key_file)
    return str(settings.credential_key_file.absolute())


def start_worker(settings: Settings) -> int:
    """Runs a worker until it is stopped. Returns its exit status."""
    import uvloop

    from agentjobs import __version__
    from agentjobs.agents.definition.settings import AgentSettings
    from agentjobs.cli.services import check_services, with_services
    from agentjobs.worker.supervisor.config import WorkerConfig
    from agentjobs.worker.supervisor.supervisor import run_worker

    if not settings.allow_env_files:
        refuse_env_files(settings.path, settings.modules, settings.pool)
    try:
        agents = AgentSettings(
            modules=settings.modules,
            models=settings.models,
            preload=settings.preload,
            session_dsn=settings.session_dsn(),
            session_dsn_file=settings.session_dsn_file(),
            model_timeout_seconds=settings.model_timeout_seconds,
            tool_threads=settings.tool_threads,
            artifact_limit_mib=settings.artifact_limit_mib,
            session_artifacts_limit_mib=settings.session_artifacts_limit_mib,
            credential_key_file=_credential_key_file(settings),
            tracebacks=settings.tracebacks,
            pool=settings.pool,
            local=settings.local,
        )
        agents = with_services(
            agents, settings.path, settings.artifact_service_uri, settings.memory_service_uri
        )
        if not settings.local:  # `agentjobs local` has done it before it started anything
            check_services(agents, settings.path)
        config = WorkerConfig(
            dsn=settings.database(),
            direct_dsn=settings.direct_database(),
            queues=settings.queues,
            settings=agents,
            name=settings.name or socket.gethostname(),
            pool=settings.pool,
            drain_seconds=settings.drain_seconds,
            stop_grace_seconds=settings.stop_grace_seconds,
            lease_grace_seconds=settings.lease_grace_seconds,
            poll_seconds=settings.poll_seconds,
            health_port=settings.health_port,
            memory_limit_mib=settings.memory_limit_mib,
            model_health=settings.model_health,
            standbys=settings.standbys,
            path=settings.path,
            signal_modules=settings.signal_modules,
            version=__version__,
        )
    except ValueError as error:
        raise BadInput(str(error)) from None
    # uvloop is safe here: the supervisor forks nothing, since executors come from the template process
    return _run(run_worker(config), settings, uvloop.run)


def start_operator(settings: Settings) -> int:
    """Runs an operator until it is stopped. Returns its exit status."""
    from agentjobs.controller.agentjob.readable_kinds import ReadableKinds
    from agentjobs.controller.config import LeaseSettings, OperatorConfig
    from agentjobs.controller.kit.queue_access import QueueAccess
    from agentjobs.controller.operator import run_operator

    config = OperatorConfig(
        dsn=settings.database(),
        direct_dsn=settings.direct_database(),
        kubeconfig=str(settings.kubeconfig) if settings.kubeconfig else None,
        namespaces=settings.namespaces,
        queue_access={
            queue: QueueAccess(rule.namespaces, rule.best_priority)
            for queue, rule in settings.queue_access.items()
        },
        readable_kinds=ReadableKinds(settings.input_config_maps, settings.input_secrets),
        default_ttl_seconds=settings.default_ttl_seconds,
        status_output=settings.status_output,
        restored_label=settings.restored_label or None,
        mass_vanish_limit=settings.mass_vanish_limit,
        lease=LeaseSettings(settings.lease_namespace, settings.lease_name),
        runs_api=runs_api_settings(settings),
        health_port=settings.health_port,
    )
    if settings.name:
        config = replace(config, name=settings.name)
    # asyncio's own loop. uvloop takes up to a quarter less CPU, but aborts the process when a connection of
    # aiohttp's is refused or reset while it is made, as by an API server that restarts (libuv/libuv#5129).
    return _run(run_operator(config), settings)


def withdraw_runs_api(settings: Settings, wait_seconds: float) -> str:
    """Takes the runs API out of the cluster, and has operators leave it so. Returns what was done, in words."""
    from agentjobs.controller.runs_api.withdrawal import withdraw

    runs_api = runs_api_settings(settings)
    if runs_api is None:
        raise BadInput("No Service is named. Set --service NAMESPACE/NAME (AGENTJOBS_RUNS_API_SERVICE).")
    logs.configure(settings.log_level, json=settings.log_format == "json")
    return asyncio.run(
        withdraw(str(settings.kubeconfig) if settings.kubeconfig else None, runs_api, wait_seconds)
    )


def runs_api_settings(settings: Settings) -> RunsApiSettings | None:
    """Which runs API the operator registers; None: none."""
    from agentjobs.controller.runs_api.settings import RunsApiSettings

    if settings.runs_api_service is None:
        return None
    namespace, _, service = settings.runs_api_service.partition("/")
    made = RunsApiSettings(
        namespace=namespace,
        service=service,
        secret=settings.runs_api_secret or f"{service}-tls",
        port=settings.runs_api_port,
        wanted=not settings.runs_api_off,
        makes_certificates=settings.runs_api_certificates,
    )
    return replace(made, look_seconds=30.0) if settings.runs_api_off else made


def start_web(settings: Settings) -> int:
    """Runs the runs API until it is stopped. Returns its exit status."""
    from agentjobs.agents.sessions.erase import erase_sessions
    from agentjobs.agents.sessions.url import libpq_url
    from agentjobs.web.server import WebConfig, run_web

    sessions = settings.session_database()
    try:
        libpq_url(settings.session_dsn())
    except ValueError as error:
        raise BadInput(str(error)) from None
    config = WebConfig(
        dsn=settings.database(),
        direct_dsn=settings.direct_database(),
        tls_folder=settings.web_tls_dir,
        port=settings.web_port,
        ingress=ingress_config(settings),
        trace_url=settings.web_trace_url or "",
        kubeconfig=str(settings.kubeconfig) if settings.kubeconfig else None,
        health_port=settings.health_port,
        session_dsn=sessions,
        erase_sessions=partial(erase_sessions, sessions),
    )
    return _run(run_web(config), settings)


def ingress_config(settings: Settings) -> IngressConfig | None:
    """The ingress door; None: it is shut.

    :raises BadInput: nobody could come in, or a file has no secret.
    """
    from agentjobs.web.ingress import IngressDoor, SecretFile, SecretInvalid, TrustedProxy
    from agentjobs.web.server import IngressConfig

    token, secret = settings.web_ingress_token_file, settings.web_ingress_proxy_secret_file
    if settings.web_ingress_port is None:
        if token or secret:
            raise BadInput(
                "web_ingress_token_file and web_ingress_proxy_secret_file need AGENTJOBS_WEB_INGRESS_PORT."
            )
        return None
    if token is None and secret is None:
        raise BadInput(
            "At the ingress' port nobody could come in. Set AGENTJOBS_WEB_INGRESS_PROXY_SECRET_FILE or "
            "AGENTJOBS_WEB_INGRESS_TOKEN_FILE."
        )
    proxy = TrustedProxy(
        SecretFile(secret),
        settings.web_ingress_user_header,
        settings.web_ingress_groups_header,
        settings.web_ingress_user_prefix,
        settings.web_ingress_groups_prefix,
    ) if secret else None  # fmt: skip
    door = IngressDoor(proxy, SecretFile(token) if token else None)
    try:
        door.check()
    except SecretInvalid as error:
        raise BadInput(str(error)) from None
    return IngressConfig(door, settings.web_ingress_port, reviewed=settings.web_ingress_rights == "rbac")


def _run(
    part: Coroutine[Any, Any, int],
    settings: Settings,
    run: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run,
) -> int:
    logs.configure(settings.log_level, json=settings.log_format == "json")
    for warning in misspelt_variables(os.environ):
        log.warning(warning)
    return run(with_pid1_duties(part))
