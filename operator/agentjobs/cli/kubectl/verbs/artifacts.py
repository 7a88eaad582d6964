"""``artifacts`` and ``cp``: the files that a job's agents have saved, read through the runs API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import argument, echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.output import Column, age
from agentjobs.cli.kubectl.runs_api import ARTIFACTS, RunsApi
from agentjobs.cli.kubectl.where import Where
from agentjobs.values.file_names import local_names
from agentjobs.web.names import API_VERSION


def artifacts(where: Where, name: o.Name, form: o.Output = "") -> None:
    """List the files that the agents of a job's session have saved, with their newest versions.

    \b
    kubectl agentjobs artifacts refund
    """
    output.checked_object(form)
    with ApiServer.open(where) as server:
        found = list(files(RunsApi(server), name))
        now = server.now()
    if form:
        page = {"apiVersion": API_VERSION, "kind": "RunArtifacts", "metadata": {}, "items": found}
        echo(output.written(form, page))
        return
    if not found:
        echo(f"{name}: its agents have saved no files.", err=True)
        return
    elsewhere = any(file.get("address") for file in found)
    columns = [
        Column("NAME", lambda file: output.printable(str(file.get("name") or "")), shrinks=True),
        Column("VERSION", lambda file: str(file.get("version") or 0)),
        Column("TYPE", lambda file: output.printable(str(file.get("type") or "")), shrinks=True),
        Column("BYTES", lambda file: str(file.get("bytes") or 0)),
        Column("AGE", lambda file: age(file.get("time"), now)),
        *(
            [Column("AT", lambda file: output.printable(str(file.get("address") or "")), shrinks=True)]
            if elsewhere
            else ()
        ),
    ]
    echo(output.table(columns, found, width=output.terminal_width()))


def cp(
    where: Where,
    source: Annotated[
        str, argument(metavar="NAME[:FILE]", help="The AgentJob, and one of its files. Default: all of them.")
    ],
    folder: Annotated[
        str, argument(metavar="DIR", help="The folder to copy to; it is made where it is missing.")
    ],
    version: Annotated[
        int | None, option(metavar="N", min=0, help="Of FILE, this version. Default: the newest.")
    ] = None,
) -> None:
    """Copy files that the agents of a job's session have saved to this machine.

    \b
    kubectl agentjobs cp refund:report.pdf .
    """
    name, _, file = source.partition(":")
    if not name:
        raise BadInput(f"{source[:80]!r}: NAME or NAME:FILE is wanted, such as refund:report.pdf.")
    if version is not None and not file:
        raise BadInput("--version: of which file? Name it: NAME:FILE.")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with ApiServer.open(where) as server:
        api = RunsApi(server)
        found = [] if file else list(files(api, name))
        wanted = [file] if file else [str(one["name"]) for one in found if not one.get("address")]
        for listed in found:
            if address := listed.get("address"):
                told = f"{listed.get('name')}: not copied: its content is kept at {address}."
                echo(output.printable(told), err=True)
        if not wanted and not found:
            echo(f"{name}: its agents have saved no files.", err=True)
        for one, local in local_names(wanted).items():
            query = {"file": one, **({"version": str(version)} if version is not None else {})}
            place = target / local
            place.write_bytes(api.get(ARTIFACTS, name, query).body)
            echo(str(place))


def files(api: RunsApi, name: str) -> Iterator[dict[str, Any]]:
    """The files of all pages."""
    asked: dict[str, str] = {}
    while True:
        page = api.get(ARTIFACTS, name, asked).json()
        yield from page.get("items") or ()
        if not (token := str((page.get("metadata") or {}).get("continue") or "")):
            return
        asked["continue"] = token
