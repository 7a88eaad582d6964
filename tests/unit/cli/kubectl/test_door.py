"""Whom the local door lets in, and what it passes on."""

from __future__ import annotations

import pytest

from agentjobs.cli.kubectl.door import START, Asked, Door, Turned, body_bytes, passed_back, passed_on

PORT = 8123
OWN = f"http://127.0.0.1:{PORT}"
RUNS = "/apis/runs.agentjobs.dev/v1alpha1/namespaces/team/agentruns"
JOB = "/apis/agentjobs.dev/v1alpha1/namespaces/team/agentjobs/refund"


@pytest.fixture
def door() -> Door:
    return Door(PORT)


def asked(
    door: Door, target: str = RUNS, method: str = "GET", *, cookie: str | None = None, **headers: str | None
) -> Asked:
    """A request of the door's own page, with these headers changed; None: without it."""
    acting = {"X-Agentjobs-Act": "1"} if method not in ("GET", "HEAD") else {}
    usual: dict[str, str | None] = {
        "Host": f"127.0.0.1:{PORT}", "Sec-Fetch-Site": "same-origin", "Origin": OWN, **acting,
        "Cookie": f"x=1; {door.cookie}={door.cookie_secret if cookie is None else cookie}",
    }  # fmt: skip
    changed = usual | {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(method, target, [(name, value) for name, value in changed.items() if value is not None])


def test_the_link_lets_in_once_and_the_cookie_from_then_on(door: Door) -> None:
    path = door.link.removeprefix(OWN)
    visit = Asked("GET", path, [("Host", f"127.0.0.1:{PORT}"), ("Sec-Fetch-Site", "none")])
    given = door.opened(visit)
    assert given is not None
    attributes = given["Set-Cookie"].split("; ")
    assert attributes == [f"{door.cookie}={door.cookie_secret}", "Path=/", "HttpOnly", "SameSite=Strict"]
    with pytest.raises(Turned, match="lets in once"):
        door.opened(visit)
    again = Asked("GET", path, [*visit.headers, ("Cookie", attributes[0])])
    assert door.opened(again) == {}, "who is known is led on"
    assert door.opened(asked(door)) is None


@pytest.mark.parametrize("target", [RUNS, f"{RUNS}?watch=true", JOB, START, f"{START}?a=%2e%2e"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH"])
def test_the_own_page_may_look_and_act(door: Door, target: str, method: str) -> None:
    door.check(asked(door, target, method))


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Host": "evil.example:8123"}, 421),
        ({"Host": "localhost:8123"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": None}, 421),
        ({"Cookie": None}, 401),
        ({"cookie": "wrong"}, 401),
        ({"cookie": ""}, 401),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": None}, 403),
        ({"Sec-Fetch-Site": "none", "Origin": None, "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": None, "Origin": None}, 403),
        ({"X-Long": "a\r\n b"}, 400),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_others_are_turned_away(door: Door, changed: dict[str, str | None], status: int, method: str) -> None:
    with pytest.raises(Turned) as turned:
        door.check(asked(door, RUNS, method, **changed))
    assert turned.value.status == status


def test_an_act_needs_the_header_that_no_form_can_send_and_does_not_come_from_the_address_line(
    door: Door,
) -> None:
    for changed in ({"X-Agentjobs-Act": None}, {"X-Agentjobs-Act": "0"},
                    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}):  # fmt: skip
        with pytest.raises(Turned) as turned:
            door.check(asked(door, JOB, "PATCH", **changed))
        assert turned.value.status == 403
    door.check(asked(door, Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate", Origin=None))


@pytest.mark.parametrize(
    "target",
    [
        "/", "/api/v1/secrets", "/apis/apps/v1/deployments", "/apis/runs.agentjobs.dev/v1alpha1/", f"{RUNS}/",
        f"{RUNS}/../../x", f"{RUNS}/..", f"{RUNS}/.", f"{RUNS}/%2e%2e/x", f"{RUNS}%2fx", f"{RUNS}//x", f"{RUNS};x",
        "/apis/agentjobs.dev/v1/namespaces/team/agentjobs", "/apis/xagentjobs.dev/v1alpha1/a", "/version",
        "/apis/runsxagentjobs.dev/v1alpha1/a", f"http://evil.example{RUNS}", f"{RUNS}/\\x", f"{RUNS}/a b",
    ],
)  # fmt: skip
def test_other_paths_are_not_passed_on(door: Door, target: str) -> None:
    with pytest.raises(Turned) as turned:
        door.check(asked(door, target))
    assert turned.value.status == 404


def test_a_path_that_is_no_plain_text_and_other_methods_are_refused(door: Door) -> None:
    for target, method, status in (
        (f"{RUNS}?a=\xe4", "GET", 400),
        (JOB, "DELETE", 405),
        (JOB, "CONNECT", 405),
    ):
        with pytest.raises(Turned) as turned:
            door.check(asked(door, target, method))
        assert turned.value.status == status


def test_a_header_that_is_given_twice_is_refused(door: Door) -> None:
    request = asked(door)
    for name in ("Host", "Origin", "Sec-Fetch-Site"):
        with pytest.raises(Turned):
            door.check(Asked("GET", RUNS, [*request.headers, (name, "x")]))


def test_no_identity_goes_on_and_the_guards_come_back() -> None:
    forged = [
        ("Impersonate-User", "admin"), ("Impersonate-Group", "system:masters"), ("X-Remote-User", "admin"),
        ("X-Remote-Group", "system:masters"), ("Authorization", "Bearer x"), ("Cookie", "a=b"), ("Connection", "upgrade"),
        ("Upgrade", "websocket"), ("Origin", OWN), ("Host", "x"), ("X-Forwarded-For", "x"), ("Accept-Encoding", "gzip"),
    ]  # fmt: skip
    wanted = [("Accept", "text/html"), ("HX-Request", "true"), ("Last-Event-ID", "3")]
    assert passed_on(Asked("GET", RUNS, [*forged, *wanted])) == dict(wanted)
    back = passed_back(
        [("content-security-policy", "own"), ("Set-Cookie", "a=b"), ("Transfer-Encoding", "chunked")]
    )
    assert back["Content-Security-Policy"] == "own"
    assert back["X-Content-Type-Options"] == "nosniff"
    assert not {"Set-Cookie", "Transfer-Encoding"} & set(back)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {"Content-Length": str(10**8)}, 413),
        ("POST", {"Content-Length": "-1"}, 400),
        ("POST", {"Transfer-Encoding": "chunked"}, 411),
        ("GET", {"Content-Length": "5"}, 413),
    ],
)
def test_bodies_have_a_known_and_bounded_length(method: str, headers: dict[str, str], status: int) -> None:
    with pytest.raises(Turned) as turned:
        body_bytes(Asked(method, RUNS, list(headers.items())))
    assert turned.value.status == status
    assert body_bytes(Asked("POST", RUNS, [("Content-Length", "5")])) == 5
