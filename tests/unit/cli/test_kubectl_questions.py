"""The kubectl plugin without a cluster: what is shown, what is refused, what is sent, what is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agentjobs.api.input_response import Response, parse, text_of
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl.questions import check_kind, patch_of, question_of
from agentjobs.cli.questions import told


def agent_job(request: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metadata": {"name": "refund", "namespace": "shop", "uid": "u-1"},
        "status": status,
    }
    if request is not None:
        found["status"] |= {"state": "InputRequired", "inputRequest": request}
    return found


ASKED = {
    "id": "q-1",
    "tool": "refund",
    "arguments": '{"order": "A-1"}',
    "askedTime": "2026-11-23T12:00:00Z",
    "newer": 1,
}


def test_the_question_is_told_with_all_that_decides() -> None:
    assert told(question_of(agent_job(ASKED))).splitlines() == [
        "AgentJob shop/refund asks: may the tool refund be called?",
        '  arguments:  {"order": "A-1"}',
        "  since:      2026-11-23T12:00:00Z",
        "  id:         q-1",
    ]


def test_what_a_model_wrote_cannot_steer_the_terminal() -> None:
    shown = told(question_of(agent_job(ASKED | {"arguments": "\x1b[2J{}\r\u202ex", "hint": "a\nid: q-2"})))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert len(shown.splitlines()) == 5


@pytest.mark.parametrize(
    ("found", "id", "problem"),
    [
        (agent_job(state="Running", reason="Running"), None, "does not wait for input: it is Running\\."),
        (
            agent_job(state="Failed", reason="InputDeadlineExceeded"),
            None,
            r"it is Failed \(InputDeadlineExceeded\)",
        ),
        (agent_job(), None, "not seen by the operator yet"),
        (agent_job(ASKED), "q-0", "asks the question q-1 now, not q-0"),
    ],
)
def test_what_is_not_asked_is_not_answered(found: dict[str, Any], id: str | None, problem: str) -> None:
    with pytest.raises(Unavailable, match=problem):
        question_of(found, id)


def test_a_question_that_is_answered_already_is_not_answered_again() -> None:
    found = agent_job(ASKED)
    found["metadata"]["annotations"] = {"agentjobs.dev/input-response": "reject:q-1"}
    with pytest.raises(Unavailable, match="answered already"):
        question_of(found)


@pytest.mark.parametrize(
    "annotation",
    [
        '{"id":"q-1","approved":"yes"}',
        '{"id":"q-1"}',
        '{"id":"q-1","approved":true,"why":"?"}',
        "yes:q-1",
        "approve q-1",
        "approve:q-0",
        "approve:q-10",
        '{"id":"q-0","approved":true,"reason":"not q-1"}',
        "q-1",
        "",
        "[" * 5000,
    ],
)
def test_a_refused_answer_is_followed_by_another_one(annotation: str) -> None:
    found = agent_job(ASKED)
    found["metadata"]["annotations"] = {"agentjobs.dev/input-response": annotation}
    assert question_of(found).id == "q-1"


def test_the_same_answer_at_another_time_is_another_value() -> None:
    said = [text_of(Response("q-1", True, at=at)) for at in ("10:00", "10:01")]
    assert len(set(said)) == 2
    assert {parse(text).id for text in said} == {"q-1"}


BUILD = ASKED | {
    "kind": "LongRunning",
    "tool": "build",
    "result": '{"status": "pending"}',
    "responseSchema": '{"type": "object", "required": ["status"]}',
}


def test_a_question_that_wants_a_payload_is_told_with_result_and_schema() -> None:
    assert told(question_of(agent_job(BUILD))).splitlines() == [
        "AgentJob shop/refund waits for the result of the tool build, which has begun.",
        '  arguments:  {"order": "A-1"}',
        '  so far:     {"status": "pending"}',
        '  schema:     {"type": "object", "required": ["status"]}',
        "  since:      2026-11-23T12:00:00Z",
        "  id:         q-1",
    ]
    asked = {"id": "q-1", "kind": "Input", "tool": "review", "hint": "Is it good?"}
    assert told(question_of(agent_job(asked))).splitlines() == [
        "AgentJob shop/refund wants an input for review.",
        "  hint:       Is it good?",
        "  id:         q-1",
    ]


@pytest.mark.parametrize(
    ("asked", "said", "problem"),
    [
        (BUILD, Response("q-1", True), "does not ask for a yes or no, but for the result of a tool that has begun: ANSWER --payload JSON"),
        (BUILD, Response("q-1", None, payload=[]), r"--payload: payload is \[\]; an object is wanted"),
        (ASKED, Response("q-1", None, payload={}), "asks whether the tool refund may be called"),
    ],
)  # fmt: skip
def test_an_answer_of_another_kind_is_refused_before_it_is_written(
    asked: dict[str, Any], said: Response, problem: str
) -> None:
    with pytest.raises((Unavailable, BadInput), match=problem):
        check_kind(question_of(agent_job(asked)), said, "ANSWER")
    found = agent_job(asked)
    found["metadata"]["annotations"] = {"agentjobs.dev/input-response": text_of(said)}
    assert question_of(found).id == "q-1", "what the operator refused is followed by another one"


def test_an_answer_with_a_payload_alone_reads_as_it_was_written() -> None:
    said = Response("q-1", None, payload={"status": "ok"})
    assert parse(text_of(said)) == said
    check_kind(question_of(agent_job(BUILD)), said, "")


def test_the_patch_is_for_this_very_object() -> None:
    assert patch_of(agent_job(ASKED), Response("q-1", True)) == {
        "metadata": {"uid": "u-1", "annotations": {"agentjobs.dev/input-response": "approve:q-1"}}
    }


def test_the_plugin_imports_neither_adk_nor_kopf_nor_a_model() -> None:
    script = (
        "import sys, agentjobs.cli.kubectl.main, agentjobs.cli.kubectl.apiserver, agentjobs.cli.kubectl.verbs.look\n"
        "print(*[m for m in ('google.adk', 'kopf', 'kubernetes', 'pydantic', 'asyncio', 'psycopg', 'sqlalchemy', 'agentjobs.api.meta') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_without_a_kubeconfig_the_way_out_is_told(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from agentjobs.cli.kubectl.main import main; main()", "approve", "x",
         f"--kubeconfig={tmp_path}/none"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: kubeconfig: ")
    assert "Traceback" not in done.stderr
