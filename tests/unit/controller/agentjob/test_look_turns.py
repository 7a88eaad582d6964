"""However many jobs of a namespace miss something, few GETs a second are asked for it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from agentjobs.controller.agentjob.look_turns import GETS_A_SECOND, LookTurns, rest_seconds

MOST_GETS = 16
"""Of one look: ``spec.inputs`` has no more."""

LOOKS = st.tuples(
    st.floats(0.0, 5.0),  # when the job wants to look
    st.integers(0, MOST_GETS),  # what it asks for
    st.booleans(),  # whether all of it is there
    st.floats(0.0, 1.0),  # how long it takes
    st.one_of(st.none(), st.floats(0.0, 20.0)),  # when its object is deleted
)


class Clock:
    """Calls what is due, in the order of the times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._calls = 0

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        self._calls += 1
        heapq.heappush(self._due, (self.now + seconds, self._calls, then))

    def run(self) -> None:
        while self._due:
            self.now, _, then = heapq.heappop(self._due)
            then()


class Turn(asyncio.Event):
    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then

    def set(self) -> None:
        super().set()
        self.then()


@given(st.lists(LOOKS, max_size=40))
def test_what_is_asked_for_in_vain_is_bounded_in_every_span_and_everybody_has_a_turn(
    looks: list[tuple[float, int, bool, float, float | None]],
) -> None:
    clock = Clock()
    turns = LookTurns(clock.later)
    vain: list[tuple[float, int]] = []
    had, gone, looking = set[int](), set[int](), 0

    def add(number: int, at: float, gets: int, found: bool, seconds: float, deleted: float | None) -> None:
        def begin() -> None:
            nonlocal looking
            looking += 1
            assert looking == 1, "one at a time"
            clock.later(seconds, end)

        def end() -> None:
            nonlocal looking
            looking -= 1
            had.add(number)
            if not found:
                vain.append((clock.now, gets))
            turns.leave(wake, rest_seconds(gets, found=found))

        def delete() -> None:
            if turns._holder is not wake and number not in had:
                gone.add(number)
                turns.leave(wake)

        wake = Turn(begin)
        clock.later(at, lambda: number in gone or turns.ask(wake))  # type: ignore[func-returns-value, arg-type]
        if deleted is not None:
            clock.later(deleted, delete)

    for number, look in enumerate(looks):
        add(number, *look)
    clock.run()
    assert had | gone == set(range(len(looks)))
    for first, (since, _) in enumerate(vain):
        asked = 0
        for until, gets in vain[first:]:
            asked += gets
            assert asked <= GETS_A_SECOND * (until - since) + MOST_GETS + 1e-6
    assert not turns._waiting


def test_a_look_that_finds_everything_keeps_nobody_waiting() -> None:
    assert rest_seconds(16, found=True) == 0.0
    assert rest_seconds(0, found=False) == 0.0
    assert rest_seconds(2, found=False) == 2 / GETS_A_SECOND
