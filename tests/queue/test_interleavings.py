"""Two at once are as one after the other: every pair of operations, one executed and not committed when the other
starts, from each state of a job in which the first does something (invariants 4 and 5).

The result must equal that of one of the serial orders: all rows and both replies. An operation that passes by locked
rows (a claim, a stage of the tick) may also do what it does without the rows that the first has locked, and its next
call must then come to the result of a serial order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from interleaving import Interleaver, Operation, Result, Scene
from interleaving_scenes import SCENES, build


@pytest.fixture(scope="module")
def interleaver(database: str) -> Iterator[Interleaver]:
    interleaver = Interleaver(database)
    yield interleaver
    interleaver.close()


def problem(interleaver: Interleaver, scene: Scene, first: Operation, second: Operation) -> str | None:
    """What is wrong with these two at once, or None."""
    found = interleaver.interleaved(scene, first, second)
    if found.unheard:
        return (
            f"{scene.name}: of '{first.name}', then '{second.name}' nobody hears: {', '.join(found.unheard)}"
        )
    orders = interleaver.both_orders(scene, first, second)
    if found.result in orders:
        return None
    if not second.passes_by or found.waited:
        return told(scene, first, second, found.waited, found.result, orders)
    passed_by = interleaver.passed_by(scene, first, second)
    if found.result != passed_by:
        return told(scene, first, second, found.waited, found.result, [*orders, passed_by])
    again = Operation("again", second.statement)
    result = interleaver.interleaved(scene, first, second, again).result.rows
    orders = [interleaver.serial(scene, *order, again) for order in ((first, second), (second, first))]
    if result in [order.rows for order in orders]:
        return None
    return told(scene, first, second, found.waited, Result(result, {}), [Result(o.rows, {}) for o in orders])


def told(
    scene: Scene, first: Operation, second: Operation, waited: bool, result: Result, orders: list[Result]
) -> str:
    how = "waited for it" if waited else "did not wait"
    lines = [f"{scene.name}: '{first.name}' was not committed when '{second.name}' began, which {how}"]
    names = (f"{first.name}, {second.name}", f"{second.name}, {first.name}", "passing by")
    for name, order in zip(names, orders, strict=False):
        lines += [f"  other than [{name}]:", *(f"    {line}" for line in result.differences(order))]
    return "\n".join(lines)


@pytest.mark.parametrize("name", SCENES)
def test_invariant_4_two_at_once_are_as_one_after_the_other(interleaver: Interleaver, name: str) -> None:
    scene: Scene = asyncio.run(build(interleaver, name))
    problems: list[str] = []
    for first in scene.operations.values():
        if not interleaver.does_something(scene, first):
            continue
        for second in scene.operations.values():
            found = problem(interleaver, scene, first, second)
            problems += [found] if found else []
    assert not problems, f"{len(problems)} pairs\n" + "\n".join(problems)
