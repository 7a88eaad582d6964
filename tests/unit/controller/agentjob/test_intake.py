"""Which of several sightings of one object waits for the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.intake import Intake
from agentjobs.controller.agentjob.object_change import Gate
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import Counters
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ObjectChange


def seen(version: str, **fields: Any) -> WatchEvent:
    obj = {
        "metadata": {
            "uid": "11111111-2222-3333-4444-555555555555",
            "namespace": "team",
            "name": "job",
            "generation": 1,
            "resourceVersion": version,
        },
        "spec": {},
    }
    return WatchEvent(obj, **({"deleted": False} | fields))


def intake_of(database: object, **options: Any) -> Intake:
    """An intake that stores in this database; None: it stores nothing."""
    reader = InputReader(ApiServer(None, Counters()))
    return Intake(cast(Queue, database), Gate("cluster-1"), Counters(), reader, **options)


@pytest.mark.parametrize(
    ("why", "first", "second", "wins"),
    [
        ("the newer one", seen("6"), seen("7"), "second"),
        ("a GET that the watch has overtaken", seen("7"), seen("6", read_at=0.001), "first"),
        ("a GET that began after the watch event", seen("7"), seen("6", read_at=float("inf")), "second"),
        ("a watch event after the API server went back", seen("7"), seen("6"), "second"),
        ("versions are numbers", seen("9"), seen("10"), "second"),
        ("a delete is the last word", seen("7", deleted=True), seen("9"), "first"),
        ("a delete, whatever its version", seen("7"), seen("6", deleted=True), "second"),
        ("a listing after the API server went back", seen("7"), seen("6", listed=True), "second"),
    ],
)
def test_of_two_sightings_one_waits(why: str, first: WatchEvent, second: WatchEvent, wins: str) -> None:
    intake = intake_of(None)
    intake.enqueue([first])
    intake.enqueue([second])
    (waiting,) = intake._pending.values()
    assert waiting is {"first": first, "second": second}[wins], why


class _Database:
    """Stores everything; calls ``meanwhile`` while it does."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile

    async def apply(self, changes: Sequence[ObjectChange]) -> dict[UUID, Any]:
        self.meanwhile()
        return {}

    async def respond(self, responses: object) -> dict[UUID, str]:
        return {}


@pytest.mark.parametrize("by", ["a delete", "another installation"])
async def test_nothing_stays_of_an_object_that_goes_while_it_is_stored(by: str) -> None:
    obj, gone = seen("7"), list[UUID]()
    uid = obj.object["metadata"]["uid"]

    def go() -> None:
        database.meanwhile = lambda: None
        if by == "a delete":
            intake.enqueue([seen("8", deleted=True)])
        else:
            intake.forget(uid)

    database = _Database(go)
    intake = intake_of(database, on_gone=gone.extend)
    intake.enqueue([obj])
    await intake.flush()
    assert not any((intake._pending, intake._unread, intake._read, intake._taken, intake._heard_at))
    assert gone == ([UUID(uid)] if by == "a delete" else [])


async def test_a_delete_that_a_sweep_has_told_the_queue_of_is_not_stored_again() -> None:
    """Of a job past retention nothing is left in the queue, which would take it for an object that it never saw."""
    gone, stored = list[UUID](), list[int]()
    database = _Database(lambda: stored.append(1))
    intake = intake_of(database, on_gone=gone.extend)
    obj = seen("7")
    uid = obj.object["metadata"]["uid"]
    intake.enqueue([obj])
    await intake.flush()
    assert stored == [1]
    intake.enqueue([WatchEvent({"metadata": obj.object["metadata"]}, deleted=True, released=True)])
    await intake.flush()
    assert (stored, gone) == ([1], [UUID(uid)])
    assert not any((intake._pending, intake._taken, intake._heard_at))


def test_what_waits_for_a_job_is_woken_when_it_completes_and_not_by_each_change_of_it_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody may annotate his finished job again and again."""
    woken = list[str]()
    monkeypatch.setattr(InputReader, "completed", lambda self, namespace, name: woken.append(name))
    intake = intake_of(None)
    ended = seen("8")
    ended.object["status"] = {"state": "Complete", "revision": 1}
    for event in (seen("7"), ended, ended):
        intake.enqueue([event])
        intake._settle(dict(intake._pending))
    assert len(woken) == 1
