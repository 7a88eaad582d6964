"""The seam between the runs API and the dashboard: what a page's fragment and a static file are made from.

The dashboard implements ``Dashboard``; the API knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentjobs.api.meta import ApiModel


@dataclass(frozen=True, slots=True)
class Page:
    """The request for a fragment, apart from the data: who asks, for what, with which query."""

    user: str
    """Name of the user, as the API server or the door knows it."""
    may_act: bool
    """False behind a proxy or a token, where everything is read-only. True says nothing about RBAC."""
    resource: str
    """Such as ``agentruns`` or ``agentruns/attempts``."""
    namespace: str | None
    """None: all namespaces. ``-``: jobs without an object."""
    name: str | None
    query: Mapping[str, Sequence[str]]
    """All query parameters, as the URL has them: filters, ``part`` and whatever else the dashboard sends itself."""
    event: str = ""
    """Of a stream's fragment: added, modified, deleted, or entry (of a log). Empty: of a plain answer."""
    objects: bool = True
    """Whether the Kubernetes API is behind the same address, so that objects can be changed from the page. False: at the
    administrator's door."""
    trace_url: str = ""
    """Where a trace is shown: a URL with ``{trace_id}`` in it. Empty: nowhere."""

    def first(self, parameter: str) -> str:
        """The parameter's first value; empty: there is none."""
        return next(iter(self.query.get(parameter, ())), "")

    @property
    def part(self) -> str:
        """Query parameter ``part``: which of the dashboard's fragments of this data is wanted. Empty: the usual one."""
        return self.first("part")


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file of the dashboard."""

    content: bytes
    content_type: str
    """Such as ``text/html; charset=utf-8``."""
    etag: str
    """A digest of the content, without quotes."""


class Dashboard(Protocol):
    """The dashboard as the API sees it. Both methods are pure and quick: no reading, no waiting."""

    def asset(self, name: str) -> Asset | None:
        """The static file of this flat name, such as ``jobs.html``. None: there is none (404)."""

    def fragment(self, model: ApiModel, page: Page) -> str | None:
        """The data as HTML. None: no such fragment (406). ``model`` is the very object whose JSON the same request
        without ``Accept: text/html`` would get."""
