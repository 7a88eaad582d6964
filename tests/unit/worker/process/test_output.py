"""What an executor prints: bounded in the log, its end kept."""

from __future__ import annotations

import logging

import pytest

from agentjobs.worker.process.output import TAIL_BYTES, Output

LOG = logging.getLogger("agentjobs.executor")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, LOG.name)
    return caplog


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    return [r.__dict__["agentjobs_fields"] for r in caplog.records if r.getMessage() == event]


async def test_each_printed_line_is_one_log_line_that_names_the_run(lines: pytest.LogCaptureFixture) -> None:
    output = Output(LOG)
    output.fields = {"uid": "a", "run": 1}
    output.data_received(b"one\ntw")
    output.data_received(b"o\n\xff\nrest")
    output.connection_lost(None)
    assert [line["line"] for line in logged(lines, "output")] == ["one", "two", "\ufffd", "rest"]
    assert all(line["uid"] == "a" and line["run"] == 1 for line in logged(lines, "output"))
    assert output.closed.done()


async def test_a_flood_is_left_out_of_the_log_counted_and_its_end_kept(
    lines: pytest.LogCaptureFixture,
) -> None:
    output = Output(LOG)
    block = b"y" * 63 + b"\n"
    for _ in range(200_000):
        output.data_received(block)
    output.data_received(b"the end")
    output.connection_lost(None)
    written = sum(len(str(line["line"])) + 1 for line in logged(lines, "output"))
    left_out = sum(int(str(line["bytes"])) for line in logged(lines, "output.left_out"))
    assert written < 1_000_000
    assert written + left_out == pytest.approx(200_000 * 64 + 8, abs=200)
    assert len(output.tail().text) == TAIL_BYTES
    assert output.tail().text.endswith("the end")
    assert output.tail().skipped + output.tail().text.count("\n") == 200_000
    assert output.printed == 200_000 * 64 + 7


async def test_a_line_without_end_is_written_in_pieces(lines: pytest.LogCaptureFixture) -> None:
    output = Output(LOG)
    output.data_received(b"z" * 20_000)
    output.connection_lost(None)
    assert [len(str(line["line"])) for line in logged(lines, "output")] == [8192, 8192, 3616]
