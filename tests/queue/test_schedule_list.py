"""Lists of schedules: page by page, each with its own last children alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, State
from agentjobs.queue.schedules import SeenSchedule
from agentjobs.schedule.names import manual_child, tick_child
from queue_builders import CLUSTER, TestWorker, mirrored_job

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as opened:
        yield opened


async def _saved(queue: Queue, name: str, namespace: str = "team", **fields: bool) -> UUID:
    uid = uuid4()
    made = SeenSchedule(
        uid, CLUSTER, namespace, name, 1, "0 6 * * * in Europe/Berlin", NOW - timedelta(days=9), None,
        fields.get("accepted", True), fields.get("suspended", False),
    )  # fmt: skip
    await queue.save_schedules([made], NOW)
    return uid


async def test_pages_lose_and_repeat_no_schedule_and_a_namespace_has_its_own(queue: Queue) -> None:
    for namespace, name in (("b", "x"), ("a", "z"), ("a", "a"), ("team", "m"), ("c", "y")):
        await _saved(queue, name, namespace, suspended=name == "x")
    seen: list[tuple[str, str]] = []
    after = None
    while page := await queue.listed_schedules(after=after, limit=2):
        seen += [(one.namespace, one.name) for one in page]
        after = seen[-1]
    assert seen == [("a", "a"), ("a", "z"), ("b", "x"), ("c", "y"), ("team", "m")]
    assert [one.name for one in await queue.listed_schedules("a")] == ["a", "z"]
    assert [one.name for one in await queue.listed_schedules("a", ("a", "a"))] == ["z"]
    assert await queue.listed_schedules("none") == []
    await _saved(queue, "y", "b", accepted=False)
    assert [one.name for one in await queue.listed_schedules(accepted=False)] == ["y"]
    assert [one.name for one in await queue.listed_schedules("b", accepted=False)] == ["y"]
    assert await queue.listed_schedules("a", accepted=False) == []
    assert [one.name for one in await queue.listed_schedules("b", accepted=True)] == ["x"]
    assert await queue.listed_schedules(after=("b", "y"), accepted=False) == []
    paused, _ = await queue.listed_schedules("b")
    assert (paused.suspended, paused.accepted, paused.times) == (True, True, "0 6 * * * in Europe/Berlin")


async def test_the_last_children_are_the_schedules_own_the_newest_first_with_how_they_ended(
    queue: Queue,
) -> None:
    await _saved(queue, "brief")
    await _saved(queue, "brief-2")
    ticks = [NOW - timedelta(minutes=n) for n in range(25)]
    worker = await TestWorker(queue).register()
    failed = mirrored_job(tick_child("brief", ticks[1]))
    await queue.enqueue([failed])
    await worker.ack(await worker.one(), AckKind.FAIL, reason="AgentFailed")
    await queue.enqueue(
        [
            *(mirrored_job(tick_child("brief", tick)) for tick in ticks if tick != ticks[1]),
            mirrored_job(tick_child("brief-2", ticks[0])),
            mirrored_job(manual_child("brief", NOW.isoformat(), NOW)),
            mirrored_job("brief-by-hand"),
            mirrored_job(tick_child("brief", ticks[0]), "other"),
        ]
    )
    brief, second = await queue.listed_schedules("team")
    assert [run.name for run in brief.runs] == [tick_child("brief", tick) for tick in ticks[:20]]
    newest, ended = brief.runs[:2]
    assert (newest.state, newest.seconds) == (State.QUEUED, None)
    assert (ended.uid, ended.state, ended.reason) == (failed.uid, State.FAILED, "AgentFailed")
    assert ended.seconds is not None
    assert [run.name for run in second.runs] == [tick_child("brief-2", ticks[0])]
