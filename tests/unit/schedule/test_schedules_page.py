"""docs/schedules.md tells the truth."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.schedule.cron import parse
from agentjobs.schedule.times import next_times

PAGE = (Path(__file__).parents[3] / "docs" / "schedules.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| ([\w/]+) \| (\S+Z) \| (.+) \|$", re.MULTILINE)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d[+-]\d\d:\d\d")


@pytest.mark.parametrize(("text", "zone", "after", "due"), ROW.findall(PAGE))
def test_the_table_of_daylight_saving_time_is_right(text: str, zone: str, after: str, due: str) -> None:
    told = [datetime.fromisoformat(time) for time in TIME.findall(due)]
    assert told
    assert next_times(parse(text, zone), datetime.fromisoformat(after), len(told)) == told


def test_the_table_of_daylight_saving_time_is_read_whole() -> None:
    assert len(ROW.findall(PAGE)) == 9


@pytest.mark.parametrize("manifest", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_accepted(manifest: str) -> None:
    written = yaml.safe_load(manifest)
    sent = json.dumps(written, default=datetime.isoformat)  # times as text, as kubectl sends them
    assert ScheduledAgentJob.model_validate_json(sent).metadata.name == written["metadata"]["name"]


def test_the_stumbles_of_cronjobs_library_are_none_of_ours() -> None:
    """robfig/cron v3.0.1 answers 2026-04-06 and 2031-03-30 here."""
    lord_howe = parse("0 2 * * *", "Australia/Lord_Howe")
    [time] = next_times(lord_howe, datetime.fromisoformat("2026-04-04T11:00Z"), 1)
    assert time.astimezone(lord_howe.zone).isoformat() == "2026-04-05T02:00:00+10:30"
    beirut = parse("44 18 29 * *", "Asia/Beirut")
    times = next_times(beirut, datetime.fromisoformat("2031-03-29T00:00Z"), 2)
    assert [time.astimezone(beirut.zone).day for time in times] == [29, 29]
