"""``wait``: until jobs have ended, or are in a state."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.flags import argument, echo
from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import ApiServer
from agentjobs.cli.kubectl.filters import FINAL, cause_of, states_of
from agentjobs.cli.kubectl.waiting import Seen, TimedOut, let_retries_begin, seen
from agentjobs.cli.kubectl.where import Where
from agentjobs.values.durations import seconds_of

NOT_FINISHED_EXIT_STATUS = 2
BEGIN_SECONDS = 20.0
"""How long a job whose retry was asked for after its end may take to begin it. Longer: no operator takes it up, and its end counts."""


def wait(
    where: Where,
    names: Annotated[list[str], argument(metavar="NAME...", help="AgentJobs by name.")],
    for_: o.For = "Finished",
    timeout: o.Timeout = None,
    quiet: o.Quiet = False,
) -> None:
    """Wait until jobs have ended, or are in a state.

    \b
    Status 0: all are Complete, or in the state of --for.
    Status 1: one has ended otherwise, or is gone.
    Status 2: --timeout is over, or the command must be mended.
    """
    wanted, good = states_for(for_)
    limit = seconds(timeout)
    with ApiServer.open(where) as server:
        took = let_retries_begin(
            server, frozenset(names), BEGIN_SECONDS if limit is None else min(BEGIN_SECONDS, limit)
        )
        left = None if limit is None else max(0.0, limit - took)
        ends = until_ended(server, names, wanted, left, quiet=quiet)
    sys.exit(0 if all(state in good for state in ends.values()) else 1)


def states_for(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The states that ``--for`` waits for, and those of them that are a success.

    :raises BadInput: it names none.
    """
    if text.lower() == "finished":
        return FINAL, frozenset({"Complete"})
    if not (wanted := states_of([text])):
        raise BadInput(f"--for: wants Finished or a state, got {text[:40]!r}.")
    return wanted, wanted


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
    flags = f"-n {server.namespace}{server.where.shown()}"
    names = frozenset(names)
    return ends_of(
        seen(server, names, timeout_seconds),
        names,
        wanted,
        Told(f"agentjob {server.namespace}/", "kubectl agentjobs {verb} {name} " + flags, quiet),
        timeout_seconds,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """How changes are told."""

    kind: str
    """Before a job's name."""
    command: str
    """A command for the user, with a place for verb and name."""
    quiet: bool

    def type(self, verb: str, name: str) -> str:
        """The command of a verb."""
        return self.command.format(verb=verb, name=name)


def ends_of(
    changes: Iterable[Seen],
    names: Iterable[str],
    wanted: frozenset[str],
    how: Told,
    timeout_seconds: float | None,
) -> dict[str, str]:
    """The state of each job as soon as it is in one of ``wanted``, or has ended otherwise.

    Changes are told on standard error. Ends the process with status 2 where the time is over.
    """
    left = set(names)
    ends: dict[str, str] = {}
    told: dict[str, str] = {}
    try:
        for one in changes:
            name = one.job["metadata"]["name"]
            if name not in left:  # it had ended: a history limit may delete it, or a retry run it once more
                continue
            if one.deleted:
                raise Unavailable(f"{how.kind}{name} was deleted while it was waited for.")
            line = change_of(one, how)
            ending = one.state in wanted or one.state in FINAL
            if line != told.get(name) and (ending or not how.quiet):
                echo(line, err=True)
                told[name] = line
            if ending:
                left.discard(name)
                ends[name] = one.state
                if not left:
                    break
    except TimedOut:
        states = ", ".join(sorted(left))
        echo(
            f"error: not within {timeout_seconds:.0f} s: {states}. Look with: {how.type('why', min(left))}",
            err=True,
        )
        sys.exit(NOT_FINISHED_EXIT_STATUS)
    return ends


def change_of(one: Seen, how: Told) -> str:
    """The line of a change: name, state, cause, and what a person has to do."""
    status = one.job.get("status") or {}
    name, cause = one.job["metadata"]["name"], cause_of(status)
    line = f"{name}: {one.state or 'not seen by the operator yet'}"
    line += output.in_brackets(one.state, cause)
    if one.state == "InputRequired":
        request = status.get("inputRequest") or {}
        verb = "answer" if request.get("kind") else "approve"
        return output.printable(f"{line}: asks for {request.get('tool', '')}; {how.type(verb, name)}")
    if status.get("message") and one.state not in ("Running", "Complete"):
        line += f": {output.cut(str(status['message']), 300)}"
    return output.printable(line)
