"""Values to JSON and back, and what is refused on the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.queue import codec, replies
from agentjobs.queue.errors import JobRejected
from agentjobs.queue.records import (
    Ack,
    AckKind,
    ImportedEnd,
    NewJob,
    ObjectChange,
    ObjectRef,
    RetryPolicy,
    State,
)
from agentjobs.values.bounds import LOG_TAIL_BYTES
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import Usage

REF = ObjectRef("cluster", "team", "a")
UID = UUID("00000000-0000-0000-0000-000000000001")


def job(**fields: object) -> NewJob:
    return NewJob(**{"uid": UID, "payload": {"v": 1}, **fields})  # type: ignore[arg-type]


def test_a_plain_job_says_only_what_is_not_usual() -> None:
    assert codec.job_row(job()) == {"uid": str(UID), "queue": "agents", "priority": 2, "payload": {"v": 1}}


def test_a_due_time_keeps_its_moment_in_any_zone() -> None:
    at = datetime(2027, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    assert datetime.fromisoformat(codec.job_row(job(run_at=at))["run_at"]) == at


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63, "agents2"])
def test_a_dns_label_is_a_queues_name(name: str) -> None:
    codec.check_queue(name)


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a.b", "a_b", "a b", "a\n", "ä", "a" * 64, "a\x00", "'; drop table job; --"]
)
def test_invariant_13_anything_else_is_refused_by_name_value_and_remedy(name: str) -> None:
    with pytest.raises(JobRejected, match=r"^queue: .*DNS label") as refused:
        codec.check_queue(name)
    assert refused.value.value == name


@given(st.text())
def test_invariant_13_no_text_makes_a_refusal_endless(value: str) -> None:
    error = JobRejected("queue", value * 1000, "do this")
    assert len(str(error)) < 200


@pytest.mark.parametrize("payload", [{"a": object()}, {"a": {1, 2}}, {"a": b"x"}, {"a": 1 << 80}, {"a": 1j}])
def test_invariant_13_a_payload_that_is_not_json_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(JobRejected, match=r"^payload: ") as refused:
        codec.jobs_json([job(), job(payload=payload)])
    assert refused.value.field == "payload"


def test_the_size_of_a_payload_is_measured_in_bytes_for_each_job_alone() -> None:
    fits = {"text": "x" * 1_000_000}
    codec.jobs_json([job(payload=fits), job(payload=fits)])
    with pytest.raises(JobRejected, match="bytes"):
        codec.jobs_json([job(payload={"text": "é" * 600_000})])


def test_a_change_is_of_its_own_uid_and_object_whatever_its_job_says() -> None:
    uid = uuid4()
    row = codec.change_row(ObjectChange(uid, REF, 3, job=job(max_attempts=5)))
    assert (row["uid"], row["cluster_id"], row["generation"], row["max_attempts"]) == (
        str(uid),
        "cluster",
        3,
        5,
    )


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"gone": True}, "k"),
        ({"job": job(), "cancel": True}, "k"),
        ({"rejected": ("InvalidSpec", "why")}, "x"),
        (
            {
                "imported": ImportedEnd(
                    State.FAILED, "Boom", "", datetime(2026, 1, 1, tzinfo=UTC), {"state": "Failed"}
                )
            },
            "f",
        ),
        ({"job": job()}, None),
    ],
)
def test_h4_what_never_waits_comes_with_its_end(fields: dict[str, object], end: str | None) -> None:
    row = codec.change_row(ObjectChange(UID, REF, 1, **fields))  # type: ignore[arg-type]
    assert row.get("end") == end


@pytest.mark.parametrize("kind", sorted(set(AckKind) - {AckKind.ASK}))
def test_acks_with_an_answer_and_the_others_go_different_ways(kind: AckKind) -> None:
    done, back, _ = codec.ack_rows([Ack(1, 2, kind, delay_seconds=3)])
    if kind in (AckKind.COMPLETE, AckKind.FAIL):
        assert (done, back) == ([{"i": 1, "t": 2, "s": kind.value[0]}], [])
    else:
        assert (done, back) == ([], [{"i": 1, "t": 2, "k": kind.value, "w": 3}])


def test_h7_an_ack_is_cut_to_what_is_kept_of_it() -> None:
    ack = Ack(1, 2, AckKind.COMPLETE, result="é" * (1 << 20), message="m" * 100_000, log_tail="l" * 100_000)
    ((row,), _, _) = codec.ack_rows([ack])
    assert (len(row["r"].encode()), row["x"]) == (1 << 20, True)
    assert (len(row["m"]), len(row["l"])) == (64 << 10, 64 << 10)


def test_a_claimed_job_with_all_as_usual_has_the_defaults() -> None:
    claimed = replies.claimed_job([7, str(UID), "agents", (2 << 56) | 9, 1, 1, {"v": 1}, None], 5)
    assert (claimed.id, claimed.token, claimed.uid, claimed.priority) == (7, 5, UID, 2)
    assert (claimed.max_attempts, claimed.round, claimed.attempt_timeout_seconds) == (3, 1, 1800)
    assert (claimed.retry, claimed.deadline, claimed.spent, claimed.solo) == (
        RetryPolicy(),
        None,
        Usage(),
        False,
    )


def test_a_claimed_job_says_what_is_rare() -> None:
    rare = [9, 2, 60, [1, 2, 3, 4], "2026-11-24T00:00:00+00:00", 3, 4, True, [1, 2, 3, 4, 5]]
    claimed = replies.claimed_job([7, str(UID), "agents", 9, 6, 2, {}, json.loads(json.dumps(rare))], 5)
    assert (claimed.priority, claimed.max_attempts, claimed.round, claimed.snoozes, claimed.losses) == (
        0,
        9,
        2,
        3,
        4,
    )
    assert (claimed.retry, claimed.spent) == (RetryPolicy(1, 2, 3, 4), Usage(1, 2, 3, 4, 5))
    assert claimed.deadline == datetime(2026, 11, 24, tzinfo=UTC)
    assert claimed.solo


def test_usage_survives_its_json() -> None:
    usage = Usage(1, 2, 3, 4, 5)
    assert Usage.from_json(usage.as_json()) == usage
    assert Usage.from_json(None) == Usage()
    assert Usage(*codec.usage_row(usage)) == usage


def test_a_question_goes_its_own_way_with_what_it_asks() -> None:
    request = InputRequest("q", "refund", "{}")
    done, back, ((row),) = codec.ack_rows(
        [Ack(1, 2, AckKind.ASK, reason="InputRequired", requests=(request,), input_deadline_seconds=60)]
    )
    assert (done, back) == ([], [])
    assert row == {
        "i": 1,
        "t": 2,
        "y": "InputRequired",
        "q": [{"id": "q", "tool": "refund", "arguments": "{}"}],
        "n": 60,
    }


@pytest.mark.parametrize("line", ["plain", "\x00\x00", "\ud800", "é" * 10], ids=repr)
def test_lines_before_an_output_are_counted_whatever_is_cut_off(line: str) -> None:
    whole = f"{line}\n" * 30_000
    kept, skipped = codec.log_tail(whole, 5)
    assert len(kept.encode()) <= LOG_TAIL_BYTES
    assert skipped + kept.count("\n") == 5 + 30_000
    assert codec.log_tail("short\n", 5) == ("short\n", 5)
