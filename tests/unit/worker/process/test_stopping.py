"""The two ladders of H27."""

from __future__ import annotations

import pytest

from agentjobs.worker.process.stopping import Step, Why, heavier, ladder


@pytest.mark.parametrize("why", [Why.CANCEL, Why.DEADLINE])
def test_h27_a_meant_end_begins_with_abort_which_seals_the_history(why: Why) -> None:
    assert ladder(why, 10.0) == [
        (0.0, Step.ABORT),
        (5.0, Step.CANCEL),
        (10.0, Step.TERMINATE),
        (20.0, Step.KILL),
    ]


@pytest.mark.parametrize("why", [Why.DRAIN, Why.SUSPEND, Why.TIMEOUT])
def test_h27_any_other_end_begins_with_task_cancel_which_keeps_the_run_resumable(why: Why) -> None:
    assert ladder(why, 10.0) == [(0.0, Step.CANCEL), (5.0, Step.TERMINATE), (15.0, Step.KILL)]


@pytest.mark.parametrize("why", [Why.LOST, Why.MEMORY])
def test_a_lost_run_and_one_that_eats_the_machine_are_killed_at_once(why: Why) -> None:
    assert ladder(why, 10.0) == [(0.0, Step.KILL)]


def test_every_ladder_ends_with_the_kill() -> None:
    assert {ladder(why, 5.0)[-1][1] for why in Why} == {Step.KILL}


def test_h15_control_requests_have_one_order() -> None:
    assert heavier(Why.SUSPEND, Why.DEADLINE)
    assert heavier(Why.DEADLINE, Why.CANCEL)
    assert not heavier(Why.CANCEL, Why.SUSPEND)
    assert not heavier(Why.CANCEL, Why.CANCEL)
    assert heavier(None, Why.DRAIN)
    assert all(heavier(why, Why.LOST) for why in Why if why is not Why.LOST)
