"""What tools can learn about their job."""

from __future__ import annotations

import pytest
from runs import Job

from agentjobs.agents.context import current_job, running


def test_outside_of_a_run_there_is_no_job() -> None:
    with pytest.raises(LookupError, match="outside of a job's run"):
        current_job()


def test_the_key_is_stable_over_runs_and_rounds_and_differs_by_call() -> None:
    job = Job()
    keys = []
    for run, round_ in ((1, 1), (2, 1), (3, 2)):
        job.run, job.round = run, round_
        with running(job.spec()) as context:
            assert current_job() is context
            keys.append((context.idempotency_key, context.key("charge", "card", 100)))
    assert len(set(keys)) == 1
    with running(job.spec()) as context:
        assert context.key("charge", "card", 101) != keys[0][1]
        assert context.key("charge", "1") != context.key("charge", 1)
    with running(Job().spec()) as other:
        assert other.key("charge", "card", 100) != keys[0][1]
