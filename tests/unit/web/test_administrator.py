"""The administrator's door keeps out who has no secret, other sites, and names that point at 127.0.0.1."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from agentjobs.web.administrator import AdministratorsDoor
from agentjobs.web.identity import Door
from agentjobs.web.status import ApiError

PORT = 4321
HOST = f"127.0.0.1:{PORT}"
OWN = f"http://{HOST}"


def request(door: AdministratorsDoor, method: str = "GET", **headers: str) -> Request:
    given = {"host": HOST, "cookie": f"{door.cookie}={door.secret}"} | headers
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items() if value]
    return Request({"type": "http", "method": method, "path": "/", "headers": named})


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {}),
        ("GET", {"sec_fetch_site": "none"}),
        ("GET", {"sec_fetch_site": "same-origin"}),
        ("POST", {"origin": OWN}),
        ("POST", {"sec_fetch_site": "same-origin"}),
    ],
)
def test_the_cookie_opens_it_for_its_own_pages(method: str, headers: dict[str, str]) -> None:
    door = AdministratorsDoor(PORT, "/")
    assert door.identify(request(door, method, **headers)).door is Door.ADMINISTRATOR


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("GET", {"host": "evil.example"}, 421),
        ("GET", {"host": f"evil.example:{PORT}"}, 421),
        ("GET", {"host": ""}, 421),
        ("GET", {"cookie": ""}, 401),
        ("GET", {"sec_fetch_site": "cross-site"}, 403),
        ("GET", {"origin": "https://evil.example"}, 403),
        ("POST", {}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"sec_fetch_site": "same-site"}, 403),
        ("POST", {"sec_fetch_site": "none"}, 403),
    ],
)
def test_nobody_else_gets_in(method: str, headers: dict[str, str], code: int) -> None:
    door = AdministratorsDoor(PORT, "/")
    with pytest.raises(ApiError) as refused:
        door.identify(request(door, method, **headers))
    assert refused.value.code == code


def test_the_links_own_secret_is_no_key() -> None:
    door = AdministratorsDoor(PORT, "/")
    for headers in (
        {"cookie": f"{door.cookie}={door.link_secret}"},
        {"cookie": "", "authorization": f"Bearer {door.link_secret}"},
    ):
        with pytest.raises(ApiError):
            door.identify(request(door, **headers))
