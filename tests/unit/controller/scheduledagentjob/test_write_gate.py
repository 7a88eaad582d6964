"""Which writes of schedules let others go first, and for how long."""

from __future__ import annotations

import asyncio

from agentjobs.controller.scheduledagentjob.write_gate import OVERLOAD_CHILDREN, WriteGate
from controller_builders import until


async def test_what_is_not_urgent_waits_while_many_children_are_created() -> None:
    gate, passed = WriteGate(), list[int]()

    async def write() -> None:
        await gate.wait_until_calm()
        passed.append(1)

    for _ in range(OVERLOAD_CHILDREN):
        gate.count_creating(1)
    assert not gate.overloaded
    gate.count_creating(1)
    assert gate.overloaded
    task = asyncio.create_task(write())
    await asyncio.sleep(0.02)
    assert not passed
    gate.count_creating(-1)
    await until(lambda: bool(passed))
    await task
