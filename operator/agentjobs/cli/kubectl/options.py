"""Flags that several verbs have, besides those of ``where``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from agentjobs.cli.errors import BadInput
from agentjobs.cli.flags import argument, option
from agentjobs.cli.kubectl.filters import STATES, JobFilter, since_of, states_of
from agentjobs.values.durations import seconds_of

Names = Annotated[
    list[str] | None,
    argument(metavar="NAME...", help="AgentJobs by name, also as kubectl get -o name prints them."),
]
Name = Annotated[str, argument(metavar="NAME", help="The AgentJob.")]
State = Annotated[
    list[str] | None,
    option(metavar="STATE", help="In this state; may be repeated, or parted by commas."),
]
Reason = Annotated[
    str,
    option(metavar="REASON", help="With this reason, such as ModelTimeout."),
]
Queue = Annotated[str, option(metavar="QUEUE", help="Of this queue.")]
Agent = Annotated[
    str,
    option(
        metavar="AGENT", help="Of this module or inline agent; in a cluster, * stands for any characters."
    ),
]
Model = Annotated[
    str,
    option(
        metavar="MODEL", help="Of inline agents with this model; in a cluster, * stands for any characters."
    ),
]
User = Annotated[str, option(metavar="ID", help="Of this userID.")]
Session = Annotated[str, option(metavar="ID", help="Of this session.")]
Since = Annotated[str | None, option(metavar="TIME", help="Created or ended since: 2h, or an RFC 3339 time.")]
Selector = Annotated[str, option("--selector", "-l", metavar="LABELS", help="With these labels.")]
Everywhere = Annotated[bool, option("--all-namespaces", "-A", help="In all namespaces.")]
Output = Annotated[
    str, option("--output", "-o", metavar="FORM", help="wide, json, yaml, name or jsonpath=TEMPLATE.")
]
NoHeaders = Annotated[bool, option("--no-headers", help="Leave out the headings.")]
Yes = Annotated[bool, option("--yes", "-y", help="Do not ask for confirmation.")]
Timeout = Annotated[
    str | None,
    option(metavar="TIME", help="Give up after this time, such as 10m; status 2. Default: never."),
]
Because = Annotated[str, option(metavar="TEXT", help="Why, for the audit.")]
All = Annotated[bool, option("--all", help="All jobs of the namespace that the act is for.")]
DryRun = Annotated[bool, option("--dry-run", help="Tell how many and which, and change nothing.")]
Spread = Annotated[
    str | None,
    option(metavar="TIME", help="Spread the requests evenly over this time, such as 10m: no storm."),
]
Follow = Annotated[bool, option("--follow", "-f", help="Go on until the job has ended.")]
Attempt = Annotated[int | None, option(metavar="N", min=1, help="Only of this run, as `why` numbers them.")]
WholeSession = Annotated[bool, option("--session", help="What the session's other jobs have said, too.")]
Raw = Annotated[bool, option("--raw", help="Byte for byte, also what would steer a terminal.")]
For = Annotated[str, option("--for", metavar="STATE", help=f"Finished, or one of {', '.join(STATES)}.")]
Quiet = Annotated[bool, option("--quiet", "-q", help="Print no changes, only the end.")]
Interval = Annotated[int, option(metavar="SECONDS", min=1, max=3600, help="Between two looks.")]
Once = Annotated[bool, option("--once", help="Look once; so it is where there is no terminal.")]


@dataclass(frozen=True, slots=True)
class Meant:
    """The flags that say which jobs are meant; the same in a cluster and on a database."""

    state: State = None
    reason: Reason = ""
    queue: Queue = ""
    agent: Agent = ""
    model: Model = ""
    user: User = ""
    session: Session = ""
    since: Since = None

    def filter(self, now: datetime, selector: str = "") -> JobFilter:
        """The filter that these flags describe.

        :raises BadInput: a state is unknown, or ``--since`` is no time.
        """
        return JobFilter(
            states_of(self.state),
            self.reason,
            self.queue,
            self.agent,
            self.model,
            self.user,
            self.session,
            since_of(self.since, now),
            selector,
        )


@dataclass(frozen=True, slots=True)
class Acting:
    """The flags of an act on one job or many."""

    all_: All = False
    because: Because = ""
    spread: Spread = None
    dry_run: DryRun = False
    yes: Yes = False

    @property
    def spread_seconds(self) -> int:
        """The seconds of ``--spread``; 0: it is not given.

        :raises BadInput: it is no duration.
        """
        return spread_of(self.spread)


def spread_of(text: str | None) -> int:
    """The seconds of ``--spread``; 0: it is not given.

    :raises BadInput: it is no duration.
    """
    try:
        return seconds_of(text) if text else 0
    except ValueError as error:
        raise BadInput(f"--spread: {error}.") from None
