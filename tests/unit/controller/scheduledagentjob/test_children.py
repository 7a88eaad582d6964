"""A schedule's children: what is created, and what is known of those that exist."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.validation import problems_of
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.scheduledagentjob.children import Children, child_of, child_seen
from agentjobs.schedule.history import Child
from scheduler_builders import NOON, UID, reading, tick


def test_a_child_is_the_template_with_names_times_and_an_owner() -> None:
    template = {
        "metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}},
        "spec": {
            "agent": {"module": "m"},
            "message": "$(SCHEDULED_TIME) $(SCHEDULED_DATE) $(LAST_SUCCESSFUL_TIME) $$(X)",
            "sessionID": "daily",
            "newFieldOfANewerDefinition": 1,
        },
    }
    child = child_of(reading({"jobTemplate": template}), tick("brief-29"), None)
    assert child["metadata"] == {
        "name": "brief-29",
        "namespace": "team",
        "labels": {"team": "x", "agentjobs.dev/schedule": "brief"},
        "annotations": {"a": "b", "agentjobs.dev/scheduled-time": "2026-11-23T12:00:00Z"},
        "ownerReferences": [
            {
                "apiVersion": "agentjobs.dev/v1alpha1",
                "kind": "ScheduledAgentJob",
                "name": "brief",
                "uid": str(UID),
                "controller": True,
            }
        ],
    }
    assert child["spec"] == {
        "agent": {"module": "m"},
        "message": "2026-11-23T13:00:00+01:00 2026-11-23 never $(X)",
        "sessionID": "daily",
        "newFieldOfANewerDefinition": 1,
    }


def test_a_child_is_an_agentjob_that_the_api_accepts() -> None:
    child = child_of(reading(), tick(), NOON)
    assert problems_of(child) == []
    owner = AgentJob.model_validate(child).metadata.controller("ScheduledAgentJob")
    assert owner is not None
    assert owner.uid == str(UID)


def test_a_requested_run_tells_what_asked_for_it() -> None:
    asked = reading(annotations={"agentjobs.dev/run-requested-at": "please"})
    child = child_of(asked, tick("brief-manual-1", manual=True), None)
    assert child["metadata"]["annotations"]["agentjobs.dev/run-requested-at"] == "please"
    assert child_seen({**child, "metadata": {**child["metadata"], "uid": "u"}}).manual


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ({"kind": "ScheduledAgentJob", "uid": str(UID), "controller": True}, UID),
        ({"kind": "ScheduledAgentJob", "uid": str(UID)}, None),
        ({"kind": "Deployment", "uid": str(UID), "controller": True}, None),
        ({"kind": "ScheduledAgentJob", "uid": "nonsense", "controller": True}, None),
    ],
)
def test_only_a_controlling_schedule_is_an_owner(owner: dict[str, Any], expected: UUID | None) -> None:
    assert schedule_of({"ownerReferences": [owner]}) == expected


@pytest.mark.parametrize(
    ("state", "succeeded"),
    [
        (None, None),
        ("Running", None),
        ("Complete", True),
        ("Failed", False),
        ("Cancelled", False),
        ("Rejected", False),
    ],
)
def test_a_childs_state_says_whether_it_ended(state: str | None, succeeded: bool | None) -> None:
    obj = {"metadata": {"name": "brief-1", "uid": "u"}, "status": {"state": state} if state else {}}
    seen = child_seen(obj)
    assert seen.succeeded is succeeded
    assert seen.tick is None, "without the annotation"


def child(uid: str, succeeded: bool | None = None, hour: int = 12) -> Child:
    return Child(f"brief-{uid}", uid, NOON.replace(hour=hour), succeeded)


def test_the_watch_knows_more_than_an_answer_that_comes_late() -> None:
    children = Children()
    assert children.saw(UID, child("u", True))
    assert children.created(UID, child("u")) == child("u", True)
    assert children.active(UID) == []
    assert children.deleted(UID, "u")
    assert children.created(UID, child("u")) is None, "it was deleted before the answer came"
    assert not children.saw(UID, child("u")), "an older event of it"
    assert children.of(UID) == []


def test_children_come_oldest_first_and_a_retried_one_is_active_again() -> None:
    children = Children()
    for uid, hour in (("b", 11), ("a", 12), ("c", 10)):
        children.saw(UID, child(uid, False, hour))
    assert [one.uid for one in children.of(UID)] == ["c", "b", "a"]
    children.saw(UID, child("b", None, 11))
    assert [one.uid for one in children.active(UID)] == ["b"]
