"""The dashboard over time: what it asks for, what it costs, what it says while no answer comes, and what stays in its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from browser import Tab, tab
from dashboard_browsing import FAILED, PAGES, SHOWN
from dashboard_samples import NOW, afternoon, entry, run, uid
from dashboard_site import Site, served

AXE = Path(__file__).resolve().parents[2] / "support/vendored/axe.min.js"
QUIET = "!document.querySelector('.htmx-request')"
TICKS_A_MINUTE = 12
RUNNING = {"namespace": "support", "name": "triage-4811", "uid": uid("triage-4811")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as opened:
        opened.look()
        yield opened


@pytest.fixture
def site(browser: Tab) -> Iterator[Site]:
    browser.console.clear()
    with served(afternoon()) as started:
        yield started
        _connect(browser, True)
        browser.open("about:blank")


def _connect(browser: Tab, on: bool) -> None:
    browser.call("Network.enable")
    browser.call(
        "Network.emulateNetworkConditions",
        offline=not on,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=-1,
    )


def _shown(browser: Tab, site: Site, shell: str, /, **query: str) -> None:
    """Open the page and hold its own clock: the test beats time."""
    browser.open(site.page(shell, **query))
    browser.wait(SHOWN)
    browser.run("live = false; 0")
    browser.wait(QUIET)


def _ticks(browser: Tab, count: int) -> None:
    for _ in range(count):
        browser.run("tick(); 0")
        browser.wait(QUIET)


@pytest.mark.parametrize(
    ("name", "most_requests"),
    # the second number is the cost that docs/dashboard.md promises for an idle page
    [("now", 29), ("jobs", 7), ("approvals", 7), ("schedules", 7), ("queues", 7), ("workers", 14), ("audit", 7), ("job", 7)],
)  # fmt: skip
def test_a_minute_of_an_idle_page_costs_few_requests_and_no_body(
    browser: Tab, site: Site, name: str, most_requests: int
) -> None:
    _shown(browser, site, name, **PAGES[name])
    site.reads.clear()
    site.sent.clear()
    _ticks(browser, TICKS_A_MINUTE)
    assert 0 < len(site.reads) <= most_requests
    assert {(status, size) for _, status, size in site.sent} == {(304, 0)}


def test_a_page_that_changes_is_asked_for_at_every_tick_and_one_that_is_touched_again(
    browser: Tab, site: Site
) -> None:
    _shown(browser, site, "jobs", namespace="support")
    site.reads.clear()
    for n in range(4):
        site.runs[0] = run("triage-4811", "Running", since=12, step=f"step {n}")
        _ticks(browser, 1)
    assert len(site.reads) == 4
    _ticks(browser, 12)
    before = len(site.reads)
    browser.press("Tab")
    _ticks(browser, 3)
    assert len(site.reads) == before + 3


def test_what_depends_on_a_job_is_asked_for_when_the_job_changes(browser: Tab, site: Site) -> None:
    _shown(browser, site, "job", **FAILED)
    site.reads.clear()
    _ticks(browser, 2)
    assert not any("attempts" in url or "result" in url for url in site.reads)
    place = next(n for n, one in enumerate(site.runs) if one.metadata.name == FAILED["name"])
    site.runs[place] = run("triage-4808", "Queued", round=2)
    _ticks(browser, 1)
    browser.wait_text("#job", "Queued")
    browser.wait(QUIET)
    assert sum("attempts" in url for url in site.reads) == sum("result" in url for url in site.reads) == 1


def test_a_hidden_page_asks_for_nothing_and_has_no_stream(browser: Tab, site: Site) -> None:
    site.ended = False
    _shown(browser, site, "job", **RUNNING)
    browser.run(
        "live = true; Object.defineProperty(document, 'hidden', {get: () => true, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); 0"
    )
    browser.wait("stream === null")
    browser.wait(QUIET)
    site.reads.clear()
    for _ in range(TICKS_A_MINUTE):
        browser.run("beat(); 0")
    browser.wait(QUIET)
    assert site.reads == []
    browser.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); 0")
    browser.wait("stream !== null")


@pytest.mark.parametrize("how", ["no connection", "no database"])
def test_stale_data_says_so_without_moving_and_no_more_when_an_answer_comes(
    browser: Tab, site: Site, how: str
) -> None:
    _shown(browser, site, "now")
    place = "JSON.stringify([...document.querySelectorAll('main h2, main td')].map(e => e.getBoundingClientRect().y))"
    before = browser.run(place)
    if how == "no database":
        site.away = True
    else:
        _connect(browser, False)
    browser.run("live = true; refresh(); 0")
    browser.wait_text("#away", "What is shown is as it was at 15:")
    browser.wait_text(
        "#away", "Is kubectl agentjobs web still running" if how == "no connection" else "does not serve"
    )
    browser.wait_text("#live", "No answer")
    assert browser.run(place) == before
    assert "18" in browser.text("#q-agents")
    site.away = False
    _connect(browser, True)  # fmt: skip
    browser.run("tick(); tick(); tick(); 0")
    browser.wait("document.querySelector('#away').hidden")
    browser.wait_text("#live", "Live")


def test_ages_are_by_the_servers_clock_and_go_on_without_an_answer(browser: Tab, site: Site) -> None:
    _shown(browser, site, "jobs", namespace="support")
    browser.wait_text("tbody tr:first-child", "12s ago")
    assert browser.run("document.querySelector('tbody time').title") == "2026-11-26 15:29:48 UTC"
    site.now = NOW + timedelta(minutes=3)
    _ticks(browser, 1)
    browser.run("ages(); 0")
    browser.wait_text("tbody tr:first-child", "3m ago")
    ages = "[0.4, 42, 61, 3599, 3600, 11520, 90000, -90, 1e9].map(s => duration(Math.abs(s)))"
    assert browser.run(ages) == ["0s", "42s", "1m", "59m", "1h", "3h 12m", "1d 1h", "1m", "11574d 1h"]


def test_a_refused_part_is_asked_for_once_a_minute(browser: Tab, site: Site) -> None:
    site.unreadable["workers"] = (403, "workers.runs.agentjobs.dev is forbidden")
    _shown(browser, site, "now")
    browser.wait_text("#pools-problem", "Perhaps you may in one namespace")
    site.reads.clear()
    _ticks(browser, TICKS_A_MINUTE)
    assert sum("/workers" in url for url in site.reads) == 1


@pytest.mark.parametrize(("scrolled", "row"), [(0, 3), (700, 30)], ids=["top", "middle"])
def test_a_refresh_moves_nothing_and_keeps_the_focus(
    browser: Tab, site: Site, scrolled: int, row: int
) -> None:
    site.runs = [run(f"job-{n:03}", "Failed", message="a message") for n in range(60)]
    _shown(browser, site, "jobs", namespace="support")
    browser.run(f"window.scrollTo(0, {scrolled}); document.querySelectorAll('tbody a')[{row}].focus(); 0")
    spot = "[document.activeElement.textContent, document.activeElement.getBoundingClientRect().y, window.scrollY]"
    before = browser.run(spot)
    site.runs[:] = [
        run("new", "Queued"),
        *(run(f"job-{n:03}", "Retrying" if n % 2 else "Failed", message="another") for n in range(60)),
    ]
    _ticks(browser, 1)
    browser.wait("document.querySelectorAll('tbody tr')[1].textContent.includes('Retrying')")
    assert browser.run(spot) == before
    assert "new" not in browser.text("tbody")


def test_the_last_row_that_matches_no_more_stays_where_it_is_read(browser: Tab, site: Site) -> None:
    site.runs = [run("lonely", "Failed")]
    _shown(browser, site, "jobs", namespace="support", state="Failed")
    site.runs = [run("lonely", "Complete")]
    _ticks(browser, 1)
    browser.wait("document.querySelector('tr.gone')?.textContent.includes('lonely')")
    _ticks(browser, 2)
    assert browser.run("document.querySelectorAll('tbody tr').length") == 1


def test_a_selection_of_text_outlives_refreshes(browser: Tab, site: Site) -> None:
    _shown(browser, site, "jobs", namespace="support")
    browser.run(
        "live = true; getSelection().selectAllChildren(document.querySelector('tbody tr:nth-child(2)')); 0"
    )
    site.runs[1] = run("triage-4810", "Complete")
    site.reads.clear()
    for _ in range(4):
        browser.run("beat(); 0")
    assert site.reads == []
    assert "503 from the order service" in browser.run("getSelection().toString()")
    browser.wait_text("#live", "Held: text is selected")


def test_words_that_are_cut_are_shown_whole_when_pressed_and_stay_so(browser: Tab, site: Site) -> None:
    site.runs[0] = run("wordy", "Failed", message="one word after another " * 30)
    _shown(browser, site, "jobs", namespace="support")
    browser.click("tbody tr:first-child .why .clip")
    browser.wait("document.querySelector('tbody .why .clip').hasAttribute('data-whole')")
    site.runs[0] = run("wordy", "Retrying", message="one word after another " * 30)
    _ticks(browser, 1)
    browser.wait_text("tbody tr:first-child", "Retrying")
    assert browser.run("document.querySelector('tbody .why .clip').hasAttribute('data-whole')")


def test_a_very_long_conversation_is_shown_at_once_and_its_latest_entries_alone(
    browser: Tab, site: Site
) -> None:
    site.transcript[:] = [entry(n, text=f"line {n}") for n in range(6000)]
    _shown(browser, site, "job", **FAILED)
    browser.wait_text("#talk-told", "That is all")
    assert "the latest 2000 of 6000 entries" in browser.text("#talk-told")
    assert browser.text("#talk li:last-child").endswith("line 5999")


def test_a_question_that_did_not_come_is_asked_for_again(browser: Tab, site: Site) -> None:
    _shown(browser, site, "approvals")
    browser.wait_text(".inbox li:first-child", "A-1187")
    site.away = True
    browser.run("htmx.trigger(document.querySelector('.inbox li'), 'refresh'); 0")
    browser.wait_text(".inbox li:first-child", "does not serve")
    site.away = False
    _ticks(browser, 1)
    browser.wait_text(".inbox li:first-child", "A-1187")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_in_stale_data_and_in_an_act_on_many_that_stopped(
    browser: Tab, site: Site, dark: bool
) -> None:
    browser.look(dark=dark)
    _shown(browser, site, "now")
    stopped = "{verb: 'retry', given: {spread: 5}, total: 1000, done: 412, refused: 3, seen: [], open: []}"
    browser.run(f"store('agentjobs.bulk', {stopped}); showWork(); 0")
    site.away = True
    browser.run("refresh(); 0")
    browser.wait("!document.querySelector('#away').hidden")
    browser.run(AXE.read_text() + "; 0")
    found = browser.run(
        "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"
    )
    browser.run("localStorage.clear(); 0")
    browser.look()
    assert found == []
