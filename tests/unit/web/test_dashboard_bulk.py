"""One act on many jobs: counted first, each done once, also over a stop, a reload, and a server that was away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from browser import Tab, tab, until
from dashboard_browsing import SHOWN, confirm
from dashboard_samples import afternoon, run
from dashboard_site import Site, served

JOBS = 450


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as opened:
        opened.look()
        yield opened


@pytest.fixture
def site(browser: Tab) -> Iterator[Site]:
    """Failed jobs, which leave the list when they are asked to be retried, as the operator has them do."""
    sample = afternoon()
    sample.retries = True
    sample.runs = [run(f"job-{n:03}", "Failed", since=100 + n) for n in range(JOBS)]
    sample.runs += [run("fine", "Complete"), run("going", "Running")]
    with served(sample) as started:
        yield started
        browser.run("halted = true; localStorage.clear(); 0")
        browser.open("about:blank")


def _begin(browser: Tab, site: Site, spread: str = "0", **query: str) -> None:
    browser.open(site.page("jobs", namespace="support", **query))
    browser.wait(SHOWN)
    browser.click("button[data-bulk=retry]")
    browser.wait_text("#ask-says", f"{JOBS} jobs match")
    browser.run(f"document.querySelector('#ask-spread').value = '{spread}'")
    confirm(browser, "the provider is back")


def _names(site: Site) -> Counter[str]:
    return Counter(path.rsplit("/", 1)[1] for method, path, _ in site.changes if method == "PATCH")


def test_without_a_state_in_the_filter_the_jobs_that_can_be_retried_are_meant(
    browser: Tab, site: Site
) -> None:
    _begin(browser, site)
    browser.wait_text("#work-told", f"{JOBS} of {JOBS}: asked for")
    assert _names(site) == Counter(f"job-{n:03}" for n in range(JOBS))
    assert browser.run("localStorage.getItem('agentjobs.bulk')") is None


def test_what_is_stopped_goes_on_after_a_reload_where_it_was_and_asks_each_job_once(
    browser: Tab, site: Site
) -> None:
    site.slow_seconds = 0.2
    _begin(browser, site, state="Failed")
    until(lambda: len(site.changes) > 20, "some are done")
    browser.open(site.page("now"))  # the page is left in the middle of it
    browser.wait_text("#work-told", "stopped")
    site.slow_seconds = 0.0
    told = browser.text("#work-told")
    assert f"of {JOBS} jobs" in told
    done = sum(_names(site).values())
    assert 20 < done < JOBS
    browser.click("#work-on")
    browser.wait_text("#work-told", f"{JOBS} of {JOBS}: asked for")
    names = _names(site)
    assert set(names) == {f"job-{n:03}" for n in range(JOBS)}
    # what was under way as the page was left may be asked twice, with one and the same value: that is one retry
    assert sum(names.values()) <= JOBS + 4
    asked = {
        body["metadata"]["annotations"]["agentjobs.dev/retry-requested-at"] for _, _, body in site.changes
    }
    assert len(asked) == 1


def test_a_stop_button_stops_and_leaving_it_forgets_it(browser: Tab, site: Site) -> None:
    _begin(browser, site, spread="1", state="Failed")
    until(lambda: len(site.changes) > 3, "some are done")
    browser.click("#work-stop")
    browser.wait("!document.querySelector('#work-on').hidden")
    done = len(site.changes)
    browser.click("#work-forget")
    browser.wait("document.querySelector('#work').hidden")
    assert len(site.changes) == done < JOBS


def test_a_server_that_is_away_is_waited_for(browser: Tab, site: Site) -> None:
    _begin(browser, site, spread="0.2", state="Failed")
    until(lambda: len(site.changes) > 20, "some are done")
    site.away = True
    browser.wait_text("#work-told", "does not serve")
    site.away = False
    browser.wait_text("#work-told", f"{JOBS} of {JOBS}: asked for")
    assert set(_names(site)) == {f"job-{n:03}" for n in range(JOBS)}


def test_what_is_refused_each_time_stops_soon_and_says_why(browser: Tab, site: Site) -> None:
    site.refused = (403, 'agentjobs "job-000" is forbidden')
    _begin(browser, site, state="Failed")
    browser.wait_text("#work-told", "stopped, since all were refused")
    assert "is forbidden" in browser.text("#work-told")
    assert len(site.changes) < 20


def test_one_that_failed_after_it_was_begun_is_left_out(browser: Tab, site: Site) -> None:
    site.runs.insert(0, run("failed-again", "Failed", since=-3600))
    browser.open(site.page("jobs", namespace="support", state="Failed"))
    browser.wait(SHOWN)
    browser.click("button[data-bulk=retry]")
    confirm(browser, "again")
    browser.wait_text("#work-told", f"{JOBS} of {JOBS + 1}: asked for")
    assert "failed-again" not in _names(site)


@pytest.mark.parametrize(
    ("verb", "state", "words"),
    [
        ("retry", "Running", "Retry is for jobs that are Failed or Cancelled: none of those that match is."),
        ("resume", "Failed", "Resume is for jobs that are Suspended: none of those that match is."),
    ],
)
def test_an_act_that_changes_none_of_the_jobs_says_so(
    browser: Tab, site: Site, verb: str, state: str, words: str
) -> None:
    browser.open(site.page("jobs", namespace="support", state=state))
    browser.wait(SHOWN)
    browser.click(f"button[data-bulk={verb}]")
    browser.wait_text("#bulk-told", words)


def test_of_the_selected_those_that_can_be_changed_are(browser: Tab, site: Site) -> None:
    site.runs[:] = [run("a", "Failed"), run("b", "Complete"), run("c", "Cancelled")]
    browser.open(site.page("jobs", namespace="support"))
    browser.click("#pick-all")
    browser.click("button[data-bulk=retry]")
    browser.wait_text("#ask-says", "2 of the 3 selected")
    confirm(browser)
    browser.wait_text("#work-told", "2 of 2: asked for")
    assert _names(site) == Counter({"a": 1, "c": 1})
