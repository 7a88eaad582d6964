"""When a finished object is to be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from agentjobs.controller.agentjob import ttl_after_finished
from agentjobs.controller.agentjob.ttl_after_finished import TtlAfterFinished, expires_at
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import Counters
from controller_builders import AT, until

DONE = {"state": "Complete", "completionTime": "2026-11-23T12:00:00Z"}


def obj(ttl: int | None, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": metadata,
        "spec": {} if ttl is None else {"ttlSecondsAfterFinished": ttl},
        "status": status,
    }


@pytest.mark.parametrize(
    ("ttl", "default", "status", "after"),
    [
        (60, None, DONE, 60),
        (0, None, DONE, 0),
        (60, 5, DONE, 60),
        (None, 5, DONE, 5),
        (None, None, DONE, None),
        (60, None, {"state": "Running"}, None),
        (60, None, {}, None),
        (60, None, {"state": "Failed"}, None),
    ],
)
def test_ttl_counts_from_the_end(
    ttl: int | None, default: int | None, status: dict[str, Any], after: int | None
) -> None:
    wanted = None if after is None else AT + timedelta(seconds=after)
    assert expires_at(obj(ttl, status), default) == wanted


def test_an_object_that_is_being_deleted_is_left_alone() -> None:
    assert expires_at(obj(0, DONE, deletionTimestamp="2026-11-23T12:00:00Z"), None) is None


def test_a_time_beyond_all_times_is_never_due() -> None:
    assert expires_at(obj(60, {"state": "Complete", "completionTime": "9999-12-31T23:59:59Z"}), None) is None


# deleting: on a stub of the API server -------------------------------------------------------------------


@dataclass
class StubApi:
    """Holds objects by path and answers GET and DELETE after a millisecond or so."""

    meter: Counters = field(default_factory=Counters)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    refuse: Callable[[str, str], Reply | None] = lambda verb, path: None
    """May answer in its place, or raise."""
    seconds: float = 0.001
    running: int = 0
    most_running: int = 0

    def add(self, completed: datetime, ttl: int, **metadata: Any) -> WatchEvent:
        uid = str(uuid4())
        made = obj(ttl, {"state": "Complete", "completionTime": completed.isoformat()}, **metadata)
        made["metadata"] |= {"uid": uid, "namespace": "team", "name": f"job-{uid}", "resourceVersion": "7"}
        self.objects[AGENT_JOBS.object("team", f"job-{uid}")] = made
        return WatchEvent(made, deleted=False)

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        refused = self.refuse(verb, path)
        if refused is not None:
            return refused
        found = self.objects.get(path)
        if found is None:
            return Reply(404, {"details": {"name": path}})
        if verb == "DELETE":
            self.deletes.append(path)
            del self.objects[path]
        return Reply(200, found)


async def settle_all(children: Iterable[tuple[UUID, str, UUID]]) -> frozenset[UUID]:
    return frozenset(uid for _, _, uid in children)


@asynccontextmanager
async def running(api: StubApi, **settings: Any) -> AsyncIterator[TtlAfterFinished]:
    ttl = TtlAfterFinished(cast(ApiServer, api), settle_all, **settings)
    task = asyncio.create_task(ttl.run())
    try:
        yield ttl
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("seed", range(6))
async def test_no_expired_object_stays_whatever_comes_in_while_others_are_deleted(seed: int) -> None:
    """60 overdue, 60 due soon, 300 within days, as a start with a backlog lists them: in pages of ten."""
    random, api, now = Random(seed), StubApi(), datetime.now(UTC)
    overdue = [api.add(now - timedelta(hours=random.uniform(1, 9)), 60) for _ in range(60)]
    soon = [api.add(now + timedelta(seconds=random.uniform(0, 0.4)), 0) for _ in range(60)]
    far = [api.add(now, random.randint(3600, 300_000)) for _ in range(300)]
    everything = [*overdue, *soon, *far]
    random.shuffle(everything)
    async with running(api, parallel=4) as ttl:
        for start in range(0, len(everything), 10):
            ttl.enqueue(everything[start : start + 10])
            await asyncio.sleep(0.004)
        with suppress(TimeoutError):
            await until(lambda: len(api.objects) == 300)
        assert len(api.objects) == 300, f"{len(api.objects) - 300} stayed"
    assert len(api.deletes) == 120
    assert {one.object["metadata"]["name"] for one in far} == {
        path.rpartition("/")[2] for path in api.objects
    }


async def test_deletes_run_beside_each_other_up_to_a_bound() -> None:
    api, now = StubApi(seconds=0.02), datetime.now(UTC)
    async with running(api, parallel=8) as ttl:
        ttl.enqueue([api.add(now - timedelta(hours=1), 0) for _ in range(40)])
        await until(lambda: not api.objects)
    assert api.most_running == 8


async def test_the_time_is_that_of_the_clock() -> None:
    now = [AT]
    api = StubApi()
    async with running(api, clock=lambda: now[0]) as ttl:
        ttl.enqueue([api.add(AT, 60)])
        await asyncio.sleep(0.05)
        assert api.objects
        now[0] += timedelta(seconds=61)
        ttl.enqueue([api.add(AT, 3600)])  # something wakes it
        await until(lambda: len(api.objects) == 1)


async def test_one_object_that_cannot_be_deleted_holds_up_no_other() -> None:
    api, now = StubApi(), datetime.now(UTC)
    bad = api.add(now - timedelta(hours=2), 0).object["metadata"]["name"]

    def refuse(verb: str, path: str) -> Reply | None:
        return Reply(500, {"message": "no"}) if verb == "DELETE" and path.endswith(bad) else None

    api.refuse = refuse
    async with running(api, parallel=1) as ttl:
        ttl.enqueue(WatchEvent(one, deleted=False) for one in list(api.objects.values()))
        ttl.enqueue([api.add(now - timedelta(hours=1), 0) for _ in range(10)])
        await until(lambda: len(api.objects) == 1)


async def test_everything_is_kept_while_the_api_server_is_away() -> None:
    api, now, away = StubApi(), datetime.now(UTC), [True]

    def refuse(verb: str, path: str) -> Reply | None:
        if away[0]:
            raise ApiUnavailable("away")
        return None

    api.refuse = refuse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ttl_after_finished, "AGAIN", timedelta(seconds=0.2))
        async with running(api) as ttl:
            ttl.enqueue([api.add(now - timedelta(hours=1), 0) for _ in range(30)])
            await asyncio.sleep(0.3)
            assert len(api.objects) == 30
            away[0] = False
            await until(lambda: not api.objects)


async def test_an_object_that_lives_again_is_left_alone() -> None:
    api, now = StubApi(), datetime.now(UTC)
    event = api.add(now - timedelta(hours=1), 0)
    (path,) = api.objects
    api.objects[path] = {**event.object, "status": {"state": "Running"}}
    async with running(api) as ttl:
        ttl.enqueue([event])
        await asyncio.sleep(0.1)
        assert api.objects
        assert not api.deletes
