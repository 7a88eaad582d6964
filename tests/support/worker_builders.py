"""Builders: a test names only the fields that it is about."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from agentjobs.queue.model import ClaimedJob, RetryPolicy, Usage


def claimed(**changes: object) -> ClaimedJob:
    job = ClaimedJob(
        id=7,
        token=3,
        uid=UUID(int=1),
        queue="agents",
        priority=2,
        run=1,
        attempt=1,
        max_attempts=3,
        round=1,
        payload={"v": 1, "namespace": "team", "name": "job", "agent": {"module": "m"}, "message": "hello"},
        retry=RetryPolicy(),
        attempt_timeout_seconds=60,
        deadline=None,
        snoozes=0,
        losses=0,
        solo=False,
        spent=Usage(),
        pos=1,
    )
    return replace(job, **changes)  # type: ignore[arg-type]
