"""A retry over each history that a failed run can leave: it asks a model that is well, and gets its answer.

Each cell is a real first run, whose model, tool or callback fails in one way or whose process dies after one of the
events that it stores, and a run after it. That run ends Complete with the answer to the job's message, makes no
finished tool call again, and sends what providers accept: ``fakes/histories.py``.
"""

from __future__ import annotations

import re

import pytest
from agent_modules import Write, write_module
from histories import AGENTS, ROOTS, Cell, Histories, Root

__all__ = ["write_module"]

FAULTS = re.findall(r'^    "([a-z ,]+)": lambda', AGENTS, re.MULTILINE)
CALLBACKS = [
    f"{place} callback raises"
    for place in ("before_agent", "after_agent", "before_model", "after_model", "before_tool", "after_tool")
]
LEFT_HALF = ("", "text and a call", "the same call twice", "transfer to nobody", "code that ran")
"""Faults whose runs are cut after each event that they store. The first is none."""


@pytest.fixture
def histories(write_module: Write, monkeypatch: pytest.MonkeyPatch) -> Histories:
    return Histories(write_module, monkeypatch)


@pytest.fixture(params=ROOTS, ids=lambda root: root.name)
def root(request: pytest.FixtureRequest) -> Root:
    found: Root = request.param
    return found


def test_the_sweep_knows_its_faults() -> None:
    assert len(FAULTS) > 35


async def test_invariant_8_a_retry_succeeds_whatever_the_first_model_answer_was(
    histories: Histories, root: Root
) -> None:
    await all_well(histories, [Cell(root, fault) for fault in (*FAULTS, *CALLBACKS)])


@pytest.mark.parametrize(
    "root", [r for r in ROOTS if r.name in ("LlmAgent", "SequentialAgent")], ids=lambda root: root.name
)
async def test_a_retry_succeeds_whatever_the_model_answered_to_a_tools_result(
    histories: Histories, root: Root
) -> None:
    await all_well(histories, [Cell(root, fault, "after the tool") for fault in FAULTS])


async def test_a_retry_by_hand_succeeds_after_a_cancel(histories: Histories, root: Root) -> None:
    hanging = [fault for fault in FAULTS if "hangs" in fault]
    await all_well(histories, [Cell(root, fault, aborted=True) for fault in hanging])


async def test_a_run_goes_on_after_each_event_at_which_the_one_before_it_died(
    histories: Histories, root: Root
) -> None:
    found: list[str] = []
    for fault in LEFT_HALF:
        died = 0
        while True:
            died += 1
            problems, stored = await histories.broken(Cell(root, fault, dies_after=died))
            found += [f"{fault!r}, dies after {died}: {problem}" for problem in problems]
            if stored < died:
                break
        assert died > 2, fault
    assert not found, "\n".join(found)


async def all_well(histories: Histories, cells: list[Cell]) -> None:
    found = []
    for cell in cells:
        problems, _ = await histories.broken(cell)
        found += [f"{cell.fault}: {problem}" for problem in problems]
    assert not found, "\n".join(found)
