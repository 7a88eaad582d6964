"""Invariant 10: nothing is written to the API server when nothing changed."""

from __future__ import annotations

from agentjobs.controller.agentjob.status_cache import StatusCache, WrittenStatus
from controller_builders import UID


def status(now: float = 0.0, **fields: object) -> WrittenStatus:
    return WrittenStatus.of({"state": "Running", "revision": 1, "eventCount": 1, **fields}, now)


def written(first: WrittenStatus, *, running: bool = True) -> StatusCache:
    shown = StatusCache()
    shown.wrote(UID, first, running=running, final=False)
    return shown


def test_an_unknown_object_is_written() -> None:
    assert StatusCache().needs(UID, status(), 60)


def test_invariant_10_a_new_revision_alone_is_not_written() -> None:
    assert not written(status()).needs(UID, status(revision=2), 60)


def test_a_change_is_written_at_once() -> None:
    assert written(status()).needs(UID, status(worker="another"), 60)


def test_progress_is_written_once_a_minute() -> None:
    shown = written(status(0))
    assert not shown.needs(UID, status(30, eventCount=2), 60)
    shown.skipped(UID, status(30, eventCount=2))
    assert shown.running_since(1) == [UID], "what was held back is looked at again"
    assert shown.needs(UID, status(60, eventCount=3), 60)


def test_a_running_job_that_does_nothing_is_looked_at_once_a_minute() -> None:
    shown = written(status(0))
    shown.skipped(UID, status(61))
    assert shown.running_since(2) == []


def test_a_wiped_status_is_written_again() -> None:
    shown = written(status())
    shown.forget([UID])
    assert shown.needs(UID, status(), 60)


def test_a_finished_job_is_not_written_twice_by_two_leaders() -> None:
    shown = written(status())
    done = WrittenStatus.of({"state": "Complete", "revision": 3}, 10.0)
    shown.wrote(UID, done, running=False, final=True)
    assert shown.running_since(100) == []
    assert not shown.needs(UID, WrittenStatus.of({"state": "Complete", "revision": 4}, 20.0), 60)
    assert shown.needs(UID, WrittenStatus.of({"state": "Complete", "revision": 5}, 1000.0), 60)
    shown.forget([UID])
    assert shown.needs(UID, done, 60)


def test_a_running_job_of_another_operator_is_refreshed_after_a_while() -> None:
    shown = StatusCache()
    shown.adopt([UID], 0.0)
    assert shown.running_since(1) == [UID]
    assert shown.needs(UID, status(60), 60)
