"""``agentjobs withdraw``: take the runs API out of the cluster, before its Service goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentjobs.cli.commands.options import Config, LogLevel


def withdraw(
    service: Annotated[
        str | None,
        typer.Option(metavar="NAMESPACE/NAME", help="The Service that serves the runs API."),
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option(help="How long to try where the API server refuses.", min=0)
    ] = 20,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="A kubeconfig. Default: the pod's own account, else ~/.kube/config.")
    ] = None,
    config: Config = None,
    log_level: LogLevel = None,
) -> None:
    """Delete the APIService of the runs API, and keep operators from registering it again.

    They begin anew when the annotation agentjobs.dev/registration of the Service is removed.
    """
    from agentjobs.cli.errors import Unavailable, need_extra
    from agentjobs.cli.settings_sources import load

    settings = load({"runs_api_service": service, "kubeconfig": kubeconfig, "log_level": log_level}, config)
    need_extra("operator", "kopf", "Withdrawing the runs API")

    from agentjobs.cli.run_parts import withdraw_runs_api
    from agentjobs.controller.apiserver.errors import ApiUnavailable

    try:
        typer.echo(withdraw_runs_api(settings, wait_seconds))
    except ApiUnavailable as problem:
        raise Unavailable(f"The runs API is not withdrawn: {problem}") from None
