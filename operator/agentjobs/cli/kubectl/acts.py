"""Acts on AgentJobs and schedules: which objects each act is for, and the patch that asks for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.api.act import ObjectAct, text_of
from agentjobs.api.names import ACT, RETRY_REQUESTED_AT
from agentjobs.cli.kubectl.filters import FINAL, time_of
from agentjobs.values.verbs import Verb

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """An act of the plugin: the audit's verb, and the words for it."""

    verb: Verb
    word: str
    """The command's name."""
    done: str
    """What was done, for a sentence."""


ASKED = "is asked to be retried already, and the operator has not taken it up yet"

RETRY = Act(Verb.RETRY, "retry", "retried")
CANCEL = Act(Verb.CANCEL, "cancel", "cancelled")
SUSPEND = Act(Verb.SUSPEND, "suspend", "suspended")
RESUME = Act(Verb.RESUME, "resume", "resumed")
DELETE = Act(Verb.DELETE, "delete", "deleted")
OF_SCHEDULES = (SUSPEND, RESUME)
"""Acts that are for schedules, too."""
SCHEDULE = "scheduledagentjob"


@dataclass(frozen=True, slots=True)
class Author:
    """Who acts, and why, by whatever the API server and the user say. Empty ``name``: not known."""

    name: str
    because: str = ""


def unfit(act: Act, job: JsonObject) -> str:
    """Why the act would change nothing of this job or schedule, as the end of a sentence. Empty: it is for it."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    if kind_of(job) == SCHEDULE and act not in OF_SCHEDULES:
        return f"is a schedule; of a schedule there are {' and '.join(one.word for one in OF_SCHEDULES)}"
    state = str(status.get("state") or "")
    shown = state or "not seen by the operator yet"
    if act.verb is Verb.DELETE:
        return "is being deleted already" if job["metadata"].get("deletionTimestamp") else ""
    if act.verb is Verb.RETRY:
        if state not in ("Failed", "Cancelled"):
            return f"is {shown}; only Failed and Cancelled jobs can be retried"
        if spec.get("cancel"):
            return "has spec.cancel, which cannot be taken back: submit a new job"
        return ASKED if asked(job) else ""
    if state in FINAL:
        return f"is {shown} already"
    if act.verb is Verb.CANCEL:
        return "is asked to end already" if spec.get("cancel") else ""
    if spec.get("cancel"):
        return "is asked to end"
    if act.verb is Verb.SUSPEND:
        return "is suspended already" if spec.get("suspend") else ""
    return "" if spec.get("suspend") else "is not suspended"


def kind_of(obj: JsonObject) -> str:
    """The kind of an object that was read, in small letters."""
    return str(obj.get("kind") or "agentjob").lower()


def asked(job: JsonObject) -> bool:
    """Whether a retry was asked for after the job's end: an interrupted command that is given again asks only the rest."""
    requested = time_of((job["metadata"].get("annotations") or {}).get(RETRY_REQUESTED_AT))
    ended = time_of((job.get("status") or {}).get("completionTime"))
    return requested is not None and ended is not None and requested > ended


def patch_of(act: Act, author: Author, at: datetime) -> dict[str, Any]:
    """The merge patch that asks for the act, with its author's annotation in the same request."""
    annotations = dict(annotation(act.verb, author, at))
    if act.verb is Verb.RETRY:
        annotations[RETRY_REQUESTED_AT] = precise(at)
    spec = {Verb.CANCEL: {"cancel": True}, Verb.SUSPEND: {"suspend": True}, Verb.RESUME: {"suspend": False}}
    patch: dict[str, Any] = {"metadata": {"annotations": annotations}} if annotations else {}
    return {**patch, **({"spec": spec[act.verb]} if act.verb in spec else {})}


def annotation(
    verb: Verb, author: Author, at: datetime, at_text: str = "", origin: str = ""
) -> dict[str, str]:
    """The annotation that names the author. Empty: he is not known."""
    if not author.name:
        return {}
    said = ObjectAct(author.name, verb, author.because, at_text or precise(at), via="kubectl", origin=origin)
    return {ACT: text_of(said)}


def precise(at: datetime) -> str:
    """A time in UTC with milliseconds: two requests in one second are two values."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Unfit:
    """A job or schedule that an act is not for."""

    name: str
    kind: str
    words: str
    """Which job, and why: a sentence without its end."""
    asked: bool
    """A retry is asked for already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs that an act is for, and those that were found and for which it is not."""

    jobs: Sequence[dict[str, Any]]
    unfit: Sequence[Unfit] = ()


def plan_of(act: Act, found: Iterable[JsonObject]) -> Plan:
    """The plan for these objects, the oldest first: they are in the order in which they were created."""
    fit: list[dict[str, Any]] = []
    others: list[Unfit] = []
    for job in found:
        if why := unfit(act, job):
            metadata = job["metadata"]
            words = f"{kind_of(job)} {metadata['namespace']}/{metadata['name']} {why}"
            others.append(Unfit(metadata["name"], kind_of(job), words, why == ASKED))
        else:
            fit.append(slim(job))
    fit.sort(key=lambda job: (job["metadata"].get("creationTimestamp") or "", job["metadata"]["name"]))
    return Plan(fit, others)


def slim(job: JsonObject) -> dict[str, Any]:
    """The part of an object that an act needs: of a hundred thousand objects, only this is kept."""
    metadata = job["metadata"]
    return {
        "metadata": {key: metadata.get(key) for key in ("name", "namespace", "uid", "creationTimestamp")},
        "state": (job.get("status") or {}).get("state"),
        "kind": job.get("kind"),
    }


def question(act: Act, plan: Plan, where: str, spread_seconds: int) -> str:
    """The question before an act on several jobs, with their exact number."""
    return question_text(act, len(plan.jobs), noun_of(plan), where, spread_seconds)


def noun_of(plan: Plan) -> str:
    """The kind of the objects of a plan; ``object`` where there are several."""
    kinds = {kind_of(one) for one in plan.jobs}
    return kinds.pop() if len(kinds) == 1 else "object"


def question_text(act: Act, n: int, kind: str, where: str, spread_seconds: int) -> str:
    """The question before an act on ``n`` jobs."""
    pace = ""
    if spread_seconds and n > 1:
        each = spread_seconds / n
        pace = f", spread over {spread_seconds} s: one every {each:{'.0f' if each >= 10 else '.2g'}} s"
    return f"{act.word.capitalize()} {n:,} {kind}{'' if n == 1 else 's'} {where}{pace}?"
