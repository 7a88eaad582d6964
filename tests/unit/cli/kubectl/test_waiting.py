"""Waiting for several jobs: the first end of each counts."""

from __future__ import annotations

import pytest

from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.verbs.wait import Told, ends_of
from agentjobs.cli.kubectl.waiting import Seen

HOW = Told("agentjob team/", "kubectl agentjobs {verb} {name}", quiet=False)
FINISHED = frozenset({"Complete", "Failed"})


def seen(name: str, state: str = "", *, deleted: bool = False) -> Seen:
    return Seen({"metadata": {"name": name}, "status": {"state": state}}, deleted)


@pytest.mark.parametrize(
    ("wanted", "changes", "ends"),
    [
        # a history limit takes the first one away while the second runs
        (FINISHED, [seen("a", "Complete"), seen("a", "Complete", deleted=True), seen("b", "Complete")],
         {"a": "Complete", "b": "Complete"}),
        # one was retried
        (FINISHED, [seen("a", "Failed"), seen("a", "Running"), seen("a", "Complete"), seen("b", "Failed")],
         {"a": "Failed", "b": "Failed"}),
        # what came after the state that was waited for
        (frozenset({"Running"}), [seen("a", "Running"), seen("a", "Failed"), seen("b", "Running")],
         {"a": "Running", "b": "Running"}),
    ],
)  # fmt: skip
def test_what_becomes_of_a_job_after_its_end_does_not_count(
    wanted: frozenset[str], changes: list[Seen], ends: dict[str, str]
) -> None:
    assert ends_of(changes, ["a", "b"], wanted, HOW, None) == ends


def test_a_job_that_is_deleted_before_its_end_is_an_error() -> None:
    with pytest.raises(Unavailable, match="agentjob team/a was deleted while it was waited for"):
        ends_of([seen("a", "Running"), seen("a", "Running", deleted=True)], ["a"], FINISHED, HOW, None)
