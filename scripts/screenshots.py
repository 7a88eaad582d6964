"""Draw the pictures of docs/dashboard.md from the tests' sample data: python scripts/screenshots.py [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests/support")]

from browser import Tab, tab  # noqa: E402
from dashboard_samples import afternoon, run, uid  # noqa: E402
from dashboard_site import Site, served  # noqa: E402

SHOWN = "document.querySelectorAll('.region').length && ![...document.querySelectorAll('.region')].some(r => r.textContent.trim() === '…')"
JOB = {"namespace": "support", "name": "triage-4808", "uid": uid("triage-4808")}
PICTURES: dict[str, tuple[str, dict[str, str], bool, int]] = {
    "now": ("now", {}, False, 1100),
    "jobs": ("jobs", {"namespace": "support"}, True, 1100),
    "job": ("job", JOB, False, 1100),
    "approvals": ("approvals", {}, False, 1100),
    "schedules": ("schedules", {}, True, 1100),
    "queues": ("queues", {}, False, 1100),
    "jobs-narrow": ("jobs", {"namespace": "support"}, False, 390),
}


WHOLE = {"now", "job"}
"""Pictures of a page to its end."""


def _write(path: Path, picture: bytes) -> None:
    path.write_bytes(picture)
    print(path)


def _bulk(page: Tab, site: Site, folder: Path) -> None:
    """A retry of all that match: its question, and half of it done."""
    site.runs = [
        run(f"triage-{n}", "Failed", reason="ModelRateLimited", message="429") for n in range(5400, 4400, -1)
    ]
    site.retries, site.slow_seconds = True, 0.05
    page.look(width=1100, height=600)
    page.open(site.page("jobs", namespace="support", state="Failed", reason="ModelRateLimited"))
    page.wait(SHOWN)
    page.click("button[data-bulk=retry]")
    page.wait_text("#ask-says", "1,000 jobs match")
    page.run("document.querySelector('#ask-reason').value = 'the quota was raised'; 0")
    _write(folder / "bulk-asked.png", page.picture())
    page.click("#ask-yes")
    page.wait("document.querySelector('#work-bar').value >= 400")
    _write(folder / "bulk-done.png", page.picture())
    page.run("halted = true; localStorage.clear(); 0")


def main(folder: Path) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    site = afternoon()
    with served(site), tab() as page:
        for name, (shell, query, dark, width) in PICTURES.items():
            page.look(width=width, height=720, dark=dark)
            page.open(site.page(shell, **query))
            page.wait(SHOWN)
            page.wait(
                "!document.querySelector('.inbox') || document.querySelectorAll('.question').length > 1"
            )
            _write(folder / f"{name}.png", page.picture(whole=name in WHOLE))
        _bulk(page, site, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pictures")
