"""``list``: AgentJobs by what a user names. Apart from ``look``, since it is typed most and should start fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agentjobs.cli.kubectl import options as o
from agentjobs.cli.kubectl import output
from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.filters import agent_of, cause_of, model_of
from agentjobs.cli.kubectl.output import Column
from agentjobs.cli.kubectl.where import Where

JsonObject = Mapping[str, Any]


def columns(now: datetime, *, everywhere: bool) -> list[Column]:
    """The columns of the list; those of ``kubectl get``, with the cause for the reason."""

    def status(key: str) -> Any:
        return lambda job: str((job.get("status") or {}).get(key) or "")

    def spec(key: str) -> Any:
        return lambda job: str((job.get("spec") or {}).get(key, ""))

    def usage(job: JsonObject) -> str:
        return str(((job.get("status") or {}).get("usage") or {}).get("totalTokens") or "")

    return [
        *([Column("NAMESPACE", lambda job: job["metadata"]["namespace"])] if everywhere else []),
        Column("NAME", lambda job: job["metadata"]["name"], shrinks=True),
        Column("QUEUE", spec("queue"), shrinks=True),
        Column("STATE", status("state")),
        Column("REASON", lambda job: cause_of(job.get("status") or {}), shrinks=True),
        Column("ATTEMPTS", lambda job: str((job.get("status") or {}).get("attempts", ""))),
        Column("DURATION", status("duration")),
        Column("AGE", lambda job: output.age(job["metadata"].get("creationTimestamp"), now)),
        Column("AGENT", lambda job: agent_of(job.get("spec") or {}), wide=True, shrinks=True),
        Column("MODEL", lambda job: model_of(job.get("spec") or {}), wide=True, shrinks=True),
        Column("USER", spec("userID"), wide=True, shrinks=True),
        Column("SESSION", status("sessionID"), wide=True, shrinks=True),
        Column("PRIORITY", spec("priority"), wide=True),
        Column("WORKER", status("worker"), wide=True, shrinks=True),
        Column("TOKENS", usage, wide=True),
        Column("NEXT", lambda job: output.in_future((job.get("status") or {}).get("nextAttemptTime"), now), wide=True),
        Column("MESSAGE", lambda job: output.cut(status("message")(job), 120), wide=True, shrinks=True),
    ]  # fmt: skip


def list_jobs(
    where: Where,
    *,
    meant: o.Meant,
    selector: o.Selector = "",
    everywhere: o.Everywhere = False,
    form: o.Output = "",
    no_headers: o.NoHeaders = False,
) -> None:
    """List AgentJobs, the newest first.

    REASON is what went wrong last, also of a job whose attempts are used up.
    """
    output.checked(form)
    with ApiServer.open(where) as server:
        wanted = meant.filter(server.now(), selector)
        found = [
            job for job in server.list(JOBS, wanted.query(), everywhere=everywhere) if wanted.matches(job)
        ]
        now = server.now()
    found.sort(key=lambda job: job["metadata"]["name"])
    found.sort(key=lambda job: job["metadata"].get("creationTimestamp") or "", reverse=True)
    scope = "any namespace" if everywhere else f"namespace {server.namespace}"
    words = f" with {wanted.words()}" if not wanted.empty else ""
    none = f"No agentjobs in {scope}{words}."
    print_jobs(found, columns(now, everywhere=everywhere), form, no_headers=no_headers, none=none)


def print_jobs(
    jobs: Sequence[JsonObject], shown: Sequence[Column], form: str, *, no_headers: bool, none: str
) -> None:
    """Prints jobs in the form of ``-o``; ``none`` is told where there are none."""

    def state(job: JsonObject) -> str:
        return str((job.get("status") or {}).get("state", ""))

    output.print_list("AgentJobList", jobs, shown, form, no_headers=no_headers, none=none, state=state)
