"""``result``, ``logs`` and ``transcript``: what the database keeps of a job, read through the runs API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import echo, option
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer, Query
from agentjobs.cli.kubectl.events import followed
from agentjobs.cli.kubectl.reply import RequestRefused
from agentjobs.cli.kubectl.runs_api import LOG, RESULT, TRANSCRIPT, RunsApi
from agentjobs.cli.kubectl.transcript_text import entry_text
from agentjobs.cli.kubectl.where import Where
from agentjobs.web.names import API_VERSION, NO_OBJECT

SOURCES = ("output", "progress")


def result(
    where: Where,
    name: o.Name,
    raw: o.Raw = False,
) -> None:
    """Print a job's whole final answer.

    \b
    kubectl agentjobs result refund --raw > refund.md
    """
    with ApiServer.open(where) as server:
        text, truncated = whole_result(server, name)
    if raw:
        sys.stdout.buffer.write(text.encode(errors="replace"))
        sys.stdout.buffer.flush()
    else:
        echo(output.printable_lines(text))
    if truncated:
        echo(f"{name}: this is not the whole answer: 1 MiB of it is kept.", err=True)


def whole_result(server: ApiServer, name: str) -> tuple[str, bool]:
    """A job's answer, and whether the database itself has cut it. Without the runs API, that of the object, where it is whole.

    :raises Unavailable: the job has none, or its whole answer cannot be had.
    """
    try:
        found = RunsApi(server).get(RESULT, name).json()
        return str(found.get("result") or ""), bool(found.get("truncated"))
    except RequestRefused as missing:
        if server.namespace == NO_OBJECT:
            raise
        reply = server.request("GET", server.path_of(JOBS, name))
        status: dict[str, Any] = (reply.json().get("status") or {}) if reply.ok else {}
        if "result" in status and not status.get("resultTruncated"):
            return str(status["result"]), False
        raise Unavailable(str(missing)) from None


def logs(
    where: Where,
    name: o.Name,
    follow: o.Follow = False,
    attempt: o.Attempt = None,
    source: Annotated[
        str, option(metavar="WHAT", help="output: what runs printed; progress: how far it is.")
    ] = "output",
) -> None:
    """Print what a job's runs have printed: the last 64 KiB of each that has ended, and what the present one prints.

    \b
    kubectl agentjobs logs refund -f --source progress
    """
    if source not in SOURCES:
        raise BadInput(f"--source: {source[:40]!r} is unknown; there are {', '.join(SOURCES)}.")
    query = {"source": source, **({"attempt": str(attempt)} if attempt is not None else {})}
    with ApiServer.open(where) as server:
        api = RunsApi(server)
        if not follow:
            text = api.get(LOG, name, query).body.decode(errors="replace")
            if text:
                echo(output.printable_lines(text), nl=not text.endswith("\n"))
            else:
                echo(nothing_printed(name, attempt), err=True)
            return
        for event in followed(api, LOG, name, {**query, "follow": "true"}):
            echo(output.printable_lines(str(event.json().get("text") or "")))


def nothing_printed(name: str, attempt: int | None) -> str:
    """The line for a job without output."""
    which = "its runs" if attempt is None else f"run {attempt}"
    return f"{name}: no output of {which} is stored: nothing was printed, or the worker died before it could tell it."


def transcript(
    where: Where,
    name: o.Name,
    follow: o.Follow = False,
    whole: o.WholeSession = False,
    form: o.Output = "",
) -> None:
    """Print a job's conversation from its start: what was said, tools' calls and results, tokens."""
    output.checked_object(form)
    if form and follow:
        raise BadInput("-o goes not with -f: a conversation that goes on is no object.")
    scope = {"scope": "session"} if whole else {}
    with ApiServer.open(where) as server:
        api = RunsApi(server)
        if follow:
            for event in followed(api, LOG, name, {**scope, "source": "transcript", "follow": "true"}):
                echo(entry_text(event.json()))
            return
        entries = _entries(api, name, scope)
        if form:
            page = {
                "apiVersion": API_VERSION,
                "kind": "RunTranscript",
                "metadata": {},
                "items": list(entries),
            }
            echo(output.written(form, page))
            return
        n = 0
        for n, entry in enumerate(entries, 1):  # noqa: B007
            echo(entry_text(entry))
    if not n:
        echo(f"{name}: nothing was said yet.", err=True)


def _entries(api: RunsApi, name: str, scope: Query) -> Iterator[dict[str, Any]]:
    """The entries of all pages. A page may be empty although another follows."""
    asked = dict(scope)
    while True:
        page = api.get(TRANSCRIPT, name, asked).json()
        yield from page.get("items") or ()
        token = str((page.get("metadata") or {}).get("continue") or "")
        if not token or token == asked.get("after"):
            return
        asked["after"] = token
