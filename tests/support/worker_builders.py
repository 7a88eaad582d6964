"""Builders: a test names only the fields that it is about."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.queue.records import ClaimedJob, RetryPolicy
from agentjobs.values.usage import Usage
from agentjobs.worker.process.pool import ExecutorSettings

MEMORY_MIB = 256
"""What one run may take in the tests."""


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


def attempt_spec_of(message: str, module: str = "abuse", *, timeout: int = 60) -> AttemptSpec:
    return AttemptSpec(
        uid=str(uuid4()),
        namespace="team",
        name="job",
        queue="agents",
        run=1,
        attempt=1,
        max_attempts=3,
        round=1,
        agent={"module": module},
        message=message,
        attempt_timeout_seconds=timeout,
    )


def executor_settings(
    path: str, *, preload: tuple[str, ...] = ("abuse", "innocent"), **changes: Any
) -> ExecutorSettings:
    modules = ("abuse", "innocent", "talker", "starts_thread", "fails", "dies")
    values: dict[str, Any] = {
        "agents": AgentSettings(modules=modules, preload=preload),
        "stop_grace_seconds": 1.0,
        "memory_limit_mib": MEMORY_MIB,
        "path": (path,),
        "environment": {**os.environ, "SEEN": "by agents"},
    }
    return ExecutorSettings(**(values | changes))
