"""A job's trace is known to everybody who knows the job."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from agentjobs.telemetry.traceparent import Part, TraceParent, span_id_of, trace_id_of

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_ids_are_the_same_in_every_process_and_release() -> None:
    assert trace_id_of(UUID(int=1), None) == "2ea73211ee30bcd3e4b1d046f1b04c77"
    assert span_id_of(UUID(int=1), Part.RUN, 1) == "73f03acd0243ca03"


def test_each_part_of_a_job_has_an_id_of_its_own() -> None:
    uid = uuid4()
    ids = {span_id_of(uid, part, number) for part in Part for number in range(100)}
    assert len(ids) == 400
    assert {len(one) for one in ids} == {16}


def test_a_sampler_by_ratio_takes_its_share_of_jobs() -> None:
    """It compares the low half of the trace id, where a uid of version 4 has fixed bits: a tenth would be none."""
    below = sum(int(trace_id_of(uuid4(), None)[16:], 16) < 2**64 // 10 for _ in range(2000))
    assert 120 < below < 280


def test_a_traceparent_is_read_and_written_as_w3c_says() -> None:
    parent = TraceParent.parse(GIVEN)
    assert parent == TraceParent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
    assert str(parent) == GIVEN
    assert trace_id_of(uuid4(), parent) == "4bf92f3577b34da6a3ce929d0e0e4736"
    unsampled = TraceParent.parse(GIVEN[:-2] + "00")
    assert unsampled is not None
    assert not unsampled.sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        7,
        GIVEN.upper(),
        GIVEN + "-more",
        " " + GIVEN,
        "ff" + GIVEN[2:],
        GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        GIVEN.replace("00f067aa0ba902b7", "0" * 16),
        GIVEN[:-1],
    ],
)
def test_what_is_no_traceparent_is_none(text: object) -> None:
    assert TraceParent.parse(text) is None
