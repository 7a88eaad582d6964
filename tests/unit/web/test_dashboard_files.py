"""The dashboard's files and fragments, without a browser."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from agentjobs.queue.records import State
from agentjobs.transcript.entry import Kind
from agentjobs.web.objects.runs import AgentRunList
from agentjobs.web.objects.schedules import ScheduleRun, ScheduleStatList
from agentjobs.web.ui import words
from agentjobs.web.ui.drawings import lasts, rows
from agentjobs.web.ui.fragments import of
from agentjobs.web.ui.pages import SHELLS, STATIC, Pages, assets
from agentjobs.web.ui.words import duration, explanation, short
from agentjobs.web.view import Page
from dashboard_samples import HOSTILE, afternoon, at, question, run, schedule, series

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = sorted((STATIC.parent / "templates").rglob("*.html"))


def _page(part: str = "", *, may_act: bool = True) -> Page:
    return Page("alice", may_act, "agentruns", "support", None, {"part": [part]})


def test_what_others_wrote_is_as_they_released_it() -> None:
    for package in json.loads((STATIC.parent / "vendored.json").read_text()):
        for file in package["files"]:
            found = hashlib.sha256((ROOT / file["to"]).read_bytes()).hexdigest()
            assert found == file["sha256"], f"{file['to']}: run scripts/vendor_web.py"


def test_scripts_and_styles_together_are_below_40_kilobytes_gzipped() -> None:
    loaded = [asset.content for name, asset in assets().items() if name.endswith((".js", ".css"))]
    assert sum(len(gzip.compress(content)) for content in loaded) < 40_000


def test_the_pages_know_all_states_of_the_queue_and_kinds_of_entries() -> None:
    scripts = (STATIC / "bulk.js").read_text()
    unfinished = re.search(r"const UNFINISHED = (\[.*\]);", scripts)
    assert unfinished is not None
    assert set(json.loads(unfinished[1])) == {state for state in State if not state.final}
    assert frozenset(state for state in State if state.final) == words.FINAL
    assert set(words.TONES) == set(State)
    assert set(re.findall(r"<option>(\w+)</option>", assets()["jobs.html"].content.decode())) == set(State)
    assert set(words.SAYINGS) < set(Kind)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_that_the_policy_forbids_or_that_skips_escaping(template: Path) -> None:
    text = template.read_text()
    for forbidden in (
        r"<style",
        r"\sstyle=",
        r"\son\w+=",
        r"hx-on",
        r"js:",
        r"\|\s*safe",
        r"autoescape",
        r"https?://",
    ):
        assert not re.search(forbidden, text), forbidden
    assert all(
        re.fullmatch(r'<script defer src="[\w.-]+"></script>', tag) for tag in re.findall(r"<script.*", text)
    )


def test_every_page_is_served_and_names_only_files_that_are_served() -> None:
    for name in SHELLS:
        page = Pages().asset(f"{name}.html")
        assert page is not None
        for file in re.findall(r'(?:src|href)="([\w.-]+)"', page.content.decode()):
            assert file in assets()
    assert Pages().asset("../pages.py") is None


@pytest.mark.parametrize("part", ["", "failures", "inbox"])
def test_hostile_words_are_text_in_a_list(part: str) -> None:
    hostile = run("x", "Failed", message=HOSTILE, agent=HOSTILE, reason="AgentFailed")
    html = of(AgentRunList(items=[hostile]), _page(part))
    assert html is not None
    assert "<img" not in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("kind", "heading"),
    [("LongRunning", "What is the result of"), ("Input", "An input for")],
)
def test_a_question_that_wants_a_payload_is_answered_with_one(kind: str, heading: str) -> None:
    asked = run(
        "refund", "InputRequired",
        question=question(kind=kind, result=HOSTILE, response_schema=HOSTILE, payload=None),
    )  # fmt: skip
    html = of(asked, _page("question"))
    assert html is not None
    assert heading in html
    assert 'data-act="answer"' in html
    assert 'data-act="approve"' not in html
    assert HOSTILE not in html


def test_hostile_words_are_text_in_a_question() -> None:
    asked = run(
        "x",
        "InputRequired",
        question=question(tool=HOSTILE, arguments=HOSTILE, hint=HOSTILE, payload=HOSTILE),
    )
    html = of(asked, _page("question"))
    assert html is not None
    assert "<img" not in html
    assert 'style="color' not in html


def test_a_schedule_with_hostile_words_or_an_unknown_zone_is_shown() -> None:
    plain = schedule("x", HOSTILE, next_every=60)
    last = [ScheduleRun(name=HOSTILE, time=at(60), state=HOSTILE, reason=HOSTILE)]
    hostile = plain.model_copy(
        update={
            "spec": plain.spec.model_copy(update={"time_zone": "Mars/Olympus"}),
            "status": plain.status.model_copy(update={"problem": HOSTILE, "last": last}),
        }
    )
    html = of(ScheduleStatList(items=[hostile]), _page())
    assert html is not None
    assert "<img" not in html
    assert "UTC" in html


def test_a_bar_is_as_high_as_its_job_took_long_and_never_invisible() -> None:
    runs = [ScheduleRun(name="a", time=at(0), state="Complete", seconds=s) for s in (100.0, 50.0, 0.0)]
    assert [bar.height for bar in lasts(runs).bars] == [24, 12, 4]
    assert lasts([]).bars == []


def test_a_series_counts_each_point_once_in_its_row_and_its_place() -> None:
    found = series(
        {
            "": [(3600, "Complete", 5, 50), (3541, "Complete", 5, 50), (1, "Complete", 2, 20)],
            "AgentFailed": [(3540, "Failed", 1, 10), (3540, "Cancelled", 3, 30)],
        }
    )
    by_key = {(row.key, row.outcome): row for row in rows(found)}
    assert {key: row.total for key, row in by_key.items()} == {
        ("", "Complete"): 12,
        ("AgentFailed", "Failed"): 1,
        ("AgentFailed", "Cancelled"): 3,
    }
    complete = by_key["", "Complete"]
    assert [(bar.x, bar.height) for bar in complete.chart.bars] == [(0, 24), (354, 5)]
    assert complete.chart.label == "12, at most 10 in 1m"
    assert [(row.key, row.total) for row in rows(found, tokens=True)] == [("", 120), ("AgentFailed", 40)]


def test_a_series_of_many_keys_ends_with_the_sum_of_the_rest() -> None:
    found = rows(series({f"k{n}": [(60, "Failed", 20 - n, 0)] for n in range(12)}))
    assert [row.key for row in found] == [*(f"k{n}" for n in range(7)), "others"]
    assert sum(row.total for row in found) == sum(20 - n for n in range(12))


@pytest.mark.parametrize("part", ["ends", "tokens"])
def test_hostile_words_are_text_in_a_series(part: str) -> None:
    html = of(series({HOSTILE: [(60, "Failed", 1, 1)]}), _page(part))
    assert html is not None
    assert "<img" not in html
    assert "<rect" in html
    assert of(series({}), _page(part)) is not None


@pytest.mark.parametrize(
    ("template", "link"),
    [
        ("https://jaeger.example/trace/{trace_id}", 'href="https://jaeger.example/trace/4bf9%3C2F"'),
        ("https://tempo.example/?q={trace_id}&x=1", 'href="https://tempo.example/?q=4bf9%3C2F&amp;x=1"'),
        ("javascript:alert(1)//{trace_id}", ""),
        ("https://jaeger.example/", ""),
        ("", ""),
    ],
)
def test_a_trace_is_linked_only_where_a_tracing_system_is_set(template: str, link: str) -> None:
    page = replace(_page(), trace_url=template)
    html = of(run("x", "Failed", trace_id="4bf9<2F"), page)
    assert html is not None
    assert "4bf9&lt;2F" in html
    assert (link in html) if link else ("_blank" not in html)


def test_a_read_only_door_shows_no_act() -> None:
    site = afternoon()
    for model, part in (
        (site.runs[6], ""),
        (site.runs[2], "question"),
        (site.queues, "acts"),
        (site.models, "acts"),
        (site.schedules, ""),
    ):
        html = of(model, _page(part, may_act=False))
        assert html is not None
        assert "data-act" not in html


def test_durations_and_counts_are_short_and_not_rounded_up_to_another_unit() -> None:
    assert [duration(s) for s in (0, 0.25, 9.94, 59.4, 61, 3600, 90061)] == [
        "0s",
        "0.2s",
        "9.9s",
        "59s",
        "1m 1s",
        "1h",
        "1d 1h",
    ]
    assert [short(n) for n in (0, 999, 1200, 340_000_000)] == ["0", "999", "1.2k", "340M"]


@pytest.mark.parametrize(
    ("outcome", "charged", "word"),
    [
        ("snooze", False, "Refunded"),
        ("retry", True, "attempt 2"),
        ("lost", False, "heartbeat"),
        ("ask", False, "person"),
        ("complete", True, "answer"),
    ],
)
def test_an_attempts_end_says_what_it_cost(outcome: str, charged: bool, word: str) -> None:
    assert word in explanation(outcome, charged, 2, "30s")
