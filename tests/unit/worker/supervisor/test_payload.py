"""A claimed job's payload becomes a spec, or says what is wrong with it."""

from __future__ import annotations

import pytest

from agentjobs.values.usage import Usage
from agentjobs.worker.supervisor.payload import VERSION, PayloadInvalid, PayloadTooNew, attempt_spec
from worker_builders import claimed


def test_every_field_arrives() -> None:
    payload = {
        "v": 1,
        "namespace": "team",
        "name": "hello",
        "agent": {"module": "pkg.mod"},
        "message": "hi",
        "userID": "me",
        "appName": "chat",
        "sessionID": "s1",
        "budget": {"maxTokens": 100, "maxLLMCalls": 3},
        "answers": {"q-1": {"approved": True}},
    }
    job = claimed(payload=payload, run=4, attempt=2, spent=Usage(1, 2, 3, 4, 5))
    spec = attempt_spec(job)
    assert (spec.namespace, spec.name, spec.message, spec.agent) == (
        "team",
        "hello",
        "hi",
        {"module": "pkg.mod"},
    )
    assert spec.answers == {"q-1": {"approved": True}}
    assert (spec.user_id, spec.app_name, spec.session_id) == ("me", "chat", "s1")
    assert (spec.max_tokens, spec.max_llm_calls, spec.spent) == (100, 3, Usage(1, 2, 3, 4, 5))
    assert (spec.uid, spec.run, spec.attempt, spec.queue) == (str(job.uid), 4, 2, "agents")


def test_what_is_absent_has_its_default() -> None:
    job = claimed(payload={"agent": {"inline": {"name": "a"}}})
    spec = attempt_spec(job)
    assert (spec.user_id, spec.app_name, spec.session_id) == ("system", "agentjobs", None)
    assert (spec.max_tokens, spec.max_llm_calls) == (None, None)


def test_h30_a_newer_payload_is_not_guessed_at() -> None:
    newer = rf"payload\.v is {VERSION + 1}, and this worker understands versions up to {VERSION}"
    with pytest.raises(PayloadTooNew, match=newer):
        attempt_spec(claimed(payload={"v": VERSION + 1, "something": "else"}))


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({}, "agent"),
        ({"agent": "pkg.mod"}, "agent"),
        ({"agent": {}}, "agent"),
        ({"agent": {"module": "a", "inline": {}}}, "agent"),
        ({"v": "1", "agent": {"module": "a"}}, "payload.v"),
        ({"agent": {"module": "a"}, "message": 5}, "payload.message"),
        ({"agent": {"module": "a"}, "answers": {"q-1": True}}, "payload.answers"),
        ({"agent": {"module": "a"}, "budget": 5}, "payload.budget"),
        ({"agent": {"module": "a"}, "budget": {"maxTokens": "many"}}, "payload.budget.maxTokens"),
    ],
)
def test_a_payload_that_nobody_can_run_names_the_field(payload: dict[str, object], named: str) -> None:
    with pytest.raises(PayloadInvalid, match=named):
        attempt_spec(claimed(payload=payload))
