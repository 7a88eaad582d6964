"""Statuses from the outbox to the API server, on stubs of both: what an Event or an answer may delay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.agentjob.status_writer import IN_HAND, StatusWriter
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.kit.event_recorder import EventRecorder
from agentjobs.controller.metrics.counters import STATUS_SKIPPED, Counters
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ObjectRef, OutboxEntry, State
from controller_builders import AT, attempt, entry, job, until


@dataclass
class StubOutbox:
    """An outbox in memory; entries are removed as the queue removes them: by their version."""

    entries: dict[int, OutboxEntry] = field(default_factory=dict)
    confirmed: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, number: int, namespace: str = "team", version: int = 5) -> None:
        ended = attempt(1, outcome="complete", reason="", ended_at=AT)
        view = job(
            State.COMPLETE,
            id=number,
            uid=UUID(int=number),
            ref=ObjectRef("cluster-1", namespace, f"job-{number}"),
            attempts_log=(ended,),
            run=1,
            started_at=AT,
            finished_at=AT,
        )
        self.entries[number] = entry(view, version=version, marked_at=AT)

    async def outbox(
        self, limit: int, coalesce: float, exclude: Sequence[int], closed: Sequence[str], *, output: bool
    ) -> list[OutboxEntry]:
        return [
            found
            for key, found in self.entries.items()
            if key not in exclude and (found.job.ref is None or found.job.ref.namespace not in closed)
        ][:limit]

    async def projected(self, done: Sequence[tuple[int, int, int]]) -> list[int]:
        self.confirmed += done
        for number, version, _ in done:
            if number in self.entries and self.entries[number].version == version:
                del self.entries[number]
        return []

    async def unchanged(self, done: Sequence[tuple[int, int]]) -> int:
        for number, _ in done:
            self.entries.pop(number, None)
        return len(done)

    async def drop_projection(self, ids: Sequence[int]) -> int:
        for number in ids:
            self.entries.pop(number, None)
        return len(ids)

    async def touch(self, uids: Sequence[UUID]) -> int:
        return len(uids)


@dataclass
class StubApi:
    """Takes status writes; ``answer`` may answer otherwise, or raise. ``get`` answers GETs of the object."""

    meter: Counters = field(default_factory=Counters)
    patched: list[str] = field(default_factory=list)
    answer: Callable[[str], Reply] = lambda path: Reply(200, {})
    get: Callable[[str], Reply] = lambda path: Reply(404, {"details": {"name": "job"}})

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        if verb == "GET":
            return self.get(path)
        assert verb == "PATCH"
        self.patched.append(path)
        await asyncio.sleep(0)
        return self.answer(path)


@dataclass
class Bench:
    outbox: StubOutbox
    api: StubApi
    writer: StatusWriter
    events: list[ObjectEvent]
    """Events that were posted."""

    async def until_empty(self, within: float = 60.0) -> float:
        """Seconds until every status is confirmed."""
        started = time.monotonic()
        self.writer.wake()
        await until(lambda: not self.outbox.entries, within)
        return time.monotonic() - started


@asynccontextmanager
async def bench(post: Callable[[ObjectEvent], None] = lambda event: None) -> AsyncIterator[Bench]:
    """``post`` may raise ApiUnavailable."""
    outbox, api, posted = StubOutbox(), StubApi(), list[ObjectEvent]()

    async def poster(event: ObjectEvent) -> None:
        post(event)
        posted.append(event)

    recorder = EventRecorder(poster, api.meter)
    writer = StatusWriter(cast(Queue, outbox), cast(ApiServer, api), recorder, poll_seconds=0.05)
    tasks = [asyncio.create_task(part.run()) for part in (writer, recorder)]
    try:
        yield Bench(outbox, api, writer, posted)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def refuse(namespace: str, seconds: float | None = None) -> Callable[[ObjectEvent], None]:
    def post(event: ObjectEvent) -> None:
        if event.ref.namespace == namespace:
            raise ApiUnavailable("429 slow down", seconds, status=429)

    return post


async def test_a_status_is_written_once_and_its_event_posted_once() -> None:
    async with bench() as b:
        b.outbox.add(1)
        await b.until_empty()
        assert len(b.api.patched) == 1
        assert [event.reason.value for event in b.events] == ["JobCompleted"]
        assert b.outbox.confirmed == [(1, 5, 1)], "the run whose Event is posted is noted down"


async def test_invariant_10_a_refused_event_neither_holds_up_nor_repeats_a_status() -> None:
    async with bench(refuse("noisy", 3600)) as b:
        for number in range(60):
            b.outbox.add(number, "noisy")
        assert await b.until_empty() < 30
        for number in range(100, 110):
            b.outbox.add(number, "quiet")
            assert await b.until_empty() < 10, "less than the longest wait of one that is refused"
        await asyncio.sleep(0.2)
        assert len(b.api.patched) == len(set(b.api.patched)) == 70
        assert {event.ref.namespace for event in b.events} == {"quiet"}
        assert len(b.events) == 10


async def test_the_same_status_that_is_marked_again_while_its_event_is_refused_is_not_written_again() -> None:
    async with bench(refuse("noisy")) as b:
        b.outbox.add(1, "noisy")
        await b.until_empty()
        b.outbox.add(1, "noisy", version=6)
        await b.until_empty()
        assert len(b.api.patched) == 1
        assert b.api.meter.total(STATUS_SKIPPED, reason="unchanged") == 1


async def test_while_events_are_taken_a_status_is_confirmed_after_its_event() -> None:
    order: list[str] = []
    async with bench(lambda event: order.append("event")) as b:
        confirm = b.outbox.projected

        async def projected(done: Sequence[tuple[int, int, int]]) -> list[int]:
            order.append("confirmed")
            return await confirm(done)

        b.outbox.projected = projected  # type: ignore[method-assign]
        b.outbox.add(1)
        await b.until_empty()
    assert order == ["event", "confirmed"]


async def test_jobs_under_way_have_keys_of_their_own_and_end_with_the_writer() -> None:
    blocked, started = asyncio.Event(), list[str]()
    async with bench() as b:

        async def request(verb: str, path: str, **_: Any) -> Reply:
            started.append(path)
            await blocked.wait()
            return Reply(200, {})

        b.api.request = request  # type: ignore[method-assign]
        for number in range(8):
            b.outbox.add(number)
        b.writer.wake()
        await until(lambda: len(started) == 8)
        under_way = dict(b.writer._busy)
        assert sorted(under_way) == list(range(8))
        await asyncio.sleep(0.1)
        assert len(started) == 8, "none is begun a second time"
    await asyncio.sleep(0)
    assert all(task.cancelled() for task in under_way.values())


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_api_server_keeps_everything_until_it_answers(status: int) -> None:
    async with bench() as b:
        busy = [True]
        b.api.answer = lambda path: Reply(status, {}, 0.1) if busy[0] else Reply(200, {})
        for number in range(5):
            b.outbox.add(number)
        b.writer.wake()
        await asyncio.sleep(0.3)
        assert len(b.outbox.entries) == 5
        assert b.events == []
        busy[0] = False
        await b.until_empty()
        assert len(b.events) == 5


async def test_an_object_that_is_gone_gets_no_event() -> None:
    async with bench() as b:
        b.api.answer = lambda path: Reply(404, {"details": {"name": "job"}})
        b.outbox.add(1)
        await b.until_empty()
        await asyncio.sleep(0.05)
        assert b.events == []
        assert b.outbox.confirmed == []


async def test_a_newer_version_that_came_meanwhile_stays_in_the_outbox() -> None:
    async with bench() as b:
        b.outbox.add(1)
        newer = replace(b.outbox.entries[1], version=9)

        def answer(path: str) -> Reply:
            b.outbox.entries[1] = newer
            return Reply(200, {})

        b.api.answer = answer
        b.writer.wake()
        await until(lambda: bool(b.outbox.confirmed))
        assert b.outbox.confirmed[0] == (1, 5, 1)


THERE = Reply(200, {"metadata": {"uid": str(UUID(int=1))}})
DENIED = Reply(422, {"message": "a webhook says no"})
TOO_LARGE = Reply(500, {"message": "etcdserver: request is too large"})


async def test_a_422_without_causes_is_a_refusal_where_a_get_finds_the_object() -> None:
    async with bench() as b:
        b.api.answer, b.api.get = lambda path: DENIED, lambda path: THERE
        b.outbox.add(1)
        b.writer.wake()
        await until(lambda: len(b.api.patched) >= 2)
        assert b.outbox.entries, "it is kept"
        b.api.answer = lambda path: Reply(200, {})
        await b.until_empty()
        assert b.outbox.confirmed == [(1, 5, 1)]


@pytest.mark.parametrize(
    "get", [Reply(404, {"details": {"name": "job"}}), Reply(200, {"metadata": {"uid": "another"}})]
)
async def test_a_422_without_causes_is_the_end_of_the_object_where_a_get_says_so(get: Reply) -> None:
    async with bench() as b:
        b.api.answer, b.api.get = lambda path: DENIED, lambda path: get
        b.outbox.add(1)
        await b.until_empty()
        assert b.outbox.confirmed == []
        assert len(b.api.patched) == 1


async def test_nothing_is_concluded_where_the_get_is_refused_too() -> None:
    async with bench() as b:
        b.api.answer, b.api.get = lambda path: DENIED, lambda path: Reply(403, {})
        b.outbox.add(1)
        b.writer.wake()
        await until(lambda: len(b.api.patched) >= 2)
        assert b.outbox.entries


async def test_a_status_that_is_too_large_is_shown_in_part_once_and_an_event_says_why() -> None:
    async with bench() as b:
        sent: list[Any] = []
        plain = b.api.request

        async def request(verb: str, path: str, *, body: Any = None, **more: Any) -> Reply:
            sent.append(body)
            whole = (body is not None and "result" in str(body)) or len(sent) == 1
            b.api.answer = lambda path: TOO_LARGE if whole else Reply(200, {})
            return await plain(verb, path, **more)

        b.api.request = request  # type: ignore[method-assign]
        b.outbox.add(1)
        await b.until_empty()
        assert len(sent) == 2
        full, part = (set(body[1]["value"]) for body in sent)
        assert part < full
        assert {"state", "revision", "conditions"} <= part
        await until(lambda: len(b.events) == 2)
        told = {event.reason.value: event.message for event in b.events}
        assert "500 etcdserver: request is too large" in told["StatusReduced"]
        b.outbox.add(1, version=6)
        await b.until_empty()
        assert len(sent) == 2, "the same is not tried again"


@pytest.mark.parametrize("reply", [Reply(503, {}), Reply(429, {}, 3600.0), Reply(403, {}), Reply(401, {})])
async def test_a_namespace_that_refuses_is_asked_rarely_and_holds_up_no_other_however_much_waits_there(
    reply: Reply,
) -> None:
    async with bench() as b:
        b.api.answer = lambda path: reply if "/noisy/" in path else Reply(200, {})
        for number in range(2000):
            b.outbox.add(number, "noisy")
        b.writer.wake()
        await until(lambda: bool(b.api.patched))
        for number in range(5000, 5010):
            b.outbox.add(number, "quiet")
        b.writer.wake()
        await until(lambda: len(b.outbox.entries) == 2000)
        assert sum("/noisy/" in path for path in b.api.patched) < IN_HAND // 2, (
            "of 2000, and of those in hand"
        )
        b.api.answer = lambda path: Reply(200, {})
        await b.until_empty(120.0)
        assert sum("/quiet/" in path for path in b.api.patched) == 10, "nothing is written twice"


async def test_namespaces_that_give_no_answer_hold_up_no_other() -> None:
    async with bench() as b:
        silent = asyncio.Event()
        plain = b.api.request

        async def request(verb: str, path: str, **more: Any) -> Reply:
            if "/quiet/" not in path:
                await silent.wait()
            return await plain(verb, path, **more)

        b.api.request = request  # type: ignore[method-assign]
        for team in range(5):
            for number in range(300):
                b.outbox.add(1000 * team + number, f"silent-{team}")
        b.writer.wake()
        await asyncio.sleep(0.1)
        for number in range(9000, 9010):
            b.outbox.add(number, "quiet")
        b.writer.wake()
        await until(lambda: len(b.outbox.entries) == 1500)
        silent.set()
        await b.until_empty(120.0)


async def test_one_object_that_gives_no_answer_holds_up_no_other_of_its_namespace() -> None:
    async with bench() as b:
        silent = asyncio.Event()
        plain = b.api.request

        async def request(verb: str, path: str, **more: Any) -> Reply:
            if "/job-1/" in path:
                await silent.wait()
            return await plain(verb, path, **more)

        b.api.request = request  # type: ignore[method-assign]
        b.outbox.add(1)
        b.writer.wake()
        await asyncio.sleep(1.0)
        for number in range(2, 50):
            b.outbox.add(number)
        b.writer.wake()
        await until(lambda: len(b.outbox.entries) == 1)
        silent.set()
        await b.until_empty()


def is_empty(writer: StatusWriter) -> bool:
    shown, backoff = writer._shown, writer._backoff
    return not (
        shown._by_uid
        or shown._finals
        or shown._running
        or backoff._namespaces
        or backoff._refused
        or writer._asked
    )


def put(b: Bench, count: int, state: State = State.QUEUED) -> list[UUID]:
    """Jobs of a namespace each."""
    for number in range(count):
        ref = ObjectRef("cluster-1", f"team-{number}", f"job-{number}")
        b.outbox.entries[number] = entry(
            job(state, id=number, uid=UUID(int=number), ref=ref), version=5, marked_at=AT
        )
    b.writer.wake()
    return [UUID(int=number) for number in range(count)]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
async def test_nothing_stays_of_jobs_whose_object_is_deleted_before_they_ended(state: State) -> None:
    async with bench() as b:
        uids = put(b, 200, state)
        await b.until_empty()
        await until(lambda: len(b.writer._shown._by_uid) == 200)
        b.writer.gone(uids)
        assert is_empty(b.writer)


async def test_nothing_stays_of_jobs_whose_status_is_refused_until_their_object_is_deleted() -> None:
    async with bench() as b:
        b.api.answer = lambda path: Reply(403, {"message": "denied by policy", "reason": "Forbidden"})
        uids = put(b, 50)
        await until(lambda: len(b.writer._backoff._namespaces) == 50 and not b.writer._busy)
        b.outbox.entries.clear()
        b.writer.gone(uids)
        assert is_empty(b.writer)


@pytest.mark.parametrize("status", [200, 403, 500])
async def test_a_write_that_ends_after_its_object_is_gone_leaves_nothing(status: int) -> None:
    async with bench() as b:
        answered, asked = asyncio.Event(), list[str]()

        async def request(verb: str, path: str, **_: Any) -> Reply:
            asked.append(path)
            await answered.wait()
            return Reply(status, {})

        b.api.request = request  # type: ignore[method-assign]
        uids = put(b, 20)
        await until(lambda: len(asked) == 20)
        b.outbox.entries.clear()
        b.writer.gone(uids)
        answered.set()
        await until(lambda: not b.writer._busy)
        assert is_empty(b.writer)


async def test_an_outbox_that_is_read_while_an_object_goes_has_nothing_written_to_it() -> None:
    async with bench() as b:
        outbox = b.outbox.outbox

        async def slow(*args: Any, **named: Any) -> list[OutboxEntry]:
            found = await outbox(*args, **named)
            if found:
                b.outbox.entries.clear()
                b.writer.gone([one.job.uid for one in found])
            return found

        b.outbox.outbox = slow  # type: ignore[method-assign]
        put(b, 5)
        await until(lambda: not b.outbox.entries)
        await asyncio.sleep(0.1)
        assert b.api.patched == []
        assert is_empty(b.writer)
