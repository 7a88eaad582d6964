"""What people see of a job while it runs, and at the end."""

from __future__ import annotations

import io
import re
import sysconfig
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from agentjobs.cli.local.progress_table import (
    NamedJob,
    ProgressTable,
    cells,
    change,
    duration,
    end,
    table,
)
from agentjobs.cli.local.report import answers, failures, folded, write_answers
from agentjobs.queue.records import State
from agentjobs.values.usage import Usage
from controller_builders import AT as NOON
from controller_builders import attempt
from controller_builders import job as view

NOW = NOON + timedelta(seconds=75)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (0.42, "0.4s"),
        (9.96, "10.0s"),
        (12.4, "12s"),
        (59.7, "1m00s"),
        (185, "3m05s"),
        (7620, "2h07m"),
    ],
)
def test_a_duration_is_written_as_people_write_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_running_job_counts_its_duration_and_names_its_step() -> None:
    job = view(state=State.RUNNING, attempts=1, started_at=NOON, step="get_forecast")
    assert cells(NamedJob("weather", job), NOW) == (
        "weather", "agents", "Running", "", "1/3", "1m15s", "", "get_forecast",
    )  # fmt: skip


def test_a_finished_job_keeps_its_duration() -> None:
    job = view(state=State.COMPLETE, attempts=1, started_at=NOON, finished_at=NOON + timedelta(seconds=2))
    assert cells(NamedJob("weather", job), NOW)[5] == "2.0s"


def test_a_waiting_job_says_until_when() -> None:
    job = view(
        state=State.RETRYING, reason="ToolFailed", attempts=1, next_attempt_at=NOW + timedelta(seconds=15)
    )
    assert cells(NamedJob("weather", job), NOW)[7] == "in 15s"


def test_an_end_is_told_with_time_and_tokens() -> None:
    took: dict[str, Any] = {
        "attempts": 1, "started_at": NOON, "finished_at": NOON + timedelta(seconds=2), "usage": Usage(total_tokens=310),
    }  # fmt: skip
    assert end(NamedJob("a", view(State.COMPLETE, reason="Completed", **took))) == (
        "a: Complete, 2.0s, 310 tokens"
    )
    assert end(NamedJob("a", view(State.FAILED, reason="BudgetExceeded", **took))) == (
        "a: Failed (BudgetExceeded) after 1 of 3 attempts, 2.0s, 310 tokens"
    )


NARROW = [
    # (width, columns, what is seen of the rows)
    (100, "NAME QUEUE STATUS REASON ATTEMPTS DURATION TOKENS STEP", ["urgent-report-of-today", "weather"]),
    (79, "NAME QUEUE STATUS REASON ATTEMPTS DURATION", ["urgent-report-of-today", "weather"]),
    (60, "NAME STATUS REASON ATTEMPTS", ["urgent-report-of-today", "weather"]),
    (40, "NAME STATUS", ["urgent-report-of-today", "weather"]),
    (30, "NAME STATUS", ["urgent-report", "weather"]),
]


@pytest.mark.parametrize(("width", "columns", "seen"), NARROW)
def test_on_a_narrow_terminal_empty_columns_go_first_and_names_stay(
    width: int, columns: str, seen: list[str]
) -> None:
    rows = [
        NamedJob("urgent-report-of-today", view(State.QUEUED, reason="BehindSession")),
        NamedJob("weather", view(State.COMPLETE, reason="Completed", attempts=1)),
    ]
    console = Console(width=width, file=io.StringIO())
    console.print(table(rows, NOW, width))
    assert isinstance(console.file, io.StringIO)
    head, *lines = console.file.getvalue().splitlines()
    assert head.split() == columns.split()
    for line, part in zip(lines, seen, strict=True):
        assert line.startswith(part)


@pytest.mark.parametrize(("no_color", "escapes"), [("1", False), ("", True)])
def test_with_no_color_nothing_is_coloured_bold_or_dim(
    no_color: str, escapes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with ProgressTable(live=True) as screen:
        screen.stage("Starting Postgres")
        screen.draw([NamedJob("a", view(State.COMPLETE))], "Starting the worker", ["daily: next at 12:00"])
    assert bool(re.search("\x1b\\[[0-9;]*m", "".join(capsys.readouterr()))) is escapes


STEERS = "\x1b]52;c;bGlhcg==\x07\x1b[2J\x9b31m\u202e"
SHOWN = "\\x1b]52;c;bGlhcg==\\x07\\x1b[2J\\x9b31m\\u202e"


@pytest.mark.parametrize("live", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize(
    "show",
    [
        lambda screen, text: screen.say(f"a\n\t{text}"),
        lambda screen, text: screen.stage(text),
        lambda screen, text: screen.draw([], text, ["none"]),
        lambda screen, text: screen.draw([], "", [text]),
        lambda screen, text: screen.draw([NamedJob(text, view(State.COMPLETE))]),
        lambda screen, text: screen.draw([NamedJob("a", view(State.RUNNING, attempts=1, step=text))]),
        lambda screen, text: screen.draw([NamedJob("a", view(State.RETRYING, message=text, due_at=NOON))]),
        lambda screen, text: [screen.say(line) for line in failures([failed(text)])],
        lambda screen, text: [
            screen.say(line) for line in failures([NamedJob("a", view(State.COMPLETE, message=text))])
        ],
    ],
    ids=["line", "stage", "note", "schedule", "name", "step", "message", "failure", "aside"],
)
def test_what_a_model_wrote_does_not_steer_the_terminal(
    show: Callable[[ProgressTable, str], object],
    live: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "400")

    def shown(text: str) -> str:
        with ProgressTable(live=live) as screen:
            show(screen, text)
        return re.sub(r"\d+\.\ds", "", capsys.readouterr().err)

    told, plain = shown(STEERS), shown("SAID")
    assert [c for c in told if c in STEERS and not c.isprintable()] == [
        c for c in plain if c in STEERS and not c.isprintable()
    ], "only what rich itself writes"
    assert told.count(SHOWN) == plain.count("SAID")


def failed(text: str) -> NamedJob:
    run = attempt(1, log_tail=f"before\n{text}\n")
    return NamedJob(text, view(State.FAILED, message=text, reason=text, attempts=1, attempts_log=(run,)))


@pytest.mark.parametrize(("terminal", "written"), [(True, SHOWN), (False, STEERS)])
def test_an_answer_steers_no_terminal_and_comes_as_it_is_into_a_file(
    terminal: bool, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    write_answers(stream, [NamedJob("a", view(State.COMPLETE, result=f"one\n\t{STEERS}"))], bare=True)
    assert stream.getvalue() == f"one\n\t{written}\n"


def test_an_end_without_an_answer_is_left_to_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressTable(live=False) as screen:
        screen.draw([NamedJob("a", view(State.RUNNING, attempts=1)), NamedJob("b", view(State.QUEUED))])
        screen.draw([NamedJob("a", view(State.FAILED, attempts=1)), NamedJob("b", view(State.QUEUED))])
    assert "".join(capsys.readouterr()).splitlines() == ["a: Running attempt 1 of 3", "b: Queued"]


def test_changes_are_told_in_the_order_in_which_they_happened(capsys: pytest.CaptureFixture[str]) -> None:
    late = NamedJob("whenever", view(state=State.COMPLETE, since=NOON + timedelta(seconds=2)))
    soon = NamedJob("urgent", view(state=State.COMPLETE, since=NOON + timedelta(seconds=1)))
    with ProgressTable(live=False) as screen:
        screen.draw([late, soon])
    told = "".join(capsys.readouterr())
    assert told.index("urgent: Complete") < told.index("whenever: Complete")


def test_a_run_that_came_and_went_between_two_looks_is_told_and_one_of_before_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressTable(live=False) as screen:
        later = datetime.now(UTC) + timedelta(hours=1)
        runs = [attempt(1), *(attempt(n, started_at=later) for n in (2, 3))]
        states = [
            view(state=State.RUNNING, run=2, attempts=2, attempts_log=runs[:1]),
            view(state=State.COMPLETE, reason="Completed", run=3, attempts=3, attempts_log=runs),
        ]
        for job in states:
            screen.draw([NamedJob("a", job)])
    lines = "".join(capsys.readouterr()).splitlines()
    assert lines == [
        "a: Running attempt 2 of 3",
        "a: Running attempt 3 of 3",
        "a: Complete after 3 of 3 attempts",
    ]


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"state": State.RUNNING, "attempts": 2}, "a: Running attempt 2 of 3"),
        ({"state": State.QUEUED, "reason": "BehindSession"}, "a: Queued (BehindSession)"),
        ({"state": State.CANCELLED, "reason": "Cancelled"}, "a: Cancelled"),
        (
            {
                "state": State.RETRYING,
                "reason": "ToolFailed",
                "message": "no voice",
                "next_attempt_at": NOW + timedelta(seconds=2),
            },
            "a: Retrying (ToolFailed) in 2.0s - no voice",
        ),
    ],
)
def test_a_change_is_one_line(changed: dict[str, Any], line: str) -> None:
    assert change(NamedJob("a", view(**changed)), NOW) == line


def test_a_bare_answer_is_the_answer_and_nothing_else() -> None:
    assert answers([NamedJob("a", view(state=State.COMPLETE, result="yes\nno"))], bare=True) == "yes\nno\n"


def test_answers_of_many_jobs_stand_below_their_names() -> None:
    rows = [
        NamedJob("a", view(state=State.COMPLETE, result="yes\nno")),
        NamedJob("b", view(state=State.FAILED)),
        NamedJob("c", view(state=State.COMPLETE, result="maybe")),
    ]
    assert answers(rows, bare=False) == "a:\n  yes\n  no\n\nc:\n  maybe\n"


def test_a_failure_is_told_with_reason_message_and_the_last_output_of_the_last_run_that_had_any() -> None:
    job = view(
        state=State.FAILED,
        reason="ToolFailed",
        message="no voice",
        attempts=3,
        attempts_log=(attempt(1, log_tail="first\n"), attempt(2, log_tail="one\ntwo\n"), attempt(3)),
    )
    assert failures([NamedJob("a", job), NamedJob("b", view(state=State.COMPLETE))]) == [
        "a: Failed (ToolFailed) after 3 of 3 attempts",
        "  no voice",
        "  The end of what it printed:",
        "  | one",
        "  | two",
    ]


def test_what_went_wrong_beside_an_answer_is_told() -> None:
    job = view(state=State.COMPLETE, message="ADK logged a warning beside the answer: a tool is unknown")
    assert failures([NamedJob("a", job)]) == [f"a: {job.message}"]


def test_of_a_traceback_the_frames_of_the_agents_own_code_stay() -> None:
    installed = f'  File "{sysconfig.get_path("purelib")}/google/adk/runners.py", line 1, in run'
    own = ['  File "/work/shop/agent.py", line 8, in price', "    return PRICES[fruit]", "           ~~~^^^"]
    lines = [
        "Traceback (most recent call last):",
        installed,
        "    await x",
        "      ^^^",
        installed,
        *own,
        installed,
        "KeyError: 1",
    ]
    assert list(folded(lines)) == [
        lines[0],
        "  … 2 frames of installed packages: all with --verbose",
        *own,
        "  … 1 frame of installed packages: all with --verbose",
        lines[-1],
    ]
    assert list(folded(["no frame", installed])) == [
        "no frame",
        "  … 1 frame of installed packages: all with --verbose",
    ]


def test_the_frames_of_an_agent_that_is_installed_stay() -> None:
    folder = sysconfig.get_path("purelib")
    own = [f'  File "{folder}/shop/agent.py", line 8, in price', "    return PRICES[fruit]"]
    lines = [f'  File "{folder}/shopping.py", line 1, in f', "    g()", *own]
    assert list(folded(lines, "shop.agent:root_agent")) == [
        "  … 1 frame of installed packages: all with --verbose",
        *own,
    ]


def test_a_job_that_never_started_does_not_count_attempts() -> None:
    job = view(state=State.CANCELLED, reason="Cancelled")
    assert failures([NamedJob("a", job)]) == ["a: Cancelled before its first attempt"]


def test_a_job_whose_runs_were_all_refunded_is_told_so() -> None:
    job = view(state=State.CANCELLED, reason="Cancelled", run=1)
    assert failures([NamedJob("a", job)]) == ["a: Cancelled with no attempt charged"]
