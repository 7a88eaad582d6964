"""Whose an object is: pure, but for the marks that have to be written."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.api.meta import MANAGED_BY
from agentjobs.api.names import installation_of, mark_of
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS, Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.ownership import Ownership
from agentjobs.controller.metrics.counters import MANAGED_ELSEWHERE, Counters

OURS, THEIRS = UUID(int=1), UUID(int=2)
UID, OTHER_UID, SCHEDULE = (str(UUID(int=n)) for n in (3, 4, 5))


def event(mark: str | None = None, *, uid: str = UID, owner: str | None = None, **more: Any) -> WatchEvent:
    meta: dict[str, Any] = {"name": "a", "namespace": "team", "uid": uid, "resourceVersion": "7"}
    if mark is not None:
        meta["annotations"] = {MANAGED_BY: mark}
    if owner is not None:
        meta["ownerReferences"] = [
            {"kind": "ScheduledAgentJob", "name": "s", "uid": owner, "controller": True}
        ]
    meta |= more.pop("meta", {})
    kind: Resource = more.pop("kind", AGENT_JOBS)
    return WatchEvent({"metadata": meta}, deleted=more.pop("deleted", False), kind=kind, **more)


def ownership() -> Ownership:
    return Ownership(ApiServer(None, Counters()), OURS, "cluster-1", lambda batch: None)


@pytest.mark.parametrize(
    ("mark", "owner"),
    [
        (mark_of(OURS, UID), OURS),
        (mark_of(OURS, OTHER_UID), None),
        (str(OURS), None),
        (f"{OURS}/", None),
        (f"somebody/{UID}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_mark_is_of_one_object_and_one_installation(mark: str | None, owner: UUID | None) -> None:
    assert installation_of(event(mark).object["metadata"]) == owner


def test_only_what_is_ours_or_ends_comes_through() -> None:
    gate = ownership()
    assert gate.mine([event(mark_of(OURS, UID))])
    assert gate.mine([event(deleted=True)]), "nobody's, and gone"
    assert gate.mine([event(meta={"deletionTimestamp": "2026-11-23T12:00:00Z"})])
    assert not gate.mine([event()]), "it has to be marked first"
    assert not gate.mine([event(mark_of(THEIRS, UID))])
    assert not gate.mine([event(mark_of(THEIRS, UID), deleted=True)])


def test_what_is_anothers_is_told_once_and_let_go() -> None:
    told: list[WatchEvent] = []
    gate = ownership()
    gate.on_elsewhere = told.append
    for _ in range(3):
        gate.mine([event(mark_of(THEIRS, UID))])
    assert len(told) == 1
    assert gate.api.meter.total(MANAGED_ELSEWHERE) == 1
    assert gate.is_elsewhere(UID)
    assert gate.mine([event(mark_of(OURS, UID))]), "handed over"
    assert not gate.is_elsewhere(UID)


def test_a_child_belongs_to_whom_its_schedule_belongs_to() -> None:
    gate = ownership()
    assert not gate.mine([event(owner=SCHEDULE)]), "its schedule is not known yet"
    gate.mine([event(mark_of(OURS, SCHEDULE), uid=SCHEDULE, kind=SCHEDULED_AGENT_JOBS)])
    assert gate.mine([event(owner=SCHEDULE)])
    gate.mine([event(mark_of(THEIRS, SCHEDULE), uid=SCHEDULE, kind=SCHEDULED_AGENT_JOBS)])
    assert not gate.mine([event(owner=SCHEDULE)])
    assert gate.is_elsewhere(UID)


def test_a_sweeps_get_takes_no_newer_watch_events_place() -> None:
    gate = ownership()
    newest = event(meta={"resourceVersion": "9"})
    gate.mine([newest])
    gate.mine([event(meta={"resourceVersion": "8"}, read_at=1.0)])
    assert gate._unmarked[UID] is newest


class HangingServer:
    """Takes marks, but those of one namespace, which it never answers."""

    def __init__(self) -> None:
        self.meter = Counters()

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        if "/hangs/" in path:
            await asyncio.Event().wait()
        body = event(mark_of(OURS, path.rpartition("/")[2]), uid=path.rpartition("/")[2]).object
        return Reply(200, body)


async def test_a_namespace_whose_marks_are_not_answered_holds_up_no_other() -> None:
    marked: list[WatchEvent] = []
    gate = Ownership(cast(ApiServer, HangingServer()), OURS, "cluster-1", marked.extend)
    names = [("hangs", n) for n in range(10, 90)] + [("team", n) for n in range(90, 95)]
    gate.mine(
        event(uid=str(UUID(int=n)), meta={"namespace": namespace, "name": str(UUID(int=n))})
        for namespace, n in names
    )
    running = asyncio.create_task(gate.run())
    async with asyncio.timeout(60):
        while len(marked) < 5:  # noqa: ASYNC110 - what is waited for is a list
            await asyncio.sleep(0.01)
    running.cancel()
    assert {one.object["metadata"]["uid"] for one in marked} == {str(UUID(int=n)) for n in range(90, 95)}


async def test_an_object_that_is_marked_by_another_meanwhile_is_left_alone() -> None:
    marked: list[WatchEvent] = []
    gate = Ownership(cast(ApiServer, HangingServer()), OURS, "cluster-1", marked.extend)
    gate.mine([event(meta={"name": UID})])
    running = asyncio.create_task(gate.run())
    gate._wake.set()
    await asyncio.sleep(0)  # its task is made, and has not begun
    gate.mine([event(mark_of(THEIRS, UID), meta={"name": UID})])
    gate.mine([event(uid=OTHER_UID, meta={"name": OTHER_UID})])
    async with asyncio.timeout(60):
        while OTHER_UID not in {one.object["metadata"]["uid"] for one in marked}:  # noqa: ASYNC110 - it is in a list
            await asyncio.sleep(0.01)
    assert not running.done(), "the part goes on"
    running.cancel()


async def test_what_is_to_be_marked_counts_as_waiting_but_for_a_namespace_that_is_refused() -> None:
    gate = ownership()
    gate.mine([event(uid=str(UUID(int=n))) for n in range(10, 14)])
    assert gate.waiting() == 4
    assert gate.has(str(UUID(int=10)))
    assert not gate.has(UID)
    for n in range(10, 14):
        gate._refused(Reply(403, {"message": "by a policy"}), event(uid=str(UUID(int=n))))
    assert gate.waiting() == 0, "the watch reads on, for everybody else"
