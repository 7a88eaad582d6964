"""A log line is one JSON object, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from uuid import UUID

import pytest

from agentjobs.telemetry.log import JsonFormatter, TextFormatter, tell


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> Iterator[logging.Logger]:
    logger = logging.getLogger("agentjobs.test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)


def test_one_transition_is_one_json_line_with_its_fields(log: logging.Logger, stream: io.StringIO) -> None:
    tell(log, "job.start", uid=UUID(int=1), run=2, absent=None)
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "agentjobs.test",
        "event": "job.start",
        "uid": str(UUID(int=1)),
        "run": 2,
    }


@pytest.mark.parametrize("text", ["two\nlines", "a lone surrogate \ud800", "NUL \x00", '"quoted"'])
def test_no_text_breaks_a_line(log: logging.Logger, stream: io.StringIO, text: str) -> None:
    tell(log, "output", line=text)
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["event"] == "output"


def test_an_exception_brings_its_traceback(log: logging.Logger, stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    line = json.loads(stream.getvalue())
    assert line["event"] == "it failed"
    assert "ValueError: broken" in line["traceback"]


def test_a_line_below_the_level_costs_nothing(log: logging.Logger, stream: io.StringIO) -> None:
    tell(log, "job.event", level=logging.DEBUG, uid="a")
    assert stream.getvalue() == ""


def test_people_get_the_same_as_text(log: logging.Logger, stream: io.StringIO) -> None:
    log.handlers[-1].setFormatter(TextFormatter())
    tell(log, "job.start", uid="a", run=1)
    assert re.fullmatch(r"\d\d:\d\d:\d\d info job\.start uid=a run=1\n", stream.getvalue())
