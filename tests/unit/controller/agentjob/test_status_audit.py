"""The order in which the audit tells a restored database what objects show: ends first (H31)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.agentjob import status_audit
from agentjobs.controller.agentjob.status_audit import StatusAudit
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import JobView, State
from controller_builders import UID, job, until


@dataclass
class RestoredDatabase:
    """All jobs run, as at its backup; notes what it is told."""

    given: int = 5
    failing: int = 0
    told: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    """Called at each look."""

    async def projections(
        self, uids: Iterable[UUID], *, output: bool = False
    ) -> tuple[int, list[tuple[bool, JobView]]]:
        self.meanwhile()
        return self.given, [(False, replace(job(State.RUNNING), id=uid.int, uid=uid)) for uid in uids]

    async def adopt_end(self, uid: UUID, end: object) -> bool:
        self.told.append("end")
        return True

    async def reach_revision(self, revision: int) -> int:
        self.told.append(f"reach {revision}")
        return self.given

    async def touch(self, uids: Iterable[UUID]) -> None:
        if self.failing:
            self.failing -= 1
            raise QueueUnavailable("it restarts")
        self.told.append(f"write {len(list(uids))}")


@dataclass
class _Api:
    meter: Counters = field(default_factory=Counters)


def audit(database: RestoredDatabase) -> StatusAudit:
    return StatusAudit(
        cast("Queue", database), cast("ApiServer", _Api()), wrote=lambda uid, status: False,
        forget=lambda uids: None, refresh=lambda uids: None, given_at_first=5, settle_seconds=0.0,
    )  # fmt: skip


def listed(number: int, state: str, revision: int) -> WatchEvent:
    uid = str(UUID(int=UID.int + number))
    named: dict[str, Any] = {"metadata": {"uid": uid, "namespace": "team", "name": f"job-{number}"}}
    return WatchEvent({**named, "status": {"state": state, "revision": revision}}, deleted=False, listed=True)


async def compared(one: StatusAudit, done: Any) -> None:
    running = asyncio.create_task(one.run())
    try:
        await until(done)
    finally:
        running.cancel()


async def test_h31_every_end_is_recorded_before_anything_can_be_written_over_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_audit, "BATCH", 2)
    database = RestoredDatabase()
    one = audit(database)
    shown = ["Running", "Complete", "Running", "Failed", "Complete"]
    one.enqueue(listed(number, state, 10 + number) for number, state in enumerate(shown))
    await compared(one, lambda: "reach 14" in database.told)
    assert database.told.count("end") == 3
    assert database.told.index("reach 14") > max(n for n, told in enumerate(database.told) if told == "end")
    assert [told for told in database.told if told.startswith("reach")] == ["reach 14"]


async def test_revisions_go_on_where_the_last_object_that_may_show_an_end_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_audit, "BATCH", 1)
    database = RestoredDatabase()
    one = audit(database)
    last = listed(2, "Complete", 12)
    database.meanwhile = lambda: one.enqueue([replace(last, deleted=True)])
    one.enqueue([listed(1, "Running", 11), last])
    await compared(one, lambda: "reach 11" in database.told)
    assert "end" not in database.told


async def test_a_status_whose_mending_failed_is_mended_later() -> None:
    database = RestoredDatabase(failing=1)
    one = audit(database)
    one.enqueue([listed(1, "Queued", 3)])
    await compared(one, lambda: database.told == ["write 1"])
    assert database.failing == 0


async def test_nothing_stays_of_an_object_that_is_deleted_while_it_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_audit, "CHECK_SECONDS", 0.01)
    database = RestoredDatabase()
    one = audit(database)
    shown = [listed(1, "Queued", 3), listed(2, "Running", 3), listed(3, "Complete", 9)]
    looks = 0

    def delete() -> None:
        nonlocal looks
        looks += 1
        one.enqueue([replace(seen, deleted=True) for seen in shown])

    database.meanwhile = delete
    one.enqueue(shown)
    await compared(one, lambda: looks >= 2)
    assert not any((one._pending, one._urgent, one._right, one._mended, one._adopted, one._known))
