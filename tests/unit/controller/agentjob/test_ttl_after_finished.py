"""When a finished object is to be deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agentjobs.controller.agentjob.ttl_after_finished import expires_at
from controller_builders import AT

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
