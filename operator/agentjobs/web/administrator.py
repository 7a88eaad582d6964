"""The administrator's door: 127.0.0.1, a secret link that becomes a cookie, and nothing from other sites."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agentjobs.web.answers import DATA_HEADERS, accepted, error_response
from agentjobs.web.identity import Door, Identity
from agentjobs.web.names import ROOT
from agentjobs.web.status import ApiError

OPEN = "/open/"
COOKIE_SECONDS = 12 * 3600
UNKNOWN = (
    "open the link that `agentjobs web` has printed; it lets in once, so start it anew for another browser"
)


@dataclass(slots=True)
class AdministratorsDoor:
    """Lets in the browser that opens the link, once, and that has from then on the cookie that the link sets."""

    port: int
    start: str
    """The path to which the link leads."""
    link_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Spent by the first visit: a browser's history and its command line keep it."""
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Of the cookie."""
    cookie: str = field(default_factory=lambda: f"agentjobs-{secrets.token_hex(4)}")

    @property
    def link(self) -> str:
        """The link to open in a browser."""
        return f"http://127.0.0.1:{self.port}{OPEN}{self.link_secret}"

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application behind this door, with the link before it."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(OPEN):
                await app(scope, receive, send)
                return
            request = Request(scope, receive)
            try:
                self._check_host(request)
                self._spend(scope["path"].removeprefix(OPEN))
            except ApiError as error:
                await error_response(error, accepted(request.headers.get("accept", "")))(scope, receive, send)
                return
            response = RedirectResponse(self.start, 303, DATA_HEADERS)
            response.set_cookie(
                self.cookie, self.secret, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="strict"
            )
            await response(scope, receive, send)

        return guarded

    def identify(self, request: Request) -> Identity:
        """The administrator. Raises ApiError: 421 for another host, 401 without the secret, 403 from another site."""
        self._check_host(request)
        if not _same(request.cookies.get(self.cookie, ""), self.secret):
            raise ApiError(401, UNKNOWN)
        self._check_site(request)
        return Identity(Door.ADMINISTRATOR, "administrator")

    def _check_host(self, request: Request) -> None:
        # a name that a foreign page has pointed at 127.0.0.1 (DNS rebinding) arrives here
        if request.headers.getlist("host") not in ([f"127.0.0.1:{self.port}"], [f"localhost:{self.port}"]):
            raise ApiError(421, f"this door answers at 127.0.0.1:{self.port} alone")

    def _spend(self, given: str) -> None:
        if not self.link_secret or not _same(given, self.link_secret):
            raise ApiError(401, UNKNOWN)
        self.link_secret = ""

    def _check_site(self, request: Request) -> None:
        """Cookies do not tell ports apart, so a cookie alone proves no page of ours."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        own = (f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}")
        reading = request.method in ("GET", "HEAD")
        if origin is not None and origin not in own:
            raise ApiError(403, "a request from another site")
        if site is not None and site != "same-origin" and not (reading and site == "none"):
            raise ApiError(403, "a request from another site")
        if not reading and origin is None and site is None:
            raise ApiError(403, "a request that does not say from which site it comes")


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def start_path(dashboard: bool) -> str:
    """Where the link leads: the dashboard, or the list of what is served."""
    return f"{ROOT}/ui/now.html" if dashboard else ROOT
