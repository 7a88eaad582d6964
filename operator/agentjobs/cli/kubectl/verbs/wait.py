"""``wait``: until jobs have ended, or are in a state."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.filters import FINAL, STATES, cause_of, states_of
from agentjobs.cli.kubectl.waiting import Seen, TimedOut, seen
from agentjobs.cli.kubectl.where import Where
from agentjobs.values.durations import seconds_of

NOT_FINISHED_EXIT_STATUS = 2


def wait(
    where: Where,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="AgentJobs by name.")],
    for_: Annotated[
        str, typer.Option("--for", metavar="STATE", help=f"Finished, or one of {', '.join(STATES)}.")
    ] = "Finished",
    timeout: o.Timeout = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no changes, only the end.")] = False,
) -> None:
    """Wait until jobs have ended, or are in a state.

    \b
    Status 0: all are Complete, or in the state of --for.
    Status 1: one has ended otherwise, or is gone.
    Status 2: --timeout is over, or the command must be mended.
    """
    wanted = frozenset(FINAL) if for_.lower() == "finished" else states_of([for_])
    if not wanted:
        raise BadInput(f"--for: wants Finished or a state, got {for_[:40]!r}.")
    good = frozenset({"Complete"}) if for_.lower() == "finished" else wanted
    with ApiServer.open(where) as server:
        ends = until_ended(server, names, wanted, seconds(timeout), quiet=quiet)
    sys.exit(0 if all(state in good for state in ends.values()) else 1)


def seconds(timeout: str | None) -> float | None:
    """The seconds of ``--timeout``. None: it is not given.

    :raises BadInput: it is no duration.
    """
    if timeout is None:
        return None
    try:
        return float(seconds_of(timeout))
    except ValueError as error:
        raise BadInput(f"--timeout: {error}.") from None


def until_ended(
    server: ApiServer,
    names: Iterable[str],
    wanted: frozenset[str],
    timeout_seconds: float | None,
    *,
    quiet: bool,
) -> dict[str, str]:
    """The state of each job as soon as it is in one of ``wanted``, or has ended otherwise.

    Changes are told on standard error. Ends the process with status 2 where the time is over.
    """
    left = set(names)
    ends: dict[str, str] = {}
    told: dict[str, str] = {}
    try:
        for one in seen(server, frozenset(left), timeout_seconds):
            name = one.job["metadata"]["name"]
            if one.deleted:
                raise Unavailable(f"agentjob {server.namespace}/{name} was deleted while it was waited for.")
            line = change_of(one, f"-n {server.namespace}{server.where.shown()}")
            ending = one.state in wanted or one.state in FINAL
            if line != told.get(name) and name in left and (ending or not quiet):
                typer.echo(line, err=True)
                told[name] = line
            if ending:
                left.discard(name)
                ends[name] = one.state
                if not left:
                    break
    except TimedOut:
        states = ", ".join(sorted(left))
        typer.echo(f"error: not within {timeout_seconds:.0f} s: {states}. Look with: kubectl agentjobs why "
                   f"{min(left)} -n {server.namespace}{server.where.shown()}", err=True)  # fmt: skip
        sys.exit(NOT_FINISHED_EXIT_STATUS)
    return ends


def change_of(one: Seen, flags: str) -> str:
    """The line of a change: name, state, cause, and what a person has to do."""
    status = one.job.get("status") or {}
    name, cause = one.job["metadata"]["name"], cause_of(status)
    line = f"{name}: {one.state or 'not seen by the operator yet'}"
    if cause and cause != one.state:
        line += f" ({cause})"
    if one.state == "InputRequired":
        tool = (status.get("inputRequest") or {}).get("tool", "")
        return f"{line}: asks for {output.printable(str(tool))}; kubectl agentjobs approve {name} {flags}"
    if status.get("message") and one.state not in ("Running", "Complete"):
        line += f": {output.printable(output.cut(str(status['message']), 300))}"
    return line
