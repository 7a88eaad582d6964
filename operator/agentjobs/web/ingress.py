"""The ingress door: people whom a trusted proxy has signed in, or holders of one token. They read, and nothing else.

A proxy such as oauth2-proxy signs a person in and says in a header who that is. Anybody else can send such a header too, so it
counts beside the secret alone that only the proxy and this process know.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agentjobs.values.setting_names import both_names
from agentjobs.web.administrator import start_path
from agentjobs.web.answers import DATA_HEADERS
from agentjobs.web.identity import Door, Identity
from agentjobs.web.status import ApiError

SECRET_HEADER = "x-agentjobs-proxy-secret"
USER_HEADER = "X-Forwarded-User"
LEAST_CHARACTERS = 32
"""Of a secret: whoever reaches the port can guess without end."""
MOST_SECRETS = 10
MOST_FILE_BYTES = 64 << 10
MOST_NAME_CHARACTERS = 256
MOST_GROUPS = 1000
RESERVED = "system:"
"""Names of the cluster's own users and groups, such as system:masters, begin so. No proxy may hand them on."""
AUTHENTICATED = "system:authenticated"
CHALLENGE = 'Basic realm="agentjobs: any name, the token as password", charset="UTF-8"'


class SecretInvalid(ValueError):
    """A file of secrets that cannot be used. The message names the file, and never its content."""


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file with a secret, or with several, one a line, as while it is changed. It is read at each use."""

    path: Path

    def admits(self, given: str) -> bool:
        """Whether the text is one of the secrets; each is compared in constant time. Raises SecretInvalid."""
        return any(hmac.compare_digest(given.encode(), secret) for secret in self.read())

    def read(self) -> list[bytes]:
        """The secrets. Raises SecretInvalid where there is none, or one is too short to be one."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_FILE_BYTES + 1)
        except OSError as error:
            raise SecretInvalid(f"{self.path} cannot be read: {error.strerror}") from None
        found = [line.strip() for line in content.splitlines() if line.strip()]
        if not 0 < len(found) <= MOST_SECRETS or len(content) > MOST_FILE_BYTES:
            raise SecretInvalid(f"{self.path} has {len(found)} lines; 1 to {MOST_SECRETS} are wanted")
        if min(map(len, found)) < LEAST_CHARACTERS:
            raise SecretInvalid(
                f"{self.path}: a secret has less than {LEAST_CHARACTERS} characters; make one with: openssl rand -hex 32"
            )
        return found


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """The proxy that signs people in, and how it says who they are."""

    secret: SecretFile
    """What it sends in the header ``SECRET_HEADER``."""
    user_header: str = USER_HEADER
    groups_header: str | None = None
    """None: groups are not read. A proxy that does not remove this header of a client's would let everybody choose his groups."""
    user_prefix: str = ""
    groups_prefix: str = ""

    def identity(self, request: Request) -> Identity:
        """The person. Raises ApiError (401)."""
        if not _admits(self.secret, ",".join(request.headers.getlist(SECRET_HEADER))):
            raise ApiError(
                401,
                f"this door is for a proxy that has signed you in: the header {SECRET_HEADER} has not the secret of "
                f"{both_names('web_ingress_proxy_secret_file')}",
            )
        users = _values(request, self.user_header)
        if len(users) != 1:
            raise ApiError(
                401, f"the proxy sent {len(users)} headers {self.user_header} with a name; one is wanted"
            )
        groups: list[str] = []
        if self.groups_header is not None:
            lines = _values(request, self.groups_header)
            groups = [name.strip() for line in lines for name in line.split(",") if name.strip()]
        if len(groups) > MOST_GROUPS:
            raise ApiError(401, f"the proxy sent {len(groups)} groups; at most {MOST_GROUPS} are wanted")
        user = _name(self.user_prefix + users[0], self.user_header)
        named = dict.fromkeys(_name(self.groups_prefix + one, self.groups_header or "") for one in groups)
        return Identity(Door.PROXY, user, (*named, AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class IngressDoor:
    """Lets in whom the proxy names, and who has the token. One of both at least is there."""

    proxy: TrustedProxy | None = None
    token: SecretFile | None = None

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application behind this door; its address alone leads to the dashboard."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
                # relative: the ingress may serve us below a path of its own
                start = start_path(dashboard=True).lstrip("/")
                await RedirectResponse(start, 303, DATA_HEADERS)(scope, receive, send)
                return
            await app(scope, receive, send)

        return guarded

    def identify(self, request: Request) -> Identity:
        """Who asks. Raises ApiError: 401 without a proof, 503 where a secret's file cannot be used."""
        if self.proxy is not None and (self.token is None or SECRET_HEADER in request.headers):
            return self.proxy.identity(request)
        assert self.token is not None
        if not _admits(self.token, _token(request)):
            raise ApiError(
                401, "the token is wanted: as password, or as Authorization: Bearer", challenge=CHALLENGE
            )
        return Identity(Door.TOKEN, "token")

    def check(self) -> None:
        """Raises SecretInvalid where a file cannot be used now."""
        for secret in (self.token, None if self.proxy is None else self.proxy.secret):
            if secret is not None:
                secret.read()


def _admits(secret: SecretFile, given: str) -> bool:
    try:
        return secret.admits(given)
    except SecretInvalid as error:
        raise ApiError(503, f"this door is shut: {error}") from None


def _token(request: Request) -> str:
    """The token of the request: a bearer token, or the password that a browser asked for. Empty: none."""
    given = request.headers.getlist("authorization")
    scheme, _, rest = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    match scheme.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            try:
                return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
            except ValueError:  # no base64, no ASCII before it, or no UTF-8 in it
                return ""
    return ""


def _values(request: Request, header: str) -> list[str]:
    """The header's values that say something, as UTF-8. Raises ApiError (401)."""
    wanted = header.lower().encode()
    try:
        found = [value.decode().strip() for name, value in request.scope["headers"] if name == wanted]
    except UnicodeDecodeError:
        raise ApiError(401, f"the proxy's header {header} is no UTF-8") from None
    return [value for value in found if value]


def _name(name: str, header: str) -> str:
    if name.startswith(RESERVED):
        raise ApiError(
            401, f"the proxy's header {header} names {name[:80]!r}: {RESERVED}… is the cluster's own"
        )
    if len(name) > MOST_NAME_CHARACTERS or not name.isprintable():
        raise ApiError(
            401,
            f"the proxy's header {header} has a name that is too long, or has characters that nobody sees",
        )
    return name
