"""``agentjobs operator``: carry AgentJobs from Kubernetes to the queue, and their states back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentjobs.cli.commands.options import Config, DatabaseUrlFile, HealthPort, LogLevel, Name


def operator(
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            help="A namespace to watch, may be repeated. None: all. One that cannot be watched stops no other: /readyz tells."
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="A kubeconfig. Default: the pod's own account, else ~/.kube/config.")
    ] = None,
    default_ttl_seconds: Annotated[
        int | None,
        typer.Option(help="Delete objects without ttlSecondsAfterFinished this long after they finish."),
    ] = None,
    status_output: Annotated[
        bool | None,
        typer.Option(
            "--status-output",
            help="Show the last 1 KiB of what the last run printed in the object's status: whoever may read the object reads it.",
        ),
    ] = None,
    health_port: HealthPort = None,
    name: Name = None,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
    log_level: LogLevel = None,
) -> None:
    """Carry AgentJobs from Kubernetes to the queue, and their states back, until SIGTERM."""
    from agentjobs.cli.errors import need_extra
    from agentjobs.cli.settings_sources import load

    settings = load(
        {
            "namespaces": namespace,
            "kubeconfig": kubeconfig,
            "default_ttl_seconds": default_ttl_seconds,
            "status_output": status_output,
            "health_port": health_port,
            "name": name,
            "database_url_file": database_url_file,
            "log_level": log_level,
        },
        config,
    )
    settings.dsn()
    need_extra("operator", "kopf", "The operator")

    from agentjobs.cli.run_parts import start_operator

    sys.exit(start_operator(settings))
