"""`agentjobs local` with schedules, as a user runs it."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_runs import finish, left_over, run, start

pytestmark = pytest.mark.timeout(400)  # whole runs on a busy machine


def schedule(folder: Path, name: str, spec: str, message: str = "it is $(SCHEDULED_TIME)") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(
        f"apiVersion: agentjobs.dev/v1alpha1\nkind: ScheduledAgentJob\nmetadata: {{name: {name}}}\n"
        f'spec: {{{spec}, jobTemplate: {{spec: {{message: "{message}",\n'
        "  agent: {inline: {name: a, model: echo, instruction: i}}}}}\n"
    )
    return path


def ago(by: timedelta) -> str:
    return f"{datetime.now(UTC) - by:%Y-%m-%dT%H:%M:00Z}"


def test_a_one_shot_runs_once_also_over_a_kept_database(tmp_path: Path) -> None:
    when = ago(timedelta(minutes=2))
    once = schedule(tmp_path, "once", f"scheduledTime: {when}")
    command = ("-f", str(once), "--data", str(tmp_path / "data"))

    status, answers, told = run(*command, cwd=tmp_path, temporary=tmp_path)
    assert status == 0, told
    assert re.fullmatch(rf"once-\d+:\n  it is {when}\n", answers)
    status, answers, told = run(*command, cwd=tmp_path, temporary=tmp_path)
    assert (status, answers) == (0, ""), told
    assert "once: once, over" in told
    assert left_over(tmp_path) == []


def test_a_one_shot_that_comes_too_late_is_told_and_fails(tmp_path: Path) -> None:
    spec = f"scheduledTime: {ago(timedelta(hours=2))}, startingDeadlineSeconds: 60"
    late = schedule(tmp_path, "late", spec)
    status, answers, told = run("-f", str(late), cwd=tmp_path, temporary=tmp_path)
    assert (status, answers) == (1, ""), told
    assert "was missed (MissSchedule)" in told


def test_a_schedule_fires_until_it_is_interrupted_and_tells_each_answer_at_once(tmp_path: Path) -> None:
    every_minute = schedule(tmp_path, "tick", "schedule: '* * * * *'")
    process = start("-f", str(every_minute), cwd=tmp_path, temporary=tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    second = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    status, _, told = finish(process)
    assert status == 130, told
    assert re.fullmatch(r"tick-\d+:\n", first)
    assert re.fullmatch(r"  it is \d{4}-\d\d-\d\dT\d\d:\d\d:00Z\n", second)
    assert re.search(r"tick: \* \* \* \* \*, next at \d{4}-\d\d-\d\d \d\d:\d\d UTC", told)
    assert left_over(tmp_path) == []
