"""Flags that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        help="A YAML file of settings; flags and AGENTJOBS_* variables go before it. [AGENTJOBS_CONFIG]"
    ),
]
DatabaseUrlFile = Annotated[
    Path | None,
    typer.Option(
        help="A file that holds the database's URL; else AGENTJOBS_DATABASE_URL. (Never a flag: ps would show it.)"
    ),
]
HealthPort = Annotated[
    int | None, typer.Option(help="Port for /healthz, /readyz and /metrics. [AGENTJOBS_HEALTH_PORT]")
]
Name = Annotated[
    str | None, typer.Option(help="Name of this process in statuses and logs. Default: the host's name.")
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error. [AGENTJOBS_LOG_LEVEL]")]
