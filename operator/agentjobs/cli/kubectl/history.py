"""All ended runs of a job, and the end of what the last one printed, as the runs API tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.filters import time_of
from agentjobs.cli.kubectl.reply import RequestRefused
from agentjobs.cli.kubectl.runs_api import ATTEMPTS, LOG, RunsApi, RunsApiMissing
from agentjobs.values.durations import duration_text

OUTPUT_LINES = 10
"""Lines of output that ``why`` shows."""
RUNS_OF, OUTPUT = "earlier runs", "output"
"""What a history is of, for a sentence."""
JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run that has ended."""

    number: int
    """Number of the run in all rounds; where only the object tells of it, of the attempt in its round."""
    reason: str
    message: str
    ended: str
    took: str
    charged: bool | None = None
    """Whether it counts as an attempt. None: the object does not tell."""
    round: int = 0
    """0: the object does not tell."""
    next: str = ""
    """When the job was due again after it. Empty: not at all, or the object does not tell."""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """What the database keeps of a job's runs."""

    runs: Sequence[Run] | None = None
    """None: it could not be asked."""
    output: Sequence[str] = ()
    """The last lines of the last run that has printed something."""
    missing: Sequence[tuple[str, Unavailable]] = ()
    """What could not be asked, and why."""


def history_of(api: RunsApi, job: JsonObject) -> History:
    """The history of an object's job.

    :raises RunsApiMissing: there is no runs API.
    """
    name, uid = str(job["metadata"]["name"]), str(job["metadata"]["uid"])
    try:
        items: list[dict[str, Any]] = api.get(ATTEMPTS, name, {"uid": uid}).json().get("items") or []
    except RunsApiMissing:
        raise
    except RequestRefused as error:
        if error.reply.status == 404:  # the database does not know the job
            return History()
        return History(missing=[(f"{RUNS_OF} and {OUTPUT}", error)])
    except Unavailable as error:
        return History(missing=[(f"{RUNS_OF} and {OUTPUT}", error)])
    runs = [run_of(item) for item in items]
    printed = [item for item in items if item.get("logBytes")]
    if not printed:
        return History(runs)
    try:
        query = {"uid": uid, "attempt": str(printed[-1].get("run"))}
        lines = api.get(LOG, name, query).body.decode(errors="replace").splitlines()
    except Unavailable as error:
        return History(runs, missing=[(OUTPUT, error)])
    return History(runs, end_of_output(lines, int(printed[-1].get("run") or 0), runs))


def end_of_output(lines: Sequence[str], run: int, runs: Sequence[Run]) -> Sequence[str]:
    """The last lines of what a run has printed, and which run it was, where later ones have printed nothing."""
    end = lines[-OUTPUT_LINES:]
    return end if not runs or runs[-1].number == run else [f"(run {run})", *end]


def run_of(item: JsonObject) -> Run:
    """A run as the runs API tells it."""
    started, ended = time_of(item.get("startTime")), time_of(item.get("endTime"))
    return Run(
        int(item.get("run") or 0),
        str(item.get("reason") or item.get("outcome") or ""),
        str(item.get("message") or ""),
        str(item.get("endTime") or ""),
        duration_text((ended - started).total_seconds()) if started and ended else "",
        bool(item.get("charged")),
        int(item.get("round") or 0),
        str(item.get("nextTime") or ""),
        str(item.get("worker") or ""),
    )
