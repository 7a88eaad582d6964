"""What is known of an object is forgotten once it is deleted, also where a request for it ends after that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.api.meta import MANAGED_BY
from agentjobs.api.names import mark_of
from agentjobs.controller.agentjob.ttl_after_finished import TtlAfterFinished
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.config import OperatorConfig
from agentjobs.controller.kit.backoff import Backoff
from agentjobs.controller.kit.ownership import Ownership
from agentjobs.controller.leader import Leader
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.scheduledagentjob.cluster_objects import ClusterObjects
from agentjobs.controller.scheduledagentjob.scheduler import Scheduler
from agentjobs.queue.queue import Queue
from agentjobs.queue.schedules import Schedules
from controller_builders import until
from scheduler_builders import NOON, schedule_object

OURS = UUID(int=1)
COUNT = 60
REFUSED = Reply(403, {"message": "denied by policy", "reason": "Forbidden"})


@dataclass
class RefusingServer:
    """Refuses every request; while ``open`` is not set, it is still thinking."""

    meter: Counters = field(default_factory=Counters)
    asked: int = 0
    answered: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Callable[[str, str], Reply] = lambda verb, path: REFUSED

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        self.asked += 1
        await self.open.wait()
        self.answered += 1
        return self.answer(verb, path)


def job(number: int, **more: Any) -> WatchEvent:
    """Finished long ago, three in a namespace: a few are refused for their own sake, the others with all."""
    meta = {
        "name": f"job-{number}",
        "namespace": f"team-{number // 3}",
        "uid": str(UUID(int=100 + number)),
        "resourceVersion": "7",
    }
    status = {"state": "Complete", "completionTime": datetime(2020, 1, 1, tzinfo=UTC).isoformat()}
    return WatchEvent(
        {"metadata": meta, "spec": {"ttlSecondsAfterFinished": 0}, "status": status}, deleted=False, **more
    )


JOBS = [job(number) for number in range(COUNT)]
GONE = [replace(one, deleted=True) for one in JOBS]


def marks(api: RefusingServer) -> Any:
    gate = Ownership(cast(ApiServer, api), OURS, "cluster-1", lambda batch: None)
    return gate, gate.mine


def ttl(api: RefusingServer) -> Any:
    async def settled(children: Any) -> frozenset[UUID]:
        return frozenset()

    part = TtlAfterFinished(cast(ApiServer, api), settled)
    return part, part.enqueue


def is_empty(backoff: Backoff[Any]) -> bool:
    return not (backoff._namespaces or backoff._refused)


@pytest.mark.parametrize("when", ["after a refusal", "during the request"])
@pytest.mark.parametrize("part", [marks, ttl])
async def test_h33_nothing_stays_of_agent_jobs_that_are_refused_and_deleted(
    part: Callable[[RefusingServer], Any], when: str
) -> None:
    api = RefusingServer()
    made, take = part(api)
    running = asyncio.create_task(made.run())
    if when == "after a refusal":
        api.open.set()
    take(JOBS)
    await until(lambda: api.asked >= COUNT)
    if when == "after a refusal":
        await until(lambda: sum(len(n.delays) for n in made._backoff._namespaces.values()) >= COUNT)
    take(GONE)
    asked = api.asked
    api.open.set()
    await until(lambda: is_empty(made._backoff))
    await until(lambda: api.answered == api.asked)
    await asyncio.sleep(1.0)
    assert is_empty(made._backoff)
    assert api.asked <= asked + COUNT // 3, "nothing is asked for what is gone"
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_mark_that_is_answered_after_its_object_is_gone_brings_it_back_to_nobody() -> None:
    api, taken = RefusingServer(), list[WatchEvent]()
    gate = Ownership(cast(ApiServer, api), OURS, "cluster-1", taken.extend)
    uid = JOBS[0].object["metadata"]["uid"]
    marked = {"metadata": {**JOBS[0].object["metadata"], "annotations": {MANAGED_BY: mark_of(OURS, uid)}}}
    api.answer = lambda verb, path: Reply(200, marked)
    running = asyncio.create_task(gate.run())
    gate.mine(JOBS[:1])
    await until(lambda: api.asked == 1)
    assert gate.mine(GONE[:1]), "its delete comes through"
    api.open.set()
    await until(lambda: api.answered == 1)
    await asyncio.sleep(0.1)
    assert taken == []
    running.cancel()


def schedules(number: int) -> WatchEvent:
    obj = schedule_object(
        uid=str(UUID(int=100 + number)), name=f"s-{number}", namespace=f"team-{number // 3}"
    )
    return WatchEvent(obj, deleted=False, kind=SCHEDULED_AGENT_JOBS)


@pytest.mark.parametrize("by", ["watch", "sweep"])
@pytest.mark.parametrize("in_flight", [False, True])
def test_h33_nothing_stays_of_schedules_that_are_refused_and_deleted(by: str, in_flight: bool) -> None:
    scheduler = Scheduler(
        cast(Schedules, None),
        cast(ClusterObjects, None),
        "cluster-1",
        Counters(),
        lambda event: None,
        clock=lambda: NOON,
    )
    backoffs: list[Backoff[UUID]] = [
        scheduler.gate.backoff,
        scheduler.statuses._backoff,
        scheduler.history._backoff,
    ]
    there = [schedules(number) for number in range(COUNT)]
    scheduler.enqueue(there)
    entries = list(scheduler.cache.entries.values())
    refused = ApiUnavailable("denied", status=403)
    for backoff in backoffs:
        for entry in entries:
            namespace, uid = entry.parsed.ref.namespace, entry.parsed.uid
            backoff.start(namespace, uid, 0.0)
            backoff.decide(Call.STATUS, refused, namespace, uid, 0.0)
            if in_flight:
                backoff.start(namespace, uid, 20.0)
        assert not is_empty(backoff)
    if by == "watch":
        scheduler.enqueue(replace(one, deleted=True) for one in there)
    else:
        for entry in entries:
            scheduler.forget(entry.parsed.uid)
    for backoff in backoffs:
        if in_flight:
            for entry in entries:
                backoff.decide(Call.STATUS, refused, entry.parsed.ref.namespace, entry.parsed.uid, 21.0)
        assert is_empty(backoff)


class _Queue:
    """Stores whatever it is given, and answers nothing."""

    def __getattr__(self, name: str) -> Any:
        async def answer(*_: Any, **__: Any) -> dict[Any, Any]:
            return {}

        return answer


@pytest.mark.parametrize("why", ["deleted", "marked by another installation"])
async def test_h33_every_part_of_the_leader_forgets_an_agent_job_that_goes(why: str) -> None:
    config = OperatorConfig("postgresql://nowhere/db")
    api = ApiServer(None, Counters())
    leader = Leader(config, api, cast(Queue, _Queue()), "cluster-1", api.meter, None, OURS, 0)

    def seen(owner: UUID, **more: Any) -> WatchEvent:
        uid = str(UUID(int=100))
        meta = {**JOBS[0].object["metadata"], "annotations": {MANAGED_BY: mark_of(owner, uid)}}
        status = {"state": "Running", "revision": 3}
        return WatchEvent({"metadata": meta, "spec": {}, "status": status}, **({"deleted": False} | more))

    leader.take([seen(OURS, listed=True)])
    await leader.intake.flush()
    assert leader.statuses._shown._running
    leader.take([seen(OURS, deleted=True) if why == "deleted" else seen(UUID(int=2))])
    await leader.intake.flush()
    leader.take([seen(UUID(int=2), deleted=True)])
    assert left_in(leader) == {}


def left_in(leader: Leader) -> dict[str, object]:
    """What is still remembered of any object, by part and attribute."""
    parts = (
        leader,
        leader.ownership,
        leader.intake,
        leader.statuses._shown,
        leader.statuses._backoff,
        leader.audit,
        leader.ttl,
        leader.ttl._due,
        leader.scheduler,
        leader.scheduler.cache,
        leader.scheduler.cache.children,
    )
    passing = {"_gone", "_released", "loops"}
    """Emptied by the next turn of a loop."""
    found: dict[str, object] = {}
    for part in parts:
        names = getattr(type(part), "__slots__", None) or vars(part)
        for name in names:
            value = getattr(part, name, None)
            if isinstance(value, dict | set | list) and value and name not in passing:
                found[f"{type(part).__name__}.{name}"] = value
    return found
