"""What must hold after a chaos run: checks over the whole history that the database, the API server and the tools kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from agentjobs.controller.apiserver.resources import AGENT_JOBS, EVENTS
from agentjobs.values.json import JsonObject
from chaos.load import Load, Made
from chaos.world import LIMIT, NAMESPACES_USED, World, stamped

# Every run that has ended: of jobs that go on and of jobs that have finished.
RUNS = """
select j.uid, j.queue, j.session, a.run, a.started_at, a.ended_at, a.kind, a.charged, a.reason
  from attempt a join job j on j.id = a.id
union all
select j.uid, j.queue, j.session, o.run, o.run_started_at, o.finished_at, 'end', o.state <> 'k', o.reason
  from outcome o join job j on j.id = o.id
 where o.worker is not null and not exists (select from attempt a where a.id = o.id and a.run = o.run)
"""
JOBS = """
select j.uid, j.cluster_id is not null, j.max_attempts, j.round, state_name(o.state, false), o.reason, coalesce(o.message, ''), o.result,
       o.attempt, o.run
  from job j join outcome o on o.id = j.id
"""
OPEN = """
select (select count(*) from waiting) + (select count(*) from running) + (select count(*) from outbox)
     + (select count(*) from session) + (select count(*) from schedule_tick where child_uid is null)
"""
# Events of a conversation in the order in which they were stored. Of each, whose run wrote it.
CONVERSATIONS = """
select session_id, invocation_id, event_data->>'author' from adk.events order by app_name, user_id, session_id, timestamp, id
"""


@dataclass
class Report:
    """What was found wrong, and the figures of the run."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, int | float | str] = field(default_factory=dict)

    def expect(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(what)


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


async def left_over(world: World) -> list[str]:
    """What keeps the world from being settled, a line each."""
    statements = {
        "waits": "select j.namespace, j.name, w.queue, w.state, w.session, w.reason, w.message, w.run_at from waiting w join job j using (id)",
        "runs": "select j.namespace, j.name, r.queue, r.run, r.worker, k.name, k.beat_at, r.step, r.since from running r join job j using (id)"
        " left join worker k on k.id = r.worker",
        "shows an old status": "select j.namespace, j.name, x.* from outbox x join job j using (id)",
        "holds its session": "select * from session",
        "tick without its child": "select * from schedule_tick where child_uid is null",
    }
    return [
        f"{what}: {row}"
        for what, statement in statements.items()
        for row in (await world.rows(statement))[:20]
    ]


async def settled(world: World) -> bool:
    """Whether nothing is left to be done."""
    ((open_,),) = await world.rows(OPEN)
    return bool(open_ == 0)


async def check(world: World, load: Load) -> Report:
    report = Report()
    runs = [Run(*row) for row in await world.rows(RUNS)]
    jobs = {row[0]: row[1:] for row in await world.rows(JOBS)}
    objects = await _objects(load)
    for made in load.made:
        _ended_as_it_may(report, made, jobs, objects)
    _every_end_is_explained(report, jobs, runs)
    _one_run_at_a_time(report, runs)
    _limit_kept(report, runs)
    _late_runs_begin_nothing(report, world)
    await _conversations(report, world)
    _statuses_say_what_the_rows_say(report, jobs, objects)
    await _events(report, load, objects)
    for ended in world.ended_by_itself():
        report.expect(False, ended)
    kinds = Counter(run.kind for run in runs)
    report.figures |= {
        "jobs": len(load.made),
        "children of schedules": sum(
            "agentjobs.dev/schedule" in str(o["metadata"]) for o in objects.values()
        ),
        "runs": len(runs),
        "runs lost with their worker": kinds["lost"],
        "runs given back": kinds["release"],
        "runs charged": sum(run.charged for run in runs),
    }
    return report


async def _objects(load: Load) -> dict[UUID, JsonObject]:
    found: dict[UUID, JsonObject] = {}
    for namespace in NAMESPACES_USED:
        reply = await load.ask("GET", AGENT_JOBS.collection(namespace))
        found |= {UUID(item["metadata"]["uid"]): item for item in reply.body["items"]}
    return found


def _ended_as_it_may(
    report: Report, made: Made, jobs: dict[UUID, tuple[Any, ...]], objects: dict[UUID, JsonObject]
) -> None:
    assert made.uid is not None
    what = f"{made.shape.name} {made.name}"
    if made.uid not in jobs:
        # deleted before anybody saw it
        report.expect(made.deleted and made.uid not in objects, f"{what} is lost: no end of it is recorded")
        return
    _, _, _, state, reason, message, result, *_ = jobs[made.uid]
    report.expect(state in made.shape.ends, f"{what} ended {state} {reason}: {message}")
    if state == "Complete":
        report.expect((result or "").startswith(made.answer), f"{what} answers {result!r}")
    elif made.shape.reasons:
        report.expect(reason in made.shape.reasons, f"{what} ended for {reason}: {message}")


def _every_end_is_explained(report: Report, jobs: dict[UUID, tuple[Any, ...]], runs: list[Run]) -> None:
    charged = Counter(run.uid for run in runs if run.charged)
    for uid, (_, most, round_, state, reason, message, _, attempts, last) in jobs.items():
        report.expect(state == "Complete" or bool(reason and message), f"{uid}: {state} without a reason")
        report.expect(charged[uid] <= most * round_, f"{uid}: {charged[uid]} runs charged of {most}")
        report.expect(attempts <= most, f"{uid}: {attempts} attempts of {most}")
        numbers = sorted(run.run for run in runs if run.uid == uid)
        report.expect(numbers == list(range(1, last + 1)), f"{uid}: runs {numbers} of {last} are recorded")
    for run in runs:
        report.expect(run.kind in ("end", "complete") or bool(run.reason), f"{run}: no reason")


def _one_run_at_a_time(report: Report, runs: list[Run]) -> None:
    of: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        of[f"job {run.uid}"].append(run)
        if run.session is not None:
            of[f"session {run.session}"].append(run)
    for what, its in of.items():
        for one, next_ in pairwise(sorted(its, key=lambda run: run.began)):
            report.expect(one.ended <= next_.began, f"{what} ran twice at once: {one} and {next_}")


def _limit_kept(report: Report, runs: Iterable[Run]) -> None:
    changes = sorted(
        change for run in runs if run.queue == "limited" for change in ((run.began, 1), (run.ended, -1))
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    report.expect(most <= LIMIT, f"{most} jobs of the queue limited ran at once; the limit is {LIMIT}")
    report.figures["most jobs of the limited queue at once"] = most


def _late_runs_begin_nothing(report: Report, world: World) -> None:
    """A run begins no tool after a later run of its job has begun one."""
    newest: Counter[str] = Counter()
    for stamp in sorted(stamped(world), key=lambda stamp: stamp["at"]):
        report.expect(stamp["run"] >= newest[stamp["uid"]], f"a late run began a tool: {stamp}")
        newest[stamp["uid"]] = max(newest[stamp["uid"]], stamp["run"])


async def _conversations(report: Report, world: World) -> None:
    """The events of a job lie together, and its message stands once, however often it ran."""
    lines: dict[str, list[str]] = defaultdict(list)
    users: Counter[tuple[str, str]] = Counter()
    for session, invocation, author in await world.rows(CONVERSATIONS):
        lines[session].append(invocation)
        users[session, invocation] += author == "user"
    for session, invocations in lines.items():
        blocks = [
            one for one, before in zip(invocations, [None, *invocations], strict=False) if one != before
        ]
        report.expect(
            len(blocks) == len(set(blocks)), f"session {session}: jobs wrote between each other: {blocks}"
        )
    report.figures["events of conversations"] = sum(map(len, lines.values()))


def _statuses_say_what_the_rows_say(
    report: Report, jobs: dict[UUID, tuple[Any, ...]], objects: dict[UUID, JsonObject]
) -> None:
    for uid, item in objects.items():
        status = item.get("status") or {}
        row = jobs.get(uid)
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        if row is None:
            report.expect(False, f"{name} has no row, and shows {status.get('state')}")
            continue
        _, _, round_, state, reason, _, result, attempts, _ = row
        shown = (status.get("state"), status.get("round", 1), status.get("attempts", 0), status.get("result"))
        report.expect(shown == (state, round_, attempts, result), f"{name} shows {shown}, the row says {row}")
        if state != "Complete":
            report.expect(
                status.get("reason") == reason, f"{name} shows {status.get('reason')}, not {reason}"
            )


async def _events(report: Report, load: Load, objects: dict[UUID, JsonObject]) -> None:
    """An end is told at most once for each time that the job ended."""
    ends: Counter[str] = Counter()
    for namespace in NAMESPACES_USED:
        reply = await load.ask("GET", EVENTS.collection(namespace))
        for event in reply.body["items"]:
            if event["reason"] in ("JobCompleted", "JobFailed", "JobCancelled"):
                ends[event["involvedObject"]["uid"]] += event.get("count", 1)
    for uid, n in ends.items():
        item = objects.get(UUID(uid))
        rounds = (item or {}).get("status", {}).get("round", 1)
        report.expect(item is None or n <= rounds, f"{uid}: {n} ends were told in {rounds} rounds")
    told = sum(str(uid) in ends for uid in objects)
    report.figures["objects whose end has an Event"] = f"{told} of {len(objects)}"
