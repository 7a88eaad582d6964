"""``agentjobs web``: serve the runs API, to the API server, behind an ingress, or to an administrator on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentjobs.cli.commands.options import Config, DatabaseUrlFile, HealthPort, LogLevel, Name


def web(
    tls_dir: Annotated[
        Path | None,
        typer.Option(
            help="A folder with tls.crt and tls.key: serve to the API server, with TLS. None: to this machine, by a secret link."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve at. Default: 10250.")] = None,
    ingress_port: Annotated[
        int | None,
        typer.Option(
            help="Port for an ingress, read-only; needs a token's or a proxy secret's file. [AGENTJOBS_WEB_INGRESS_PORT]"
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="A kubeconfig. Default: the pod's own account, else ~/.kube/config.")
    ] = None,
    health_port: HealthPort = None,
    name: Name = None,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
    log_level: LogLevel = None,
) -> None:
    """Serve the runs API until SIGTERM."""
    from agentjobs.cli.errors import need_extra
    from agentjobs.cli.settings_sources import load

    settings = load(
        {
            "web_tls_dir": tls_dir,
            "web_port": port,
            "web_ingress_port": ingress_port,
            "kubeconfig": kubeconfig,
            "health_port": health_port,
            "name": name,
            "database_url_file": database_url_file,
            "log_level": log_level,
        },
        config,
    )
    settings.dsn()
    for module in ("uvicorn", "starlette", "jinja2"):
        need_extra("web", module, "The runs API")

    from agentjobs.cli.run_parts import start_web

    sys.exit(start_web(settings))
