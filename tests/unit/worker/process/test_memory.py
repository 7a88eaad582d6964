"""Who takes how much memory, descendants included."""

from __future__ import annotations

from agentjobs.worker.process.linux import Process
from agentjobs.worker.process.memory import members, over_limit

TREE = {
    1: Process(0, 10),
    2: Process(1, 120),  # the template
    10: Process(2, 150),  # a run
    11: Process(10, 300),  # its child
    12: Process(11, 200),  # and that one's
    20: Process(2, 150),  # another run
    30: Process(1, 900),  # somebody else
}


def test_a_run_is_all_its_descendants_and_nobody_else() -> None:
    assert members([10, 20, 99], TREE) == {10: [10, 11, 12], 20: [20], 99: []}


def test_only_a_run_whose_fair_share_is_over_the_limit_is_named() -> None:
    share = {10: 40, 11: 280, 12: 190}
    assert over_limit([10, 20], TREE, 500, share.get) == {10: 510}


def test_resident_pages_that_are_shared_do_not_count() -> None:
    assert over_limit([10, 20], TREE, 500, {10: 40, 11: 100, 12: 100}.get) == {}


def test_the_costly_measure_is_taken_only_of_those_that_might_be_over() -> None:
    measured: list[int] = []

    def measure(pid: int) -> int:
        measured.append(pid)
        return 0

    over_limit([10, 20], TREE, 500, measure)
    assert measured == [10, 11, 12]


def test_a_process_that_cannot_be_measured_counts_whole() -> None:
    assert over_limit([20], TREE, 100, lambda _: None) == {20: 150}
