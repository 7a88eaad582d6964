"""``agentjobs crds``: the CRDs of both kinds, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def crds(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", "-d", help="Write one file per CRD into this folder instead of printing them."
        ),
    ] = None,
) -> None:
    """Print the CRDs: agentjobs crds | kubectl apply --server-side -f -"""
    from agentjobs.api import crd
    from agentjobs.cli.errors import BadInput

    if directory is None:
        typer.echo("---\n".join(crd.as_yaml(each) for each in crd.crds()), nl=False)
        return
    try:
        for path in crd.write(directory):
            typer.echo(f"{path}", err=True)
    except OSError as error:
        raise BadInput(f"--directory '{directory}' cannot be written: {error.strerror}.") from None
