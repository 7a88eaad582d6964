"""What the tests of the dashboard in Chromium share: the pages, and when they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from browser import Tab
from dashboard_samples import uid

FAILED = {"namespace": "support", "name": "triage-4808", "uid": uid("triage-4808")}
PAGES: Mapping[str, Mapping[str, str]] = {
    "now": {},
    "jobs": {"namespace": "support"},
    "approvals": {},
    "schedules": {},
    "queues": {},
    "workers": {},
    "audit": {},
    "job": FAILED,
}
SHOWN = "document.querySelectorAll('.region').length && ![...document.querySelectorAll('.region')].some(r => r.textContent.trim() === '…')"


def confirm(browser: Tab, reason: str = "") -> None:
    """Wait until the dialog asks, give a reason, and say yes."""
    browser.wait(
        "document.querySelector('#ask').open && !document.querySelector('#ask-yes').disabled",
        "the act is asked about",
    )
    if reason:
        browser.run("document.querySelector('#ask-reason').focus()")
        browser.type(reason)
    browser.click("#ask-yes")
