"""The dashboard as the runs API sees it: static files, and the fragment for each model of the API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from agentjobs.api.meta import ApiModel
from agentjobs.web.ui import fragments
from agentjobs.web.ui.fragments import ENVIRONMENT
from agentjobs.web.view import Asset, Page

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
SHELLS = {
    "now": "Now",
    "jobs": "Jobs",
    "approvals": "Approvals",
    "schedules": "Schedules",
    "queues": "Queues",
    "workers": "Workers",
    "audit": "Audit",
    "job": "Job",
}
"""The pages, in the order of the navigation; ``job`` is reached from a list."""


def _asset(content: bytes, content_type: str) -> Asset:
    return Asset(content, content_type, hashlib.sha256(content).hexdigest()[:24])


@cache
def assets() -> Mapping[str, Asset]:
    """All static files by name. Pages are rendered once: they hold no data."""
    found = {
        path.name: _asset(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(STATIC.iterdir())
        if path.suffix in TYPES
    }
    for name, title in SHELLS.items():
        text = ENVIRONMENT.get_template(f"pages/{name}.html").render(name=name, title=title, pages=SHELLS)
        found[f"{name}.html"] = _asset(text.encode(), "text/html; charset=utf-8")
    return found | {"index.html": found["now.html"]}


class Pages:
    """A ``Dashboard``."""

    def asset(self, name: str) -> Asset | None:
        """The static file of this name. None: there is none."""
        return assets().get(name)

    def fragment(self, model: ApiModel, page: Page) -> str | None:
        """The model as HTML. None: no page shows it so."""
        return fragments.of(model, page)


DASHBOARD = Pages()
