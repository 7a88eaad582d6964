"""Answers of the API server, and the errors that they are."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentjobs.cli.errors import Unavailable

JsonObject = dict[str, Any]
SKEW_SECONDS = 2.0
"""Clocks that differ by less are taken as equal: the header Date has whole seconds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API server. ``date`` is its header of that name."""

    status: int
    body: bytes
    content_type: str = ""
    date: str = ""
    retry_after: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> JsonObject:
        """The object in the body.

        :raises Unavailable: it is none.
        """
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unavailable(f"the API server's answer is no object: {self.body[:80]!r}")
        return found

    def words(self) -> str:
        """The message of an error, in one line."""
        try:
            text = str(json.loads(self.body)["message"])
        except (ValueError, KeyError, TypeError):
            text = self.body[:500].decode(errors="replace")
        return " ".join(text.split()) or f"status {self.status}"

    def cause(self) -> str:
        """The reason of a Status, such as NotFound; empty: the body is none."""
        try:
            return str(json.loads(self.body).get("reason") or "")
        except (ValueError, AttributeError):
            return ""

    def next_page(self) -> str:
        """The token of the next page of a list; that of an expired page asks for the newest. Empty: there is none."""
        try:
            return str((json.loads(self.body).get("metadata") or {}).get("continue") or "")
        except (ValueError, AttributeError):
            return ""


UNTIL_IT_ANSWERS = "nothing begins, and no status changes, until it answers"
"""What a database that is away means for jobs."""


def database_away(reply: Reply) -> str:
    """The runs API's words where its database does not serve. Empty: it does, or something else is the matter."""
    words = reply.words()
    return words if reply.status in (503, 504) and "database" in words else ""


class RequestRefused(Unavailable):
    """The API server refused a request."""

    def __init__(self, message: str, reply: Reply) -> None:
        super().__init__(message)
        self.reply = reply


def ahead_of(date: str, now: datetime) -> float:
    """The seconds by which a header Date is ahead of ``now``. 0: they are equal, or the text is no date."""
    try:
        then = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    ahead = (then - now).total_seconds()
    return ahead if abs(ahead) > SKEW_SECONDS else 0.0


def refused(reply: Reply, what: str, flags: str = "") -> RequestRefused:
    """The error for an answer about ``what``, in one line with what to do.

    :param flags: those that say where the command acts.
    """
    words = reply.words()
    if reply.status == 401:
        line = f"{what}: the API server does not know you. See: kubectl auth whoami"
    elif reply.status == 403:
        line = f"{what}: {words}. What you may: kubectl auth can-i --list {flags}".rstrip()
    elif reply.status == 422 and reply.cause() == "Invalid":
        line = f"{what}: {words}"
    elif reply.status == 404:
        line = f"{what}: {words}. Are the CRDs there? kubectl agentjobs doctor"
    elif reply.status >= 500 and not reply.cause():
        line = unreachable(words)  # the proxy's own words
    else:
        line = f"{what}: the API server answers {reply.status}: {words}"
    return RequestRefused(line, reply)


def unreachable(why: str) -> str:
    """The line for an API server that gives no answer."""
    return f"the API server cannot be reached: {why}. See: kubectl cluster-info"


def reply_of(response: http.client.HTTPResponse) -> Reply:
    """The whole answer, read to its end."""
    header = response.headers.get
    return Reply(
        response.status,
        response.read(),
        header("Content-Type", ""),
        header("Date", ""),
        header("Retry-After", ""),
    )
