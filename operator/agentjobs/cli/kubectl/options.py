"""Flags that several verbs have, besides those of ``where``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from agentjobs.cli.flags import argument, option
from agentjobs.cli.kubectl.filters import JobFilter, since_of, states_of

Names = Annotated[list[str] | None, argument(metavar="NAME...", help="AgentJobs by name.")]
Name = Annotated[str, argument(metavar="NAME", help="The AgentJob.")]
State = Annotated[
    list[str] | None,
    option(metavar="STATE", help="In this state; may be repeated, or parted by commas."),
]
Reason = Annotated[
    str,
    option(metavar="REASON", help="With this reason, such as ModelTimeout, or with it in the last attempt."),
]
Queue = Annotated[str, option(metavar="QUEUE", help="Of this queue.")]
Agent = Annotated[
    str, option(metavar="AGENT", help="Of this module or inline agent; * stands for any characters.")
]
Model = Annotated[
    str, option(metavar="MODEL", help="Of inline agents with this model; * stands for any characters.")
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


def filter_of(
    now: datetime,
    state: list[str] | None,
    reason: str,
    queue: str,
    agent: str,
    model: str,
    user: str,
    session: str,
    since: str | None,
    selector: str,
) -> JobFilter:
    """The filter that these flags describe.

    :raises BadInput: a state is unknown, or ``--since`` is no time.
    """
    return JobFilter(
        states_of(state), reason, queue, agent, model, user, session, since_of(since, now), selector
    )
