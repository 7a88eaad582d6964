"""The lease's page: what the supervisor writes is what every other process reads."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.connection import Connection

import pytest

from agentjobs.agents.lease_gate import leased, wait_for_lease
from agentjobs.worker.process.lease import Lease, LeaseReader, boot_seconds
from processes import until


def reader_of(lease: Lease) -> LeaseReader:
    return LeaseReader(lease.descriptor)


def test_a_lease_that_was_never_renewed_has_no_end() -> None:
    lease = Lease()
    assert reader_of(lease).seconds_left() > 10 * 365 * 86400
    lease.close()


def test_h13_a_renewal_is_seen_by_a_forked_process_that_inherited_the_page() -> None:
    lease = Lease()
    reader = reader_of(lease)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_answer, args=(theirs, reader))
    child.start()
    try:
        for seconds in (30.0, -5.0, 90.0):
            lease.renew(boot_seconds() + seconds)
            ours.send("look")
            assert ours.poll(30)
            assert ours.recv() == pytest.approx(seconds, abs=20)
    finally:
        ours.close()
        child.kill()
        child.join()
        lease.close()


def _answer(pipe: Connection, reader: LeaseReader) -> None:
    os.closerange(pipe.fileno() + 1, 256)  # the mapping needs none
    while pipe.recv():
        pipe.send(reader.seconds_left())


async def test_h13_the_gate_opens_with_the_renewal_and_not_before() -> None:
    left = [-1.0]
    looked = 0

    def seconds_left() -> float:
        nonlocal looked
        looked += 1
        return left[0]

    with leased(seconds_left):
        waiting = asyncio.ensure_future(wait_for_lease())
        await until(lambda: looked >= 3, "the gate looks again and again")
        assert not waiting.done()
        left[0] = 5.0
        await asyncio.wait_for(waiting, 60)
        await asyncio.wait_for(wait_for_lease(), 60)
    await wait_for_lease()
