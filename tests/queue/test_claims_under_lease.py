"""H13 from the dispatcher's side: no job is claimed whose run would have to end at once."""

from __future__ import annotations

import pytest

from agentjobs.queue import numbers
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import ClaimedJob, WorkerInfo
from agentjobs.queue.release import RELEASE
from agentjobs.worker.process.lease import Lease, boot_seconds
from agentjobs.worker.supervisor.dispatch import Dispatcher
from agentjobs.worker.supervisor.heartbeat import Heartbeat
from agentjobs.worker.supervisor.identity import Identity
from agentjobs.worker.supervisor.metrics import WorkerMetrics
from agentjobs.worker.supervisor.runs import Runs
from queue_builders import new_job


async def fails() -> None:
    pytest.fail("the worker is taken for dead")


async def test_no_job_is_claimed_after_an_outage_before_a_beat_has_renewed_the_lease(queue: Queue) -> None:
    """A database that hung may answer the claim first: the beat that the worker gave up has reached it."""
    identity, runs, started = Identity(), Runs({"agents": 1}), list[ClaimedJob]()
    dispatcher = Dispatcher(
        queue, identity, runs, poll_seconds=numbers.POLL_SECONDS, ready=lambda: True,
        start=lambda job, worker: started.append(job), acked=lambda run, answer: None, stepped=lambda: None,
        metrics=WorkerMetrics({"agents": 1}),
    )  # fmt: skip
    heartbeat = Heartbeat(
        queue, identity, runs, Lease(), seconds=numbers.HEARTBEAT_SECONDS, expiry_seconds=numbers.EXPIRY_SECONDS,
        info=lambda: WorkerInfo(identity.uuid, "one", {"agents": 1}, "test"), ready=lambda: True, lost=fails,
        releases=(RELEASE, RELEASE), drain=pytest.fail,
    )  # fmt: skip
    await heartbeat._once()
    await queue.enqueue([new_job()])
    identity.lease_until = boot_seconds() - 1
    identity.work_wanted.clear()

    await dispatcher._once()
    assert started == []

    await heartbeat._once()
    assert identity.work_wanted.is_set(), "the dispatcher is woken"
    await dispatcher._once()
    assert len(started) == 1
