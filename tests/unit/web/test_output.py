"""A reader of a job's output gets each line once, from any place, also over a run's end and where the beginning is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agentjobs.queue.records import AttemptRecord, RunOutput
from agentjobs.values.usage import Usage
from agentjobs.web.output import Line, Place, ended_lines, lines_of, running_lines, whole_output

AT = datetime(2026, 1, 2, tzinfo=UTC)
RECORD = AttemptRecord(
    2, 1, 1, "w", AT, AT, "retry", "AgentFailed", "", True, None, Usage(), 0, "a\nb\nc\n", 0
)
ENDED = "=== run 2 (attempt 1, round 1) ended 2026-01-02T00:00:00Z: failed, AgentFailed ==="


def told(lines: list[Line]) -> list[tuple[str, str]]:
    return [(line.id, line.text) for line in lines]


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\n\nb\r\n", ["a", "", "b\r"])]
)
def test_lines_are_what_newlines_end(text: str, lines: list[str]) -> None:
    assert lines_of(text) == lines


@pytest.mark.parametrize("id_", ["0", "3", "3.0", "3.17"])
def test_a_place_is_what_its_id_says(id_: str) -> None:
    assert Place.parse(id_).id == id_


@pytest.mark.parametrize("text", ["", "x", "-1", "3.", "3.1.1", "9" * 40, "٣"])
def test_what_is_no_place_is_the_start(text: str) -> None:
    assert Place.parse(text) == Place()


def test_a_run_that_has_ended_is_told_after_its_title_and_its_last_line_ends_it() -> None:
    lines = list(ended_lines(RECORD, Place(1), titled=True))
    assert told(lines) == [("2.0", ENDED), ("2.1", "a"), ("2.2", "b"), ("2", "c")]
    assert told(list(ended_lines(RECORD, Place(1), titled=False))) == [("2.1", "a"), ("2.2", "b"), ("2", "c")]
    empty = list(ended_lines(replace(RECORD, log_tail=""), Place(1), titled=True))
    assert told(empty) == [("2", ENDED)]


def test_a_reader_of_a_run_that_went_on_gets_the_rest_and_how_it_ended() -> None:
    lines = list(ended_lines(RECORD, Place(1, 2, 2), titled=True))
    assert told(lines) == [("2.3", "c"), ("2", ENDED)]
    assert told(list(ended_lines(RECORD, Place(1, 2, 3), titled=False))) == []


def test_lines_that_are_lost_are_told_of_once() -> None:
    late = replace(RECORD, log_skipped=10)
    assert [line.text for line in ended_lines(late, Place(1, 2, 4), titled=False)] == [
        "=== 6 lines before this are not kept ===", "a", "b", "c",
    ]  # fmt: skip
    assert told(list(ended_lines(late, Place(1, 2, 11), titled=False))) == [("2.12", "b"), ("2", "c")]


def test_a_run_that_goes_on_is_told_by_whole_lines() -> None:
    output = RunOutput(3, AT, 0, "a\nb\nhal")
    lines = list(running_lines(3, 2, output, Place(2), titled=True))
    assert told(lines) == [("3.0", "=== run 3 (attempt 2) ==="), ("3.1", "a"), ("3.2", "b")]
    more = RunOutput(3, AT, 1, "b\nhalf\n")
    assert told(list(running_lines(3, 2, more, Place.parse("3.2"), titled=True))) == [("3.3", "half")]
    for none in (None, RunOutput(3, None), RunOutput(4, AT, 0, "z\n")):
        assert list(running_lines(3, 2, none, Place.parse("3.3"), titled=True)) == []


def test_wherever_a_reader_was_cut_off_he_gets_each_line_once() -> None:
    whole = [f"line {n}" for n in range(20)]
    record = replace(RECORD, log_tail="".join(f"{line}\n" for line in whole))
    for cut in range(len(whole) + 1):
        output = RunOutput(2, AT, 0, "".join(f"{line}\n" for line in whole[:cut]))
        first = list(running_lines(2, 1, output, Place(1), titled=True))
        for heard in range(1, len(first) + 1):
            rest = list(ended_lines(record, Place.parse(first[heard - 1].id), titled=True))
            lines = [line.text for line in [*first[:heard], *rest]]
            assert lines == ["=== run 2 (attempt 1) ===", *whole, ENDED]


def test_the_whole_output_has_every_run() -> None:
    text = whole_output([RECORD], 3, 2, RunOutput(3, AT, 0, "d\n"), titled=True)
    assert text.splitlines() == [ENDED, "a", "b", "c", "=== run 3 (attempt 2) ===", "d"]
    assert whole_output([RECORD], 0, 1, None, titled=False) == "a\nb\nc\n"
