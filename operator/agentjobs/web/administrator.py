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


@dataclass(frozen=True, slots=True)
class AdministratorsDoor:
    """Lets in who has the secret: in the cookie that the link sets, or as a bearer token."""

    port: int
    start: str
    """The path to which the link leads."""
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    cookie: str = field(default_factory=lambda: f"agentjobs-{secrets.token_hex(4)}")

    @property
    def link(self) -> str:
        """The link to open in a browser."""
        return f"http://127.0.0.1:{self.port}{OPEN}{self.secret}"

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application behind this door, with the link before it."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            if scope["type"] != "http" or not request.url.path.startswith(OPEN):
                await app(scope, receive, send)
                return
            try:
                self._check_host(request)
                self._check_secret(request.url.path.removeprefix(OPEN))
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
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        self._check_secret(bearer or request.cookies.get(self.cookie, ""))
        if not bearer:
            self._check_site(request)
        return Identity(Door.ADMINISTRATOR, "administrator")

    def _check_host(self, request: Request) -> None:
        # a name that a foreign page has pointed at 127.0.0.1 (DNS rebinding) arrives here
        if request.headers.getlist("host") not in ([f"127.0.0.1:{self.port}"], [f"localhost:{self.port}"]):
            raise ApiError(421, f"this door answers at 127.0.0.1:{self.port} alone")

    def _check_secret(self, given: str) -> None:
        if not hmac.compare_digest(given.encode(), self.secret.encode()):
            raise ApiError(401, "open the link that `agentjobs web` has printed")

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


def start_path(dashboard: bool) -> str:
    """Where the link leads: the dashboard, or the list of what is served."""
    return f"{ROOT}/ui/now.html" if dashboard else ROOT
