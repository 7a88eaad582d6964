"""Which writes of schedules let others go first, and for how long."""

from __future__ import annotations

import asyncio
import math
import time
from uuid import UUID

from agentjobs.controller.scheduledagentjob.write_gate import OVERLOAD_CHILDREN, WriteGate
from controller_builders import until


def create(gate: WriteGate, number: int, at: float, namespace: str = "team") -> None:
    gate.backoff.start(namespace, UUID(int=number), at)


async def test_what_is_not_urgent_waits_while_many_children_are_created() -> None:
    gate, passed = WriteGate(), list[int]()

    async def write() -> None:
        await gate.wait_until_calm()
        passed.append(1)

    gate.backoff.slow_seconds = 600
    for number in range(OVERLOAD_CHILDREN):
        create(gate, number, math.inf)
    assert not gate.overloaded
    create(gate, OVERLOAD_CHILDREN, time.monotonic())
    assert gate.overloaded
    task = asyncio.create_task(write())
    await asyncio.sleep(0.02)
    assert not passed
    gate.backoff.ended("team", UUID(int=0))
    await until(lambda: bool(passed))
    await task


def test_creations_that_get_no_answer_hold_up_nothing() -> None:
    gate, now = WriteGate(), time.monotonic()
    gate.backoff.slow_seconds = 600
    for number in range(100):
        create(gate, number, now - 601 if number < 24 else math.inf, "silent")
    assert not gate.overloaded
    for number in range(1000, 1001 + OVERLOAD_CHILDREN):
        create(gate, number, now)
    assert gate.overloaded
