"""The local door before the API server, for the dashboard: a browser on this machine acts with the user's credentials, and
nobody else does.

    browser ──► 127.0.0.1:PORT (this door) ──► socket of ``kubectl proxy`` ──► API server

Decisions are functions here; ``door_server`` carries them out. What each keeps out stands at its place.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from agentjobs.web.names import ROOT

START = f"{ROOT}/ui/now.html"
OPEN = "/open/"
ACT_HEADER = "X-Agentjobs-Act"
BODY_BYTES = 3 * 1024 * 1024
"""The most of a request's body, as the API server's own limit of a resource."""
READING, ACTING = ("GET", "HEAD"), ("POST", "PATCH")
PATHS = re.compile(r"/apis/(?:runs\.)?agentjobs\.dev/v1alpha1((?:/[A-Za-z0-9_.-]+)+)")
_PASSED = frozenset({
    "accept", "accept-language", "content-type", "if-modified-since", "if-none-match", "last-event-id", "user-agent",
})  # fmt: skip
_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
    "set-cookie", "content-length", "date", "server", "audit-id",
})  # fmt: skip
GUARDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of each answer, where it does not have them already: the dashboard's pages bring a policy of their own."""


class Turned(Exception):
    """A request that is turned away, with the status and the words."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: method, the path with its query as it stood in the first line, and all headers."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = field(repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def values(self, name: str) -> list[str]:
        """The values of a header, each time that it was given."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The value of a header. Empty: it is not there.

        :raises Turned: it is there twice, so that two programs could read it differently.
        """
        found = self.values(name)
        if len(found) > 1:
            raise Turned(HTTPStatus.BAD_REQUEST, f"the header {name} is given {len(found)} times")
        return found[0] if found else ""


@dataclass(slots=True)
class Door:
    """The door at one port: the link lets in once, and gives a cookie that lets in from then on."""

    port: int
    start: str = START
    """Path and query of the first page; in them nothing that HTML reads otherwise."""
    link_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Spent by the first visit: the browser's command line, which others on this machine can see, holds it."""
    cookie_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def link(self) -> str:
        return f"{self.origin}{OPEN}{self.link_secret}"

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        """The cookie's name. Cookies do not tell ports apart, so that each door has one of its own."""
        return f"agentjobs-{self.port}"

    @property
    def leads_on(self) -> str:
        """The page that leads on to the first one."""
        return (
            f'<!doctype html><title>agentjobs</title><meta http-equiv="refresh" content="0;url={self.start}">'
        )

    def opened(self, asked: Asked) -> dict[str, str] | None:
        """The headers of the page that leads on, for a visit by the link or by the bare address. None: another request.

        The page is no redirect: what a page of this port asks for is same-origin, also where the link stood on another site.

        :raises Turned: it is turned away.
        """
        self._check_host(asked)
        if asked.method != "GET" or not (asked.path == "/" or asked.path.startswith(OPEN)):
            return None
        given = asked.path.removeprefix(OPEN)
        if self.link_secret and _same(given, self.link_secret):
            self.link_secret = ""
            return {"Set-Cookie": f"{self.cookie}={self.cookie_secret}; Path=/; HttpOnly; SameSite=Strict"}
        self._check_known(asked)
        return {}

    def check(self, asked: Asked) -> None:
        """Lets a request to the API server pass.

        :raises Turned: it is turned away.
        """
        self._check_host(asked)
        self._check_known(asked)
        if not (asked.target.isascii() and asked.target.isprintable()):
            raise Turned(HTTPStatus.BAD_REQUEST, "a path that is no plain text")
        if any("\n" in value or "\r" in value for _, value in asked.headers):
            raise Turned(HTTPStatus.BAD_REQUEST, "a header of several lines")
        _check_path(asked.path)
        if asked.method not in READING + ACTING:
            raise Turned(HTTPStatus.METHOD_NOT_ALLOWED, f"{asked.method[:20]} is not passed on")
        self._check_site(asked)

    def _check_host(self, asked: Asked) -> None:
        # a name that a foreign page has pointed at 127.0.0.1 (DNS rebinding) arrives here
        if asked.values("Host") != [f"127.0.0.1:{self.port}"]:
            raise Turned(HTTPStatus.MISDIRECTED_REQUEST, f"this door answers at {self.origin} alone")

    def _known(self, asked: Asked) -> bool:
        try:
            cookies = SimpleCookie("; ".join(asked.values("Cookie")))
        except CookieError:
            return False
        return self.cookie in cookies and _same(cookies[self.cookie].value, self.cookie_secret)

    def _check_known(self, asked: Asked) -> None:
        if not self._known(asked):
            raise Turned(HTTPStatus.UNAUTHORIZED, _SPENT)

    def _check_site(self, asked: Asked) -> None:
        """Other servers on 127.0.0.1 share the site, and so the cookie: a request has to come from a page of this port, or, to
        look at something, from the address line. Each act has a header that no form and no simple request can send."""
        site, origin = asked.value("Sec-Fetch-Site"), asked.value("Origin")
        if origin and origin != self.origin:
            raise Turned(HTTPStatus.FORBIDDEN, "a request of another page")
        if asked.method in READING:
            navigates = site == "none" and asked.value("Sec-Fetch-Mode") == "navigate"
            if site != "same-origin" and not navigates and not (origin and not site):
                raise Turned(HTTPStatus.FORBIDDEN, "a request that is not of this door's own page")
            return
        if site not in ("same-origin", "") or not (origin or site):
            raise Turned(HTTPStatus.FORBIDDEN, "an act that is not of this door's own page")
        if asked.value(ACT_HEADER) != "1":
            raise Turned(HTTPStatus.FORBIDDEN, f"an act without the header {ACT_HEADER}: 1")


_SPENT = "open the link that `kubectl agentjobs web` has printed; it lets in once, so start it anew for another browser"


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _check_path(path: str) -> None:
    """Paths that two programs could read differently are not passed on: escapes, dot segments, empty segments, a last slash."""
    found = PATHS.fullmatch(path)
    if found is None or any(set(segment) == {"."} for segment in found[1].split("/")[1:]):
        raise Turned(HTTPStatus.NOT_FOUND, "not a path of agentjobs")


def body_bytes(asked: Asked) -> int:
    """The length of a request's body.

    :raises Turned: it is too long, or cannot be told.
    """
    if asked.values("Transfer-Encoding"):
        raise Turned(HTTPStatus.LENGTH_REQUIRED, "a body of unknown length")
    text = asked.value("Content-Length") or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Turned(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
    if int(text) > BODY_BYTES or (int(text) and asked.method in READING):
        raise Turned(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of {text} bytes")
    return int(text)


def passed_on(asked: Asked) -> dict[str, str]:
    """The headers that go on to the API server: those that are named, so no identity, no impersonation, no cookie."""
    return {
        key: value for key, value in asked.headers if key.lower() in _PASSED or key.lower().startswith("hx-")
    }


def passed_back(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The headers that go back to the browser, with this door's guards."""
    kept = {key.title(): value for key, value in headers if key.lower() not in _HOP}
    return {**GUARDS, **kept}
