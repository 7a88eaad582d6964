"""The session of a job and its part of it, by the same rule as the worker's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from agentjobs.agents.run.invocation import invocation_of
from agentjobs.queue.records import ObjectRef
from agentjobs.transcript.jobs import SessionKey, invocations_of, session_of

UID = UUID("0190c8a4-0000-7000-8000-000000000001")


@dataclass(frozen=True)
class View:
    payload: dict[str, Any] | None
    ref: ObjectRef | None = None
    uid: UUID = UID


def test_a_job_without_names_has_a_session_of_its_own() -> None:
    job = View({"namespace": "team"})
    assert session_of(job) == SessionKey("team/agentjobs", "system", f"job-{UID}")
    assert invocations_of(job) is None, "the whole session is its own"


def test_a_job_in_a_shared_session_has_its_own_invocations() -> None:
    job = View({"namespace": "team", "appName": "shop", "userID": "ann", "sessionID": "s"})
    assert session_of(job) == SessionKey("team/shop", "ann", "s")
    assert invocations_of(job) == frozenset({invocation_of(str(UID), 1)})
    assert invocation_of(str(UID), 3).split("-r")[0] in (invocations_of(job) or ())


@pytest.mark.parametrize(
    ("payload", "ref"),
    [
        (None, None),
        ({"namespace": 7}, None),
        ({"namespace": "team", "sessionID": ["s"]}, None),
        ({"namespace": "other"}, ObjectRef("c", "team", "n")),
        ({}, ObjectRef("c", "team", "n")),
    ],
)
def test_a_session_that_cannot_be_known_or_is_another_namespaces_is_none(
    payload: dict[str, Any] | None, ref: ObjectRef | None
) -> None:
    assert session_of(View(payload, ref)) is None


def test_h18_the_namespace_of_the_object_is_that_of_the_session() -> None:
    key = session_of(View({"namespace": "team"}, ObjectRef("c", "team", "n")))
    assert key is not None
    assert key.app_name.partition("/")[0] == "team"
