"""The scenes of ``queue/test_interleavings.py``: a job in each of its states, and what may be done to it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agentjobs.queue.audit import Act
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import (
    Ack,
    AckKind,
    AnnotatedAct,
    ClaimedJob,
    InputAnswer,
    ModelReport,
    NewJob,
    OutputTail,
    Progress,
    WorkerInfo,
)
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage
from agentjobs.values.verbs import Verb
from interleaving import EXPIRY_SECONDS, Interleaver, Operation, Scene, statement_of
from queue_builders import TestWorker, change, mirrored_job, new_job, sql, time_passing

HOUR = 3600.0
LATER = 6 * HOUR
RETENTION_HOURS = 7 * 24
TOKEN = 1000
"""Of the claims and acks under test: each run has one fresh worker's."""
ASKED = (InputRequest("q", "approve"),)
NEW_WORKER = UUID(int=7)
BY = Act("me", reason="why")


@dataclass
class Stage:
    """Where a scene is built: an empty database with two workers, and an operator that may judge (H11)."""

    dsn: str
    queue: Queue
    holder: TestWorker
    other: TestWorker
    judge: TestWorker
    subjects: dict[str, NewJob] = field(default_factory=dict)
    """The jobs that are operated on, by the name that the operations' names show."""
    limited: str = "limited"

    async def sql(self, statement: str, *params: object) -> None:
        await sql(self.dsn, statement, *params)

    async def job(self, name: str = "", **fields: Any) -> NewJob:
        """A subject, with an object; further ones of a scene have a name."""
        job = mirrored_job(name or "x", **fields)
        await self.queue.enqueue([job])
        self.subjects[name] = job
        return job

    async def bystander(self, **fields: Any) -> NewJob:
        job = new_job(**fields)
        await self.queue.enqueue([job])
        return job

    async def running(self, name: str = "", **fields: Any) -> ClaimedJob:
        await self.job(name, **fields)
        return await self.started()

    async def started(self) -> ClaimedJob:
        """The first ready job, in the holder's hand."""
        await self.queue.admit()
        return await self.holder.one()

    async def backed_off(self, delay: float, name: str = "", **fields: Any) -> ClaimedJob:
        run = await self.running(name, **fields)
        await self.holder.ack(run, AckKind.RETRY, delay_seconds=delay, reason="ModelServerError")
        return run

    async def asked(self, seconds: int | None = None, **fields: Any) -> ClaimedJob:
        run = await self.running(**fields)
        await self.holder.ack(
            run, AckKind.ASK, reason="InputRequired", requests=ASKED, input_deadline_seconds=seconds
        )
        return run

    async def pass_hours(self, hours: float) -> None:
        await self.sql(time_passing(hours * HOUR))


Builder = Callable[[Stage], Awaitable[object]]
SCENES: dict[str, Builder] = {}


def scene(builder: Builder) -> Builder:
    SCENES[builder.__name__.replace("_", " ")] = builder
    return builder


# -- never started -------------------------------------------------------------------------------


@scene
async def ready(stage: Stage) -> None:
    await stage.job(priority=5)
    await stage.bystander(priority=7)


@scene
async def not_accepted(stage: Stage) -> None:
    held = change(name="x", unaccepted=("AgentNotFound", "there is no such agent"))
    await stage.queue.apply([held])
    assert held.job is not None
    stage.subjects[""] = held.job


@scene
async def ready_in_a_limited_queue(stage: Stage) -> None:
    await stage.queue.set_queue(stage.limited, max_running=2)
    await stage.running("neighbour", queue=stage.limited)
    await stage.job(queue=stage.limited)


@scene
async def ready_past_its_starting_deadline(stage: Stage) -> None:
    await stage.job(starting_deadline_seconds=int(HOUR))


@scene
async def ready_with_one_behind(stage: Stage) -> None:
    await stage.job(session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def ready_in_a_paused_queue_with_one_behind_in_another(stage: Stage) -> None:
    await stage.job(session="s", queue="paused")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()
    await stage.queue.set_queue("paused", paused=True, by="me", reason="why")


@scene
async def new_in_a_session(stage: Stage) -> None:
    await stage.job(session="s")


@scene
async def scheduled(stage: Stage) -> None:
    run_at = datetime.now(UTC) + timedelta(days=2)
    await stage.job(run_at=run_at, starting_deadline_seconds=int(LATER))


@scene
async def scheduled_and_due(stage: Stage) -> None:
    await stage.job(run_at=datetime.now(UTC) + timedelta(hours=1), priority=5)


@scene
async def scheduled_in_a_session_and_due(stage: Stage) -> None:
    await stage.job(session="s", run_at=datetime.now(UTC) + timedelta(hours=1))


@scene
async def suspended(stage: Stage) -> None:
    job = await stage.job(session="s", starting_deadline_seconds=int(LATER))
    await stage.job("neighbour", session="s")
    await stage.queue.admit()
    await stage.queue.suspend(job.uid)


# -- started, and waiting again --------------------------------------------------------------------


@scene
async def ready_again(stage: Stage) -> None:
    await stage.backed_off(0)


@scene
async def backing_off(stage: Stage) -> None:
    await stage.backed_off(2 * 24 * HOUR, session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def backed_off_and_due(stage: Stage) -> None:
    await stage.backed_off(HOUR)


@scene
async def backing_off_past_its_deadline(stage: Stage) -> None:
    await stage.backed_off(2 * 24 * HOUR, session="s", active_deadline_seconds=int(HOUR))
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def suspended_after_a_start(stage: Stage) -> None:
    run = await stage.backed_off(0, active_deadline_seconds=int(LATER))
    await stage.queue.suspend(run.uid)


@scene
async def quarantined(stage: Stage) -> None:
    await stage.backed_off(0)
    await stage.sql("update waiting set state = 'q', losses = 3, reason = 'Quarantined'")


async def _kept(stage: Stage, hours: float) -> None:
    await stage.job(session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()
    await stage.sql(
        "update waiting set state = 'm', target = 'model', reason = 'ModelUnavailable', wait_since = clock_timestamp(),"
        f" held_until = clock_timestamp() + interval '{hours} hours' where state = 'r'"
    )


@scene
async def kept_for_its_model(stage: Stage) -> None:
    await _kept(stage, 48)


@scene
async def kept_for_its_model_too_long(stage: Stage) -> None:
    await _kept(stage, 1)


MODEL = {"v": 1, "agent": {"inline": {"model": "model"}}}


async def _breaker(stage: Stage, kind: str | None, failures: int, probe_hours: float) -> None:
    await stage.sql(
        "with b as (insert into model_breaker (pool, model, kind, failures, since, failed_at, probe_at, probe_seconds)"
        " values ('default', 'model', %s, %s, clock_timestamp(), clock_timestamp(),"
        " clock_timestamp() + make_interval(hours => %s), 30) returning id) insert into model_target select id, 'model' from b",
        kind,
        failures,
        probe_hours,
    )


@scene
async def blocked_by_its_model(stage: Stage) -> None:
    await _breaker(stage, "u", 5, 48)
    await stage.job(session="s", payload=MODEL)
    await stage.queue.admit()
    await stage.other.claim()


@scene
async def blocked_by_its_model_and_to_be_its_probe(stage: Stage) -> None:
    await _breaker(stage, "u", 5, 2)
    await stage.job(payload=MODEL)
    await stage.other.claim()


@scene
async def running_with_its_models_breaker_about_to_open(stage: Stage) -> None:
    await _breaker(stage, None, 4, 0)
    await stage.running(payload=MODEL)


@scene
async def running_with_its_key_refused(stage: Stage) -> None:
    await stage.running(payload=MODEL)
    await _breaker(stage, "a", 1, 48)


@scene
async def snoozed_in_a_paused_queue(stage: Stage) -> None:
    run = await stage.running(queue="paused", active_deadline_seconds=int(LATER))
    await stage.holder.ack(run, AckKind.SNOOZE, delay_seconds=HOUR, reason="ModelRateLimited")
    await stage.queue.set_queue("paused", paused=True, by="me", reason="why")


@scene
async def ready_in_a_paused_queue(stage: Stage) -> None:
    await stage.queue.set_queue("paused", paused=True, by="me", reason="why")
    await stage.job(queue="paused", starting_deadline_seconds=int(LATER))


@scene
async def asked_in_a_paused_queue(stage: Stage) -> None:
    await stage.asked(int(LATER), queue="paused")
    await stage.queue.set_queue("paused", paused=True, by="me", reason="why")


@scene
async def asked(stage: Stage) -> None:
    await stage.asked(session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def asked_too_long_ago(stage: Stage) -> None:
    await stage.asked(int(HOUR))


@scene
async def asked_and_suspended(stage: Stage) -> None:
    run = await stage.asked()
    await stage.queue.suspend(run.uid)


# -- running ---------------------------------------------------------------------------------------


@scene
async def running(stage: Stage) -> None:
    await stage.running(priority=5)
    await stage.bystander(priority=7)


@scene
async def running_its_last_attempt(stage: Stage) -> None:
    await stage.running(max_attempts=1)


@scene
async def running_from_quarantine(stage: Stage) -> None:
    await stage.running()
    await stage.sql("update running set losses = 3, solo = true")


@scene
async def running_asked_to_suspend(stage: Stage) -> None:
    run = await stage.running()
    await stage.queue.suspend(run.uid)


@scene
async def running_asked_to_cancel(stage: Stage) -> None:
    run = await stage.running()
    await stage.queue.cancel(run.uid)


@scene
async def running_past_its_deadline(stage: Stage) -> None:
    await stage.running(active_deadline_seconds=int(HOUR))


@scene
async def running_with_its_worker_lost(stage: Stage) -> None:
    await stage.running()
    await stage.sql("update worker set beat_at = beat_at - interval '2 days' where id = %s", stage.holder.id)


@scene
async def running_with_one_behind(stage: Stage) -> None:
    await stage.running(session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def running_with_a_new_one_in_its_session(stage: Stage) -> None:
    await stage.running(session="s")
    await stage.job("neighbour", session="s")


# -- ended -----------------------------------------------------------------------------------------


async def _ended(stage: Stage, kind: AckKind, **fields: Any) -> ClaimedJob:
    run = await stage.running(**fields)
    await stage.holder.ack(run, kind)
    return run


@scene
async def complete(stage: Stage) -> None:
    await _ended(stage, AckKind.COMPLETE)


@scene
async def failed(stage: Stage) -> None:
    await _ended(stage, AckKind.FAIL, session="s")
    await stage.job("neighbour", session="s")
    await stage.queue.admit()


@scene
async def cancelled_before_it_started(stage: Stage) -> None:
    job = await stage.job()
    await stage.queue.cancel(job.uid)


@scene
async def failed_past_retention(stage: Stage) -> None:
    await _ended(stage, AckKind.FAIL)
    await stage.pass_hours(RETENTION_HOURS)


@scene
async def failed_past_retention_and_its_object_gone(stage: Stage) -> None:
    await _ended(stage, AckKind.FAIL)
    await stage.pass_hours(RETENTION_HOURS)
    await stage.sql("update job set object_gone = true")


@scene
async def ready_without_an_object(stage: Stage) -> None:
    stage.subjects[""] = await stage.bystander(session="s")
    stage.subjects["neighbour"] = await stage.bystander(session="s")
    await stage.queue.admit()


@scene
async def failed_without_an_object(stage: Stage) -> None:
    stage.subjects[""] = await stage.bystander()
    await stage.holder.ack(await stage.started(), AckKind.FAIL)


# -- what may happen ------------------------------------------------------------------------------


ACKS: dict[str, tuple[AckKind, float]] = {
    "complete": (AckKind.COMPLETE, 0),
    "fail": (AckKind.FAIL, 0),
    "retry at once": (AckKind.RETRY, 0),
    "retry later": (AckKind.RETRY, LATER),
    "snooze": (AckKind.SNOOZE, LATER),
    "release": (AckKind.RELEASE, 0),
    "ask": (AckKind.ASK, 0),
}


def _ack(worker: UUID, run: ClaimedJob, kind: AckKind, delay: float) -> Operation:
    more = {"requests": ASKED} if kind is AckKind.ASK else {}
    ack = Ack(
        run.id,
        run.token,
        kind,
        delay,
        reason="Because",
        result="done" if kind is AckKind.COMPLETE else None,
        **more,  # type: ignore[arg-type]
    )
    return _acked(worker, ack)


def _acked(worker: UUID, ack: Ack) -> Operation:
    return Operation("", statement_of(lambda queue: queue.step(worker, TOKEN, [ack], {})))


def _of_a_run(worker: UUID, run: ClaimedJob) -> dict[str, Operation]:
    at = Progress(run.id, run.token, "author", 7, Usage(1, 2, 3, 4, 5))
    progress = statement_of(lambda queue: queue.progress(worker, [at]))
    disown = statement_of(lambda queue: queue.disown(worker, [(run.id, run.token)]))
    beat = statement_of(lambda queue: queue.beat(worker, [(run.id, run.token)], []))
    unregister = statement_of(lambda queue: queue.unregister(worker))
    printed = OutputTail(run.id, run.token, "printed", 0)
    return {
        "progress": Operation("", progress, passes_by=True),
        "want output": Operation("", statement_of(lambda queue: queue.want_output(run.uid))),
        "store output": Operation(
            "", statement_of(lambda queue: queue.store_output(worker, [printed])), passes_by=True
        ),
        "disown": Operation("", disown),
        "beat": Operation("", beat),
        "unregister": Operation("", unregister),
    }


def _of_a_model(worker: UUID, run: ClaimedJob) -> dict[str, Operation]:
    """Acks that report how the model answered."""
    acks = {
        "complete, its model answered": Ack(
            run.id, run.token, AckKind.COMPLETE, models=(ModelReport("model", ModelAnswer.ANSWERED),)
        ),
        "retry, its model is away": Ack(
            run.id, run.token, AckKind.RETRY, LATER, models=(ModelReport("model", ModelAnswer.UNAVAILABLE),)
        ),
        "snooze, its model is rate limited": Ack(
            run.id, run.token, AckKind.SNOOZE, LATER,
            models=(ModelReport("model", ModelAnswer.RATE_LIMITED, "ModelRateLimited", LATER),),
        ),
        "ask, its model answered": Ack(
            run.id, run.token, AckKind.ASK, requests=ASKED, models=(ModelReport("model", ModelAnswer.ANSWERED),)
        ),
    }  # fmt: skip
    return {f"ack: {name}": _acked(worker, ack) for name, ack in acks.items()}


def _of_its_queue(name: str) -> dict[str, Operation]:
    calls: dict[str, Callable[[Queue], Awaitable[object]]] = {
        "pause": lambda queue: queue.set_queue(name, paused=True, by="me", reason="why"),
        "unpause": lambda queue: queue.set_queue(name, paused=False),
        "limit": lambda queue: queue.set_queue(name, max_running=1),
    }
    return {name: Operation("", statement_of(call)) for name, call in calls.items()}


def _said(verb: str) -> AnnotatedAct:
    return AnnotatedAct(verb, Act("me", verb, "why", "kubectl"))


def _controls(job: NewJob) -> dict[str, Operation]:
    uid = job.uid
    changed: dict[str, Any] = {
        "priority": job.priority,
        "session": job.session,
        "queue": job.queue,
        "name": "x",
    }
    answer = InputAnswer("q", True)
    calls: dict[str, Callable[[Queue], Awaitable[object]]] = {
        "cancel": lambda queue: queue.cancel(uid),
        "suspend": lambda queue: queue.suspend(uid),
        "resume": lambda queue: queue.resume(uid),
        "retry": lambda queue: queue.retry(uid),
        "reprioritise": lambda queue: queue.reprioritise(uid, 0),
        "set_max_attempts": lambda queue: queue.set_max_attempts(uid, 1),
        "answer": lambda queue: queue.answer(uid, answer),
        "apply a change": lambda queue: queue.apply(
            [change(uid, 2, act=_said("reprioritise"), **{**changed, "priority": 0, "max_attempts": 1})]
        ),
        "apply a later change back": lambda queue: queue.apply([change(uid, 3, **changed)]),
        "apply a suspend": lambda queue: queue.apply(
            [change(uid, 2, suspend=True, act=_said("suspend"), **changed)]
        ),
        "apply its object's end": lambda queue: queue.apply([change(uid, 2, gone=True)]),
    }
    if job.ref is None:
        calls |= {
            "bulk cancel": lambda queue: queue.act_on_jobs([uid], Verb.CANCEL, BY),
            "bulk retry": lambda queue: queue.act_on_jobs([uid], Verb.RETRY, BY),
        }
    return {name: Operation(name, statement_of(call)) for name, call in calls.items()}


LEFT_OUT = (
    "answer",
    "retry",
    "apply a change",
    "apply a later change back",
    "apply a suspend",
    "ack: fail",
    "ack: retry later",
    "ack: release",
    "progress",
    "want output",
    "store output",
    "disown",
    "beat",
    "unregister",
)
"""Of a neighbour: what differs from others only for the job itself."""


def operations(stage: Stage) -> Mapping[str, Operation]:
    """All operations on the stage's subjects, by name."""
    judge, other = stage.judge.id, stage.other.id
    slots = {"agents": 10, stage.limited: 10, "paused": 10}
    found: dict[str, Operation] = {
        "claim": Operation(
            "", statement_of(lambda queue: queue.step(other, TOKEN, [], slots, idle=True)), passes_by=True
        ),
        "tick": Operation("", statement_of(lambda queue: queue.tick(judge)), passes_by=True, hints=3),
        "admit": Operation("", statement_of(lambda queue: queue.admit()), passes_by=True),
        "prune": Operation(
            "",
            ("select agentjobs.prune(%s, 1000)", [timedelta(hours=RETENTION_HOURS)]),
            passes_by=True,
        ),
        "roll up": Operation("", ("select agentjobs.roll_up('infinity', 1000)", []), passes_by=True),
        "yield": Operation("", ("select agentjobs.yield_paused('paused')", []), passes_by=True),
        "erase": Operation("", statement_of(lambda queue: queue.erase("default", "system", BY))),
        "explain": Operation("", statement_of(lambda queue: queue.explain()), passes_by=True),
        "register": Operation(
            "",
            statement_of(
                lambda queue: queue.register(WorkerInfo(NEW_WORKER, "new", slots, "test", "default"))
            ),
        ),
    }
    if any(job.payload == MODEL for job in stage.subjects.values()):
        found["reset_model"] = Operation(
            "", statement_of(lambda queue: queue.reset_model("default", "model"))
        )
    found |= _of_its_queue(next(iter(stage.subjects.values())).queue)
    for name, job in stage.subjects.items():
        of = f" of the {name}" if name else ""
        found |= {kind + of: operation for kind, operation in _controls(job).items()}
        for run in stage.holder.held:
            if run.uid == job.uid:
                acks = {f"ack: {kind}": _ack(stage.holder.id, run, *how) for kind, how in ACKS.items()}
                if job.payload == MODEL:
                    acks |= _of_a_model(stage.holder.id, run)
                found |= {kind + of: op for kind, op in (acks | _of_a_run(stage.holder.id, run)).items()}
    left_out = {name + " of the neighbour" for name in LEFT_OUT}
    return {name: replace(operation, name=name) for name, operation in found.items() if name not in left_out}


async def build(interleaver: Interleaver, name: str) -> Scene:
    """One scene, in a database that is emptied for it."""
    dsn = interleaver.dsn
    await sql(
        dsn,
        "truncate job, waiting, running, outcome, attempt, session, queue, pause, worker, lost_worker, outbox, model_breaker, model_target, audit,"
        " facet, tally, tally_minute, tally_key, tally_first, output_tail;"
        " update upkeep set pruned_at = 'infinity'",
    )
    async with await Queue.open(dsn, expiry_seconds=EXPIRY_SECONDS) as queue:
        slots = {"agents": 10, "limited": 10, "paused": 10}
        holder, other = [await TestWorker(queue, slots).register() for _ in range(2)]
        stage = Stage(dsn, queue, holder, other, await TestWorker(queue, {}).register())
        await SCENES[name](stage)
        await stage.pass_hours(3)
        await stage.sql(
            "update worker set steady_since = clock_timestamp() - interval '2 days' where id = %s",
            stage.judge.id,
        )
        await stage.sql("delete from outbox")
    return interleaver.keep(name, operations(stage))
