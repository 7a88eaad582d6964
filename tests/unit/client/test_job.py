"""A job is checked where it is made, as a manifest is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentjobs import Input, InvalidJob, Job
from agentjobs.api.agentjob import AgentJob
from agentjobs.api.validation import problems_of
from agentjobs.client.job import unique_uid
from agentjobs.client.queue import to_enqueue
from agentjobs.controller.agentjob.object_change import Gate, change_of
from agentjobs.values.input_file import InputFile

INLINE = {"name": "greeter", "model": "echo", "instruction": "Greet."}
make: Callable[..., Job] = Job.module
"""Without types: what a program without a type checker may pass."""
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"mesage": "x"}, "mesage: unknown field; did you mean message?"),
    ({}, "message: is required"),
    ({"inputs": {"a/b": b""}}, "inputs: wants names of letters, digits"),
    ({"inputs": {"a": "text"}}, "inputs['a']: wants bytes, or agentjobs.Input with bytes, got str"),
    ({"inputs": {"a": Input("text")}}, "inputs['a']: wants bytes, or agentjobs.Input with bytes, got str"),  # type: ignore[arg-type]
    ({"inputs": {"a": Input(b"", attach="Tool")}}, "inputs['a'].attach: wants Message or Artifact, got 'Tool'"),  # type: ignore[arg-type]
    ({"inputs": {"a": Input(b"", "csv")}}, "inputs['a'].mime_type: wants a MIME type such as text/csv, got 'csv'"),
    ({"inputs": {"a": bytes(800_000)}}, "inputs: wants at most 716800 bytes together, got 800000"),
    ({"message_from": {}}, "message_from: unknown field; it is for objects in Kubernetes alone"),
    ({"message": "x", "max_attempt": 3}, "max_attempt: unknown field; did you mean max_attempts?"),
    ({"message": "x", "max_attempts": 0}, "max_attempts: wants at least 1, got 0"),
    ({"message": "x", "max_attempts": "3"}, "max_attempts: wants a whole number, got '3'"),
    ({"message": "x", "max_attempts": True}, "max_attempts: wants a whole number, got True"),
    ({"message": "x", "priority": 10}, "priority: wants at most 9, got 10"),
    ({"message": 5}, "message: wants text, got a number"),
    ({"message": "x", "queue": "Not A Label"}, "queue: wants text that matches"),
    ({"message": "x", "user_id": ""}, "user_id: wants at least 1 characters, got 0"),
    ({"message": "x", "session": "s"}, "session: unknown field; did you mean session_id?"),
    ({"message": "x", "session_id": "job-1"}, "session_id: may not begin with job-"),
    ({"message": "x", "retry_policy": {"factor": 0}}, "retry_policy.factor: wants at least 1, got 0"),
    ({"message": "x", "retry_policy": {"facto": 1}}, "retry_policy.facto: unknown field; did you mean factor?"),
    ({"message": "x", "retry_policy": {"max_delay_second": 1}}, "did you mean max_delay_seconds?"),
    ({"message": "x", "budget": {"max_tokens": 0}}, "budget.max_tokens: wants at least 1, got 0"),
    ({"message": "x", "run_at": datetime(2030, 1, 1)}, "run_at: wants a time with a zone"),  # noqa: DTZ001
    ({"message": "x", "run_at": "soon"}, "run_at: wants an RFC 3339 time"),
    ({"message": "x", "run_at": datetime.now(UTC), "delay_seconds": 5}, "run_at: set at most one of delay_seconds and run_at"),
    ({"message": "x", "scheduled_time": "soon"}, "scheduled_time: unknown field; use run_at"),
    ({"message": "x", "ttl_seconds_after_finished": 1}, "it is for objects in Kubernetes alone"),
    ({"message": "x", "namespace": "No"}, "namespace: wants a DNS label"),
    ({"message": "x", "name": "No Name"}, "name: wants lower-case letters"),
    ({"message": "x", "state": {"user:a": 1}}, "state: has keys that begin with user:, which all sessions of the user share, "
     "and the user is the default, system: set user_id"),
    ({"message": "x", "state": {"a": float("nan")}}, "state: the value at a is nan"),
    ({"message": "x", "user_id": "maxAttempts x"}, "got 'maxAttempts x'"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "told"), INVALID, ids=[told for _, told in INVALID])
def test_what_a_manifest_may_not_say_is_refused_with_field_value_and_remedy(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidJob) as refused:
        make("my_agents.order", **fields)
    assert told in str(refused.value)
    assert "spec." not in str(refused.value)


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        (INLINE | {"instruktion": "x"}, "agent.inline.instruktion: unknown field; did you mean instruction?"),
        ({"name": "a", "model": "echo"}, "agent.inline.instruction: is required"),
        (INLINE | {"generate_content_config": {"top_p": 2.0}}, "agent.inline.generate_content_config.top_p: wants at most 1"),
        (INLINE | {"name": "user"}, "user is the author of messages"),
    ],
)  # fmt: skip
def test_an_inline_agent_is_checked_too(agent: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidJob, match=None) as refused:
        Job.inline(agent, "Hello")
    assert told in str(refused.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidJob) as refused:
        make("not a module", "x", priority=99, mood="good")
    assert len(refused.value.problems) == 3


def test_a_misspelt_module_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"agent\.module: wants text that matches"):
        Job.module("my agents", "Hello")


def test_a_file_says_what_a_manifest_can_say() -> None:
    files: dict[str, bytes | Input] = {
        "a.csv": b"x,y",
        "photo": Input(b"\x89PNG", "image/png", attach="Artifact"),
        "b": Input(b"text"),
    }
    job = Job.module("my_agents.order", "Look.", inputs=files)
    found = [InputFile.from_json(one) for one in job.to_enqueue(None).payload["inputs"]]
    assert found == [
        InputFile("a.csv", "text/csv", b"x,y", "Message"),
        InputFile("photo", "image/png", b"\x89PNG", "Artifact"),
        InputFile("b", "text/plain", b"text", "Message"),
    ]


def test_a_job_from_python_is_stored_as_the_object_with_the_same_fields_is() -> None:
    manifest = yaml.safe_load(
        """
        apiVersion: agentjobs.dev/v1alpha1
        kind: AgentJob
        metadata: {name: order, namespace: team, uid: 7cb4a0bb-4b8c-4e4c-9d6d-4ec6d5d5c0ab}
        spec:
          agent: {inline: {name: greeter, model: echo, instruction: Greet., generateContentConfig: {topK: 3}}}
          message: Hello
          userID: max
          appName: shop
          sessionID: talk
          queue: quick
          priority: 1
          maxAttempts: 7
          retryPolicy: {initialDelaySeconds: 1, factor: 3}
          attemptTimeoutSeconds: 60
          startingDeadlineSeconds: 70
          activeDeadlineSeconds: 80
          inputDeadlineSeconds: 90
          budget: {maxTokens: 1000}
          scheduledTime: "2030-01-01T00:00:00Z"
        """
    )
    assert problems_of(manifest) == []
    theirs = change_of(manifest, Gate("cluster")).job
    ours = Job.inline(
        INLINE | {"generate_content_config": {"top_k": 3}},
        "Hello",
        user_id="max",
        app_name="shop",
        session_id="talk",
        queue="quick",
        priority=1,
        max_attempts=7,
        retry_policy={"initial_delay_seconds": 1, "factor": 3},
        attempt_timeout_seconds=60,
        starting_deadline_seconds=70,
        active_deadline_seconds=80,
        input_deadline_seconds=90,
        budget={"max_tokens": 1000},
        run_at=datetime(2030, 1, 1, tzinfo=UTC),
        namespace="team",
        name="order",
    ).to_enqueue(None)
    assert theirs is not None
    for field in ("payload", "queue", "priority", "session", "run_at", "max_attempts", "retry", "attempt_timeout_seconds",
                  "starting_deadline_seconds", "active_deadline_seconds"):  # fmt: skip
        assert getattr(ours, field) == getattr(theirs, field), field


def test_absent_fields_have_the_defaults_of_the_resource() -> None:
    spec = Job.module("my_agents.order", "Hello").spec
    assert (
        spec
        == AgentJob.model_validate(
            {"spec": {"agent": {"module": "my_agents.order"}, "message": "Hello"}}
        ).spec
    )


def test_a_delay_begins_when_the_job_is_enqueued() -> None:
    before = datetime.now(UTC)
    due = Job.module("my_agents.order", "Hello", delay_seconds=60).to_enqueue(None).run_at
    assert due is not None
    assert before <= due - timedelta(seconds=60) <= datetime.now(UTC)


def test_each_enqueue_of_a_job_is_another_one_and_a_key_names_one_in_its_namespace() -> None:
    job = Job.module("my_agents.order", "Hello")
    assert job.to_enqueue(None).uid != job.to_enqueue(None).uid
    assert job.to_enqueue("order-17").uid == unique_uid("default", "order-17")
    assert unique_uid("default", "a") != unique_uid("team", "a")


BAD_CALLS: list[tuple[Any, Any, str]] = [
    ({"v": 1, "message": "x"}, None, "jobs: Job.module"),
    ([Job.module("a", "x")], "key", "unique: one key, or None, for each of the 1 jobs"),
    ([Job.module("a", "x")], ["a", "b"], "for each of the 1 jobs"),
    (Job.module("a", "x"), "", "unique: a text that is not empty"),
    (Job.module("a", "x"), 5, "unique: a text that is not empty is wanted, got 5"),
]


@pytest.mark.parametrize(("jobs", "unique", "told"), BAD_CALLS, ids=[told for *_, told in BAD_CALLS])
def test_what_cannot_be_enqueued_is_refused_before_anything_is_sent(
    jobs: Any, unique: Any, told: str
) -> None:
    with pytest.raises(InvalidJob, match=told):
        to_enqueue(jobs, unique)


def test_importing_the_package_imports_nothing_of_it_and_its_names_are_there() -> None:
    script = (
        "import sys, agentjobs; heavy = [m for m in sys.modules if m.split('.')[0] in ('psycopg', 'pydantic', 'asyncio')];"
        " assert not heavy, heavy; assert [m for m in sys.modules if m.startswith('agentjobs')] == ['agentjobs'];"
        " assert all(getattr(agentjobs, name) for name in agentjobs.__all__); assert set(agentjobs._HOME_OF) == set(agentjobs.__all__);"
        " from agentjobs import Queue, Job, SyncQueue; import agentjobs.queue.queue;"
        " assert 'kopf' not in sys.modules and 'google.adk' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(ImportError, match="Quue"):
        exec("from agentjobs import Quue")


def test_the_page_shows_the_message_that_two_mistakes_get() -> None:
    page = (Path(__file__).parents[3] / "docs/python.md").read_text()
    with pytest.raises(InvalidJob) as refused:
        make("my_agents.order", mesage="Hello", max_attempts=0)
    assert f"agentjobs.client.errors.InvalidJob: {refused.value}\n" in page


def test_a_state_is_stored_as_it_was_given_with_its_nulls_and_the_names_of_fields_in_it() -> None:
    state = {"user_id": None, "deep": {"max_attempts": [None, {"session_id": None}]}}
    assert Job.module("m", "hello", state=state).to_enqueue(None).payload["state"] == state
