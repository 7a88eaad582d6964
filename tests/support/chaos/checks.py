"""What must hold after a chaos run, over the whole history that the database, the API server and the tools have kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from agentjobs.api.names import RUN_REQUESTED_AT
from agentjobs.controller.apiserver.resources import AGENT_JOBS, EVENTS, SCHEDULED_AGENT_JOBS
from agentjobs.values.json import JsonObject
from chaos.load import Load, Made
from chaos.world import LIMIT, NAMESPACES_USED, World, stamped

# Every run that has ended: those that the job went on after, and its last.
RUNS = """
select j.uid, j.queue, j.session, a.run, a.started_at, a.ended_at, a.kind, a.charged, a.reason
  from attempt a join job j on j.id = a.id
union all
select j.uid, j.queue, j.session, o.run, o.run_started_at, o.finished_at, 'end', o.state <> 'k', o.reason
  from outcome o join job j on j.id = o.id
 where o.worker is not null and not exists (select from attempt a where a.id = o.id and a.run = o.run)
"""
JOBS = """
select j.uid, j.max_attempts, j.round, state_name(o.state, false), o.reason, coalesce(o.message, ''), coalesce(o.result, ''),
       o.attempt, o.run
  from job j join outcome o on o.id = j.id
"""
# Of each event of a conversation, in the order in which they are read: whose invocation wrote it, and whether it is a message.
CONVERSATIONS = """
select app_name || '/' || user_id || '/' || session_id, invocation_id,
       case when event_data->>'author' = 'user' and event_data->'content'->'parts'->0 ? 'text' then 'message' else '' end
  from adk.events
 order by app_name, user_id, session_id, timestamp, id
"""
LEFT_OVER = {
    "waits": "select j.namespace, j.name, w.queue, w.state, w.session, w.reason, w.message, w.run_at from waiting w join job j using (id)",
    "runs": "select j.namespace, j.name, r.queue, r.run, r.worker, k.name, k.beat_at, r.step, r.since from running r join job j using (id)"
    " left join worker k on k.id = r.worker",
    "shows an old status": "select j.namespace, j.name, x.* from outbox x join job j using (id)",
    "holds its session": "select * from session",
    "tick without its child": "select * from schedule_tick where child_uid is null",
}
ENDS = ("JobCompleted", "JobFailed", "JobCancelled")
END_STATES = ("Complete", "Failed", "Cancelled")


@dataclass(frozen=True)
class Run:
    uid: UUID
    queue: str
    session: str | None
    run: int
    began: datetime
    ended: datetime
    kind: str
    charged: bool
    reason: str


@dataclass(frozen=True)
class Job:
    uid: UUID
    max_attempts: int
    round: int
    state: str
    reason: str
    message: str
    result: str
    attempts: int
    runs: int


@dataclass
class History:
    """All that is known of a run once it has settled."""

    made: list[Made] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    jobs: dict[UUID, Job] = field(default_factory=dict)
    objects: dict[UUID, JsonObject] = field(default_factory=dict)
    stamps: list[dict[str, Any]] = field(default_factory=list)
    """What tools noted when they began: at (seconds), uid, run."""
    conversations: list[tuple[str, str, str]] = field(default_factory=list)
    """Session and invocation of each event, and ``message`` where a user said it, in the order of the conversation."""
    ends_told: Counter[UUID] = field(default_factory=Counter)
    """Events that tell an end, by object."""
    processes_ended: list[str] = field(default_factory=list)


async def history(world: World, load: Load) -> History:
    found = History(made=load.made, stamps=stamped(world), processes_ended=world.ended_by_itself())
    found.runs = [Run(*row) for row in await world.rows(RUNS)]
    found.jobs = {row[0]: Job(*row) for row in await world.rows(JOBS)}
    found.conversations = [(str(a), str(b), str(c)) for a, b, c in await world.rows(CONVERSATIONS)]
    for namespace in NAMESPACES_USED:
        reply = await load.ask("GET", AGENT_JOBS.collection(namespace))
        found.objects |= {UUID(item["metadata"]["uid"]): item for item in reply.body["items"]}
        for event in (await load.ask("GET", EVENTS.collection(namespace))).body["items"]:
            if event["reason"] in ENDS:
                found.ends_told[UUID(event["involvedObject"]["uid"])] += event.get("count", 1)
    return found


async def left_over(world: World, load: Load) -> list[str]:
    """What keeps the world from being settled, a line each: from what people asked for to what they are shown."""
    found: list[str] = []
    handled = dict(await world.rows("select uid, run_handled from schedule"))
    for namespace in NAMESPACES_USED:
        for item in (await load.ask("GET", SCHEDULED_AGENT_JOBS.collection(namespace))).body["items"]:
            meta = item["metadata"]
            requested = meta.get("annotations", {}).get(RUN_REQUESTED_AT)
            if requested and handled.get(UUID(meta["uid"])) != requested:
                found.append(f"asked for a run in vain: {namespace}/{meta['name']} {requested}")
            if item.get("status", {}).get("observedGeneration") != meta["generation"]:
                found.append(f"shows an old status: {namespace}/{meta['name']} {item.get('status')}")
    for what, statement in LEFT_OVER.items():
        found += [f"{what}: {row}" for row in (await world.rows(statement))[:20]]
    for namespace in NAMESPACES_USED:
        for item in (await load.ask("GET", AGENT_JOBS.collection(namespace))).body["items"]:
            if item.get("status", {}).get("state") not in END_STATES:
                found.append(f"shows no end: {namespace}/{item['metadata']['name']} {item.get('status')}")
    return found


# -- the checks: each yields what is wrong -----------------------------------------------------------

Check = Callable[[History], Iterator[str]]
CHECKS: list[Check] = []


def check(one: Check) -> Check:
    CHECKS.append(one)
    return one


def problems(found: History) -> list[str]:
    """Everything that is not as promised."""
    return [problem for one in CHECKS for problem in one(found)]


@check
def no_job_is_lost_and_each_ends_as_it_may(found: History) -> Iterator[str]:
    for made in found.made:
        what = f"{made.shape.name} {made.name}"
        assert made.uid is not None
        job = found.jobs.get(made.uid)
        if job is None:
            if not made.deleted or made.uid in found.objects:  # one may be deleted before anybody saw it
                yield f"{what} is lost: no end of it is recorded"
            continue
        if job.state not in made.shape.ends:
            yield f"{what} ended {job.state} {job.reason}: {job.message}"
        elif job.state == "Complete" and not job.result.startswith(made.answer):
            yield f"{what} answers {job.result!r}"
        elif job.state != "Complete" and made.shape.reasons and job.reason not in made.shape.reasons:
            yield f"{what} ended for {job.reason}: {job.message}"


@check
def every_end_and_every_run_is_explained(found: History) -> Iterator[str]:
    for job in found.jobs.values():
        if job.state != "Complete" and not (job.reason and job.message):
            yield f"{job}: an end without a reason"
    for run in found.runs:
        if run.kind not in ("end", "complete") and not run.reason:
            yield f"{run}: an end without a reason"


@check
def attempts_are_charged_as_allowed_and_every_run_is_recorded(found: History) -> Iterator[str]:
    runs: dict[UUID, list[Run]] = defaultdict(list)
    for run in found.runs:
        runs[run.uid].append(run)
    for job in found.jobs.values():
        charged = sum(run.charged for run in runs[job.uid])
        if charged > job.max_attempts * job.round or job.attempts > job.max_attempts:
            yield f"{job}: {charged} runs charged"
        numbers = sorted(run.run for run in runs[job.uid])
        if numbers != list(range(1, job.runs + 1)):
            yield f"{job}: its records have the runs {numbers}"


@check
def neither_a_job_nor_a_session_runs_twice_at_once(found: History) -> Iterator[str]:
    of: dict[str, list[Run]] = defaultdict(list)
    for run in found.runs:
        of[f"job {run.uid}"].append(run)
        if run.session is not None:
            of[f"session {run.session}"].append(run)
    for what, its in of.items():
        for one, other in pairwise(sorted(its, key=lambda run: run.began)):
            if one.ended > other.began:
                yield f"{what} ran twice at once: {one} and {other}"


@check
def the_limit_is_never_overshot(found: History) -> Iterator[str]:
    if (most := most_at_once(found.runs)) > LIMIT:
        yield f"{most} jobs of the queue limited ran at once; the limit is {LIMIT}"


def most_at_once(runs: Sequence[Run], queue: str = "limited") -> int:
    changes = [(run.began, 1) for run in runs if run.queue == queue]
    changes += [(run.ended, -1) for run in runs if run.queue == queue]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


@check
def a_late_run_begins_no_tool(found: History) -> Iterator[str]:
    newest: Counter[str] = Counter()
    for stamp in sorted(found.stamps, key=lambda stamp: float(stamp["at"])):
        if stamp["run"] < newest[stamp["uid"]]:
            yield f"run {stamp['run']} of {stamp['uid']} began a tool after run {newest[stamp['uid']]} had"
        newest[stamp["uid"]] = max(newest[stamp["uid"]], stamp["run"])


@check
def conversations_are_whole(found: History) -> Iterator[str]:
    """The events of a job lie together, and its message stands once, however often it ran."""
    lines: dict[str, list[str]] = defaultdict(list)
    messages: Counter[tuple[str, str]] = Counter()
    for session, invocation, kind in found.conversations:
        if not lines[session] or lines[session][-1] != invocation:
            lines[session].append(invocation)
        messages[session, invocation] += kind == "message"
    for session, blocks in lines.items():
        if len(blocks) != len(set(blocks)):
            yield f"session {session}: jobs wrote between each other: {blocks}"
    for (session, invocation), n in messages.items():
        if n > 1:
            yield f"session {session}: the message of {invocation} stands {n} times"


@check
def every_object_shows_what_its_row_says(found: History) -> Iterator[str]:
    for uid, item in found.objects.items():
        status: Mapping[str, Any] = item.get("status") or {}
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        job = found.jobs.get(uid)
        if job is None:
            yield f"{name} has no row that has ended, and shows {status.get('state')}"
            continue
        shown = (
            status.get("state"),
            status.get("round", 1),
            status.get("attempts", 0),
            status.get("result", ""),
        )
        right = (job.state, job.round, job.attempts, job.result)
        if shown != right:
            yield f"{name} shows {shown}, its row says {right}"
        elif job.state != "Complete" and status.get("reason") != job.reason:
            yield f"{name} shows {status.get('reason')}, its row says {job.reason}"


@check
def an_end_is_told_once(found: History) -> Iterator[str]:
    for uid, told in found.ends_told.items():
        job = found.jobs.get(uid)
        if job is not None and told > job.round:
            yield f"{uid}: {told} Events tell an end, in {job.round} rounds"


@check
def no_process_ends_by_itself(found: History) -> Iterator[str]:
    yield from found.processes_ended


def figures(found: History) -> dict[str, int | str]:
    """The size of what was survived."""
    kinds = Counter(run.kind for run in found.runs)
    told = sum(uid in found.ends_told for uid in found.objects)
    labels = [item["metadata"].get("labels") or {} for item in found.objects.values()]
    return {
        "jobs": len(found.jobs),
        "of them children of schedules": sum("agentjobs.dev/schedule" in label for label in labels),
        "runs": len(found.runs),
        "of them lost with their worker": kinds["lost"],
        "of them given back": kinds["release"],
        "of them charged": sum(run.charged for run in found.runs),
        "events of conversations": len(found.conversations),
        "most jobs of the limited queue at once": most_at_once(found.runs),
        "objects whose end has an Event": f"{told} of {len(found.objects)}",
    }
