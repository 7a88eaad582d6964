"""Under which invocation a round runs."""

from __future__ import annotations

import pytest

from agentjobs.agents.run.invocation import choose

OWN, SECOND, THIRD, OTHER = "job-u", "job-u-r2", "job-u-r3", "job-other"


@pytest.mark.parametrize(
    ("round_", "history", "chosen"),
    [
        (1, [], OWN),
        (1, [OWN, OWN], OWN),
        (1, [OTHER], OWN),
        (1, [OWN, OTHER], OWN),
        # a retried job goes on where it was
        (2, [], OWN),
        (2, [OWN], OWN),
        (2, [OTHER, OWN], OWN),
        (3, [OWN, SECOND], SECOND),
        (3, [OWN], OWN),
        # unless the conversation has gone on
        (2, [OWN, OTHER], SECOND),
        (2, [OTHER], SECOND),
        (3, [OWN, OTHER, SECOND, OTHER], THIRD),
        # its later attempts stay with what the first one chose
        (2, [OWN, OTHER, SECOND], SECOND),
        (2, [OWN, OTHER, SECOND, OTHER], SECOND),
    ],
)
def test_h21_a_round_continues_or_begins_anew(round_: int, history: list[str], chosen: str) -> None:
    assert choose("u", round_, history) == chosen
