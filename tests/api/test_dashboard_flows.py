"""What a person on call does with the dashboard, from the alert to the end, while operator and worker run.

    AGENTJOBS_DASHBOARD_JOBS=1000 AGENTJOBS_DASHBOARD_SPREAD=0 pytest tests/api/test_dashboard_flows.py -k many -s

measures the retry of so many failed jobs, spread over so many minutes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agentjobs.local.assets import Assets
from browser import until
from clusters import Cluster
from dashboard_stage import FAILS_ONCE, STATES_SECONDS, Scene, plane_of, scene

pytestmark = pytest.mark.timeout(1800)

JOBS = int(os.environ.get("AGENTJOBS_DASHBOARD_JOBS", "40"))
SPREAD_MINUTES = os.environ.get("AGENTJOBS_DASHBOARD_SPREAD", "0.2")


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    with plane_of(own_assets) as found:
        yield found


async def test_a_failure_is_found_by_its_reason_understood_and_retried(
    plane: Cluster, dsn: str, tmp_path: Path
) -> None:
    async with scene(plane, dsn, tmp_path) as play:
        await play(_a_failure)


def _a_failure(at: Scene) -> None:
    at.submit("breaks", FAILS_ONCE)
    at.submit("works", "hello")
    at.until("breaks", "Failed")
    at.until("works", "Complete")
    at.open("now")
    at.page.wait_text("#failures", "breaks")
    reason = at.page.text("#failures tbody th a")
    assert at.page.text("#failures tbody td.n") == "1"
    at.page.click("#failures tbody th a")
    at.page.wait("location.pathname.endsWith('/jobs.html')")
    at.page.wait_text("#list", "breaks")
    assert at.page.run("document.querySelectorAll('#list tbody tr').length") == 1
    assert at.page.run("document.querySelector('#f-reason').value") == reason
    at.page.click("#list tbody th a")
    at.page.wait("location.pathname.endsWith('/job.html')")
    at.page.wait_text("#job .cause", reason)
    at.page.wait_text("#job .cause", "400")
    at.page.wait_text("#job .next-step", "What to do: Mend the agent, build its image under a new tag")
    at.page.wait_text("#attempts", "This error is permanent")
    assert at.page.run("document.title").startswith("breaks · ")
    at.act("#job button[data-act=retry]", "the provider is back", "#job .told")
    at.until("breaks", "Complete")
    at.page.wait_text("#result", "the answer after all")
    at.page.wait_text("#attempts", "Round 2")


async def test_many_failed_jobs_are_counted_retried_over_a_time_and_gone_on_with_after_a_reload(
    plane: Cluster, dsn: str, tmp_path: Path
) -> None:
    async with scene(plane, dsn, tmp_path) as play:
        await play(_many)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select count(*), count(distinct uid), min(actor), max(actor), min(reason), max(reason) from agentjobs.audit "
            "where verb = 'retry' and name like 'many-%'"
        ).fetchone()
    assert rows == (JOBS, JOBS, "edit", "edit", "the provider is back", "the provider is back")


def _many(at: Scene) -> None:
    for start in range(0, JOBS, 100):
        at.submit_all(f"many-{n:04}" for n in range(start, min(start + 100, JOBS)))
    until(lambda: at.count("Failed", "many-") == JOBS, "all have failed", STATES_SECONDS + JOBS)
    at.open("jobs", state="Failed")
    at.page.wait_text("#list", "many-")
    at.page.click("button[data-bulk=retry]")
    at.page.wait_text("#ask-says", f"{JOBS:,} jobs match.")
    at.page.run(f"document.querySelector('#ask-spread').value = '{SPREAD_MINUTES}'")
    at.page.run("document.querySelector('#ask-reason').focus()")
    at.page.type("the provider is back")
    at.page.click("#ask-yes")
    started = time.monotonic()
    quarter = f"document.querySelector('#work-bar').value > {JOBS} / 4"
    until(lambda: at.page.run(quarter), "a quarter is asked for", 60.0 + JOBS / 4)
    at.open("now")  # left in the middle of it
    at.page.wait_text("#work-told", "stopped")
    at.page.click("#work-on")
    try:
        until(
            lambda: f"{JOBS} of {JOBS}: asked for" in at.page.text("#work-told"),
            "asked for",
            120.0 + JOBS / 4,
        )
    except AssertionError:
        raise AssertionError(at.page.text("#work-told")) from None
    asked = time.monotonic() - started
    until(lambda: at.count("Complete", "many-") == JOBS, "all are complete", STATES_SECONDS + JOBS)
    done = time.monotonic() - started
    sys.stdout.write(f"\n{JOBS} failed jobs: asked for after {asked:.0f} s, complete after {done:.0f} s\n")


async def test_an_approval_is_decided_in_order_and_goes_on(plane: Cluster, dsn: str, tmp_path: Path) -> None:
    async with scene(plane, dsn, tmp_path) as play:
        await play(_approvals)


def _approvals(at: Scene) -> None:
    for n, (order, euros) in enumerate((("A-17", 40), ("A-18", 75))):
        message = f'Money back.\necho:call find_order {{"order": "{order}"}}\necho:call refund {{"order": "{order}", "euros": {euros}}}'
        at.submit(f"refund-{n}", message, "agents.refunds")
        at.until(f"refund-{n}", "InputRequired")
    at.open("now")
    at.page.wait_text("#board .sum", "2 wait for a person")
    at.page.click("#board .sum a[href*=approvals]")
    at.page.wait_text(".inbox li:nth-child(2)", "A-18")
    at.page.wait_text(".inbox li:first-child", "A-17")
    assert "May refund be called?" in at.page.text(".inbox li:first-child h3")
    assert '"euros": 40' in at.page.text(".inbox li:first-child pre")
    at.act(
        ".inbox li:first-child button[data-act=approve]", "a known customer", ".inbox li:first-child .told"
    )
    at.until("refund-0", "Complete")
    at.page.wait("document.querySelectorAll('.inbox li').length === 1")
    at.open("job", name="refund-0")
    at.page.wait_text("#talk", "refund")
    at.page.wait_text("#talk-told", "That is all")
    at.open("job", name="refund-1")
    at.page.wait_text("#question", "A-18")
    at.act("#question button[data-act=reject]", "no receipt", "#question .told")
    at.until("refund-1", "Complete")
