"""The dashboard's pages at every width, with nothing, with one job, with thousands, with words that never end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser import Tab, tab
from dashboard_browsing import PAGES, SHOWN
from dashboard_scenes import SCENES
from dashboard_site import served

WIDTHS = (1440, 1024, 600, 375)
LEAST_TARGET_PIXELS = 24
"""WCAG 2.2, 2.5.8: links inside of a sentence or a row's text are exempt."""
TOO_WIDE = """(() => {
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide <= 0) return "";
  const out = [...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > window.innerWidth + 1 && !e.closest(".scroll, pre, .talk"));
  return `${wide} px wider than the window: ` + out.slice(0, 3).map(e => e.outerHTML.slice(0, 100)).join(" | ");
})()"""
TOO_SMALL = f"""[...document.querySelectorAll("button, input, select, textarea, summary, nav a, .pick label")]
  .filter(e => !(e.type === "checkbox" && e.closest("label")))
  .map(e => [e, e.getBoundingClientRect()])
  .filter(([e, r]) => r.width && r.right > 0 && (r.width < {LEAST_TARGET_PIXELS} || r.height < {LEAST_TARGET_PIXELS} - 0.5))
  .map(([e, r]) => `${{Math.round(r.width)}}x${{Math.round(r.height)}} ` + e.outerHTML.slice(0, 80))"""
CUT = """[...document.querySelectorAll("main *")]
  .filter(e => { const s = getComputedStyle(e); return s.overflowX === "hidden" && !s.getPropertyValue("clip-path").includes("polygon"); })
  .filter(e => e.scrollHeight > e.clientHeight + 2 || e.scrollWidth > e.clientWidth + 2)
  .filter(e => e.title !== e.textContent.trim() && e.title !== e.textContent)
  .map(e => e.outerHTML.slice(0, 120))"""
CRUSHED = """[...document.querySelectorAll("main table th, main table td")]
  .map(e => [e, e.getBoundingClientRect()])
  .filter(([e, r]) => r.width && e.textContent.trim().length > 20 && r.height > 900)
  .map(([e, r]) => `${Math.round(r.width)}x${Math.round(r.height)} ` + e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with tab() as opened:
        yield opened


@pytest.mark.parametrize("scene", SCENES)
def test_a_page_fits_each_window_and_hides_nothing_for_good(browser: Tab, scene: str) -> None:
    faults: list[str] = []
    with served(SCENES[scene]()) as site:
        for name, query in PAGES.items():
            browser.look(width=WIDTHS[0])
            browser.open(site.page(name, **query))
            browser.wait(SHOWN)
            for width in WIDTHS:
                browser.look(width=width)
                place = f"{name} at {width} px"
                if wide := browser.run(TOO_WIDE):
                    faults.append(f"{place}: {wide}")
                faults += [f"{place}: a small target: {target}" for target in browser.run(TOO_SMALL)]
                faults += [f"{place}: cut without a way to see it: {cut}" for cut in browser.run(CUT)]
                faults += [f"{place}: crushed: {cell}" for cell in browser.run(CRUSHED)]
        browser.open("about:blank")
    browser.look()
    assert faults == []


def test_a_first_day_says_what_to_do_next(browser: Tab) -> None:
    with served(SCENES["nothing"]()) as site:
        for name, words in {
            "now": "kubectl agentjobs run",
            "jobs": "kubectl agentjobs run",
            "schedules": "kubectl explain scheduledagentjob.spec",
            "queues": "Submit a job",
            "workers": "kubectl agentjobs doctor",
            "audit": "will stand here",
            "approvals": "no tool waits",
        }.items():
            browser.open(site.page(name))
            browser.wait_text("main", words)
        browser.open(site.page("jobs", queue="x"))
        browser.wait_text("#list", "Take the filter off")
        browser.open(site.page("job", **PAGES["job"]))
        browser.wait_text("main", "not found")
        assert browser.run("[...document.querySelectorAll('main h2')].every(e => !e.checkVisibility())")
        browser.open("about:blank")
