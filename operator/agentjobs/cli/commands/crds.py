"""``agentjobs crds``: the definitions of the resources, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def crds(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", "-d", help="Write one file per definition here instead of printing them."
        ),
    ] = None,
) -> None:
    """Print the resource definitions: agentjobs crds | kubectl apply --server-side -f -"""
    from agentjobs.api import crd
    from agentjobs.cli.problems import BadInput

    files = crd.files()
    if directory is None:
        typer.echo("---\n".join(files.values()), nl=False)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
            typer.echo(f"{directory / name}", err=True)
    except OSError as error:
        raise BadInput(f"--directory '{directory}' cannot be written: {error.strerror}.") from None
