"""``agentjobs worker``: claim jobs from the queues and run their agents."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agentjobs.cli.commands.options import Config, DatabaseUrlFile, HealthPort, LogLevel, Name


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(help="QUEUE=SLOTS, may be repeated: how many jobs of each queue to run at once."),
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option(
            help="A Python module whose agents may run here, may be repeated. None: only inline agents."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model that inline agents may use, as a pattern (gemini-*), may be repeated."),
    ] = None,
    preload: Annotated[
        list[str] | None, typer.Option(help="A module to import once, before the first job, may be repeated.")
    ] = None,
    drain_seconds: Annotated[
        int | None, typer.Option(help="After SIGTERM, how long running jobs may finish. Default: 300.")
    ] = None,
    health_port: HealthPort = None,
    memory_limit_mib: Annotated[
        int | None, typer.Option(help="Memory that one job may take, in MiB. Default: no limit.")
    ] = None,
    tool_threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of a run for its synchronous tools. Default: 0, one after the other as ADK does it."
        ),
    ] = None,
    pool: Annotated[str | None, typer.Option(help="Name of the worker pool. Default: default.")] = None,
    name: Name = None,
    config: Config = None,
    database_url_file: DatabaseUrlFile = None,
    log_level: LogLevel = None,
) -> None:
    """Claim jobs from the queues and run their agents, until SIGTERM."""
    from agentjobs.cli.errors import need_extra, need_linux
    from agentjobs.cli.settings_sources import load

    settings = load(
        {
            "queues": queue,
            "modules": module,
            "models": model,
            "preload": preload,
            "drain_seconds": drain_seconds,
            "health_port": health_port,
            "memory_limit_mib": memory_limit_mib,
            "tool_threads": tool_threads,
            "pool": pool,
            "name": name,
            "database_url_file": database_url_file,
            "log_level": log_level,
        },
        config,
    )
    settings.dsn()
    need_linux(sys.platform, "A worker")
    need_extra("worker", "google.adk", "A worker")

    from agentjobs.cli.run_parts import start_worker

    sys.exit(start_worker(settings))
