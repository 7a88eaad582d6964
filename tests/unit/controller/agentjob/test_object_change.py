"""From a watched object to what the queue is told."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from agentjobs.api.given import Given
from agentjobs.controller.agentjob.object_change import (
    Gate,
    QueueAccess,
    change_of,
    fingerprint,
    spec_to_read,
    wiped,
)
from agentjobs.queue.records import Confirmed, State
from agentjobs.values.input_file import InputFile
from agentjobs.values.reasons import Reason

UID = "11111111-2222-3333-4444-555555555555"
GATE = Gate("cluster-1")
CREATED = "2026-11-23T12:00:00Z"


def _without_none(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if value is not None}


def obj(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any
) -> dict[str, Any]:
    body = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {
            "uid": UID, "name": "report", "namespace": "team", "generation": 1, "creationTimestamp": CREATED,
        } | metadata,
        "spec": _without_none({"agent": {"module": "agents.hello"}, "message": "hi"} | (spec or {})),
    }  # fmt: skip
    return body if status is None else body | {"status": status}


def test_defaults_are_those_of_the_definition() -> None:
    change = change_of(obj(), GATE)
    assert change.job is not None
    assert (change.job.queue, change.job.priority, change.job.max_attempts) == ("agents", 2, 3)
    assert change.job.session is None
    assert change.job.run_at is None
    assert change.created_at == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert (change.ref.cluster_id, change.ref.namespace, change.ref.name) == ("cluster-1", "team", "report")
    assert [change.cancel, change.gone, change.unaccepted, change.rejected, change.imported] == [
        False,
        False,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("spec", "due"),
    [
        ({"delaySeconds": 90}, datetime(2026, 11, 23, 12, 1, 30, tzinfo=UTC)),
        ({"scheduledTime": "2026-12-01T09:00:00+01:00"}, datetime(2026, 12, 1, 8, 0, tzinfo=UTC)),
        ({"delaySeconds": 0}, None),
        ({}, None),
    ],
)
def test_due_times(spec: dict[str, Any], due: datetime | None) -> None:
    change = change_of(obj(spec), GATE)
    assert change.job is not None
    assert change.job.run_at == due


def test_h18_only_a_named_session_is_a_lock_and_the_namespace_is_in_it() -> None:
    one, other = (change_of(obj({"sessionID": "chat"}, namespace=ns), GATE).job for ns in ("team", "other"))
    assert one is not None
    assert other is not None
    assert one.session
    assert one.session != other.session


def test_cancel_and_suspend_are_passed_on() -> None:
    change = change_of(obj({"cancel": True, "suspend": True}), GATE)
    assert change.cancel
    assert change.job is not None
    assert change.job.suspend


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"message": 7}, ("spec.message", "text")),
        ({"priority": 12}, ("spec.priority", "12", "9")),
        ({"agent": {}}, ("spec.agent", "module", "inline")),
        ({"sessionID": "job-mine"}, ("spec.sessionID", "job-mine")),
        ({"delaySeconds": 1, "scheduledTime": CREATED}, ("scheduledTime", "delaySeconds")),
    ],
)
def test_invariant_13_a_spec_that_can_never_run_is_rejected_by_field_value_and_remedy(
    spec: dict[str, Any], words: tuple[str, ...]
) -> None:
    change = change_of(obj(spec), GATE)
    assert change.job is None
    assert change.rejected is not None
    reason, message = change.rejected
    assert reason == "InvalidSpec"
    for word in (*words, "create a corrected one"):
        assert word in message


def test_a_rejection_never_repeats_a_prompt() -> None:
    change = change_of(obj({"message": "secret " * 20_000}), GATE)
    assert change.rejected is not None
    assert "secret" not in change.rejected[1]


@pytest.mark.parametrize(
    ("access", "spec", "held"),
    [
        ({}, {"queue": "fast"}, False),
        ({"fast": QueueAccess(("team",))}, {"queue": "fast"}, False),
        ({"fast": QueueAccess(("other",))}, {"queue": "fast"}, True),
        ({"fast": QueueAccess((), best_priority=2)}, {"queue": "fast", "priority": 2}, False),
        ({"fast": QueueAccess((), best_priority=2)}, {"queue": "fast", "priority": 1}, True),
        ({"slow": QueueAccess(("other",))}, {"queue": "fast"}, False),
    ],
)
def test_invariant_14_queues_are_privileges(
    access: dict[str, QueueAccess], spec: dict[str, Any], held: bool
) -> None:
    change = change_of(obj(spec), Gate("c", access))
    assert change.job is not None, "held, not refused: it is taken up when the settings change"
    if not held:
        assert change.unaccepted is None
        return
    assert change.unaccepted is not None
    reason, message = change.unaccepted
    assert reason is Reason.QUEUE_NOT_ALLOWED
    assert "spec." in message
    assert "AGENTJOBS_QUEUE_ACCESS" in message


def test_a_restored_object_is_held_until_somebody_wants_it() -> None:
    labels = {"velero.io/restore-name": "nightly"}
    held = change_of(obj(labels=labels), GATE)
    assert held.unaccepted is not None
    assert held.unaccepted[0] is Reason.RESTORED
    assert change_of(obj(labels=labels, generation=2), GATE).unaccepted is None
    assert change_of(obj(), GATE).unaccepted is None
    assert change_of(obj(labels=labels), Gate("c", restored_label=None)).unaccepted is None
    assert change_of(obj(labels=labels), Gate("c", restored_label="other/label")).unaccepted is None


def test_h1_an_object_that_has_finished_is_imported() -> None:
    status = {
        "state": "Failed", "reason": "ToolFailed", "message": "boom", "revision": 9,
        "completionTime": "2026-11-23T13:00:00Z",
    }  # fmt: skip
    change = change_of(obj(status=status), GATE)
    assert change.imported is not None
    assert (change.imported.state, change.imported.reason) == (State.FAILED, "ToolFailed")
    assert change.imported.finished_at == datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
    assert change.imported.status == status


def test_h1_a_finished_object_whose_spec_is_not_readable_is_not_rejected() -> None:
    change = change_of(obj({"priority": 12}, status={"state": "Complete"}), GATE)
    assert change.rejected is None
    assert change.imported is not None


def test_an_unfinished_status_is_not_imported() -> None:
    assert change_of(obj(status={"state": "Running", "revision": 3}), GATE).imported is None
    assert change_of(obj(status={"state": "SomethingNewer", "revision": 3}), GATE).imported is None


def test_h4_a_delete_or_a_deletion_timestamp_means_gone() -> None:
    assert change_of(obj(), GATE, deleted=True).gone
    assert change_of(obj(deletionTimestamp=CREATED), GATE).gone
    assert change_of(obj({"priority": 12}), GATE, deleted=True).gone


def test_the_retry_annotation_is_passed_on() -> None:
    asked = {"agentjobs.dev/retry-requested-at": "2026-11-23"}
    assert change_of(obj(annotations=asked), GATE).retry_requested == "2026-11-23"
    assert change_of(obj(), GATE).retry_requested is None


def test_invariant_10_a_change_of_status_alone_is_an_echo() -> None:
    taken = fingerprint(obj(status={"revision": 1, "state": "Queued"}), GATE)
    same = fingerprint(obj(status={"revision": 2, "state": "Complete"}, labels={"a": "b"}), GATE)
    assert same.is_echo_of(taken)


@pytest.mark.parametrize(
    "changed",
    [
        obj(status={"revision": 1}, generation=2),
        obj(status={"revision": 1}, deletionTimestamp=CREATED),
        obj(status={"revision": 1}, annotations={"agentjobs.dev/retry-requested-at": "1"}),
        obj(status={"revision": 1}, labels={"velero.io/restore-name": "x"}),
        obj(status={}),
        obj(),
    ],
)
def test_everything_else_is_news(changed: dict[str, Any]) -> None:
    assert not fingerprint(changed, GATE).is_echo_of(fingerprint(obj(status={"revision": 1}), GATE))


def test_a_status_that_appears_is_no_news_and_one_that_goes_is() -> None:
    bare, shown = fingerprint(obj(), GATE), fingerprint(obj(status={"revision": 1}), GATE)
    assert shown.is_echo_of(bare)
    assert not bare.is_echo_of(shown)


def test_an_end_that_is_taken_back_is_news() -> None:
    failed = fingerprint(obj(status={"revision": 1, "state": "Failed"}), GATE)
    again = fingerprint(obj(status={"revision": 2, "state": "Queued"}), GATE)
    assert not again.is_echo_of(failed)


def test_a_wiped_status_is_noticed() -> None:
    assert wiped(obj())
    assert wiped(obj(status={}))
    assert not wiped(obj(status={"revision": 1}))


def test_translation_needs_neither_kopf_nor_kubernetes() -> None:
    code = "import sys, agentjobs.controller.agentjob.object_change as t; print(sorted({'kopf', 'kubernetes', 'google.adk'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def answered(value: str) -> dict[str, Any]:
    return obj(annotations={"agentjobs.dev/input-response": value})


def test_an_answer_is_read_from_its_annotation() -> None:
    assert change_of(obj(), GATE).input_response is None
    found = change_of(answered("approve:q-1"), GATE).input_response
    assert found is not None
    assert found.answer is not None
    assert (found.value, found.answer.id, found.answer.approved) == ("approve:q-1", "q-1", True)
    assert change_of(answered("approve:q-1"), GATE, deleted=True).input_response is None


def test_an_annotation_that_is_no_answer_says_what_is_wanted() -> None:
    found = change_of(answered("yes please"), GATE).input_response
    assert found is not None
    assert found.answer is None
    assert found.problem.startswith(
        "annotation agentjobs.dev/input-response: it is no answer; approve:<id>, reject:<id>"
    )


def test_a_long_answer_is_known_again_by_its_digest() -> None:
    long = '{"id": "q", "approved": true, "reason": "' + "x" * 500 + '"}'
    found = change_of(answered(long), GATE).input_response
    assert found is not None
    assert len(found.value) == 64


def test_a_new_answer_is_no_echo() -> None:
    before = fingerprint(obj(), GATE)
    assert not fingerprint(answered("approve:q-1"), GATE).is_echo_of(before)
    assert fingerprint(answered("approve:q-1"), GATE).is_echo_of(fingerprint(answered("approve:q-1"), GATE))


def said(value: str) -> dict[str, Any]:
    return obj(annotations={"agentjobs.dev/act": value})


@pytest.mark.parametrize("deleted", [False, True])
def test_who_changed_it_is_read_from_its_annotation_also_of_a_deleted_one(deleted: bool) -> None:
    told = change_of(said('{"by": "alice", "verb": "delete", "reason": "done"}'), GATE, deleted=deleted).act
    assert told is not None
    assert told.act is not None
    assert (told.act.actor, told.act.verb, told.act.reason) == ("alice", "delete", "done")
    assert change_of(obj(), GATE, deleted=deleted).act is None


def test_who_changed_it_does_not_matter_where_it_cannot_be_read() -> None:
    change = change_of(said("alice"), GATE)
    assert change.act is not None
    assert change.act.act is None
    assert change.rejected is None
    assert change.job is not None


def test_a_new_name_is_no_echo() -> None:
    before, after = fingerprint(obj(), GATE), fingerprint(said('{"by": "alice", "verb": "delete"}'), GATE)
    assert not after.is_echo_of(before)
    assert after.is_echo_of(after)


FILE = {"name": "a", "configMapKeyRef": {"name": "data", "key": "a"}}
FILES = {"inputs": [FILE]}
READ = Given(files=(InputFile("a", "text/plain", b"1"),))


def test_a_job_whose_files_are_not_read_is_held_and_one_whose_files_are_read_has_them() -> None:
    held = change_of(obj(FILES), GATE).unaccepted
    assert held is not None
    assert held[0] is Reason.INPUT_UNAVAILABLE
    missing = change_of(obj(FILES), GATE, read="spec.inputs[0]: no")
    assert missing.unaccepted == (Reason.INPUT_UNAVAILABLE, "spec.inputs[0]: no")
    accepted = change_of(obj(FILES), GATE, read=READ)
    assert accepted.unaccepted is None
    assert accepted.job is not None
    assert (accepted.job.payload["v"], len(accepted.job.payload["inputs"])) == (5, 1)
    message = change_of(
        obj({"message": None, "messageFrom": {"configMapKeyRef": {"name": "data", "key": "a"}}}),
        GATE,
        read=Given("said"),
    )
    assert message.job is not None
    assert (message.job.payload["v"], message.job.payload["message"]) == (1, "said")


def test_spec_and_files_that_no_payload_holds_hold_the_job() -> None:
    large = Given(files=(InputFile("a", "text/plain", bytes(700 << 10)),))
    change = change_of(obj({**FILES, "message": "\N{SNOWMAN}" * 65_536}), GATE, read=large)
    assert change.unaccepted is not None
    assert "at most 1048576 bytes of spec and files together" in change.unaccepted[1]
    assert change.job is not None
    assert "inputs" not in change.job.payload


CLOSED = Gate("cluster-1", {"agents": QueueAccess(("other",))})
CONFIRMED = Confirmed(datetime(2026, 11, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("why", "found", "gate", "confirmed", "reads"),
    [
        ("it names nothing", obj(), GATE, None, False),
        ("it is new", obj(FILES), GATE, None, True),
        ("it waits", obj(FILES, {"state": "Suspended", "reason": "InputUnavailable"}), GATE, None, True),
        ("its queue may be open now", obj(FILES, {"state": "Suspended", "reason": "QueueNotAllowed"}), GATE, None, True),
        ("its queue is closed", obj(FILES), CLOSED, None, False),
        ("it came from a backup", obj(FILES, labels={"velero.io/restore-name": "x"}), GATE, None, False),
        ("it is accepted", obj(FILES, {"state": "Suspended", "reason": "Suspended"}), GATE, None, False),
        ("it is there again", obj(FILES, {"state": "Queued", "reason": "Queued"}), GATE, CONFIRMED, True),
        ("it has ended", obj(FILES, {"state": "Complete"}), GATE, None, False),
        ("it is cancelled", obj({**FILES, "cancel": True}), GATE, None, False),
        ("it goes", obj(FILES, deletionTimestamp=CREATED), GATE, None, False),
        ("it is invalid", obj({**FILES, "maxAttempts": 0}), GATE, None, False),
    ],
)  # fmt: skip
def test_what_an_object_refers_to_is_read_while_it_may_be_accepted(
    why: str, found: dict[str, Any], gate: Gate, confirmed: Confirmed | None, reads: bool
) -> None:
    assert (spec_to_read(found, gate, confirmed) is not None) is reads, why


def test_a_status_that_begins_to_say_that_an_input_is_missing_is_looked_at() -> None:
    taken = fingerprint(obj(FILES, {"state": "Queued", "revision": 1}), GATE)
    held = fingerprint(obj(FILES, {"state": "Suspended", "reason": "InputUnavailable", "revision": 2}), GATE)
    assert not held.is_echo_of(taken)
    assert held.is_echo_of(held)
    assert taken.is_echo_of(held)
