"""Draw the pictures of docs/dashboard.md from the tests' sample data: python scripts/screenshots.py [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests/support")]

from browser import tab  # noqa: E402
from dashboard_samples import afternoon, uid  # noqa: E402
from dashboard_site import served  # noqa: E402

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


def main(folder: Path) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    site = afternoon()
    site.results[JOB["uid"]] = site.results[uid("triage-4806")].model_copy(
        update={"state": "Failed", "result": None}
    )
    with served(site), tab() as page:
        for name, (shell, query, dark, width) in PICTURES.items():
            page.look(width=width, height=720, dark=dark)
            page.open(site.page(shell, **query))
            page.wait(SHOWN)
            page.wait(
                "!document.querySelector('.inbox') || document.querySelectorAll('.question').length > 1"
            )
            (folder / f"{name}.png").write_bytes(page.picture(whole=name in WHOLE))
            print(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pictures")
