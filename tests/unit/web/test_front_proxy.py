"""Whom the aggregated door takes a request for: by the peer's certificate and the headers that the cluster names."""

from __future__ import annotations

import pytest

from agentjobs.web.front_proxy import FrontProxy, FrontProxyUnknown, Peer, front_proxy_of
from agentjobs.web.status import ApiError

NOW = 1_000_000.0
PEER = Peer("front-proxy-client", NOW + 1)
PROXY = FrontProxy(
    "ca", ("front-proxy-client",), ("X-Remote-User", "X-User"), ("X-Remote-Group",), ("X-Remote-Extra-",)
)
USER = (b"x-remote-user", b"alice")


@pytest.mark.parametrize(
    "peer",
    [
        None,
        Peer(None, NOW + 1),
        Peer("", NOW + 1),
        Peer("alice", NOW + 1),
        Peer("Front-Proxy-Client", NOW + 1),
        Peer("front-proxy-client", NOW),
    ],
)
def test_who_shows_no_valid_certificate_of_that_name_is_nobody(peer: Peer | None) -> None:
    with pytest.raises(ApiError) as refused:
        PROXY.identity(peer, [USER], NOW)
    assert refused.value.code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-remote-user", b"")],
        [USER, (b"X-Remote-User", b"admin")],
        [USER, USER],
        [(b"x_remote_user", b"alice")],
        [(b"x-remote-user ", b"alice")],
        [(b"x-remote-users", b"alice")],
        [(b"x-remote-group", b"system:masters")],
    ],
)
def test_headers_that_name_no_user_or_two_name_nobody(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ApiError) as refused:
        PROXY.identity(PEER, headers, NOW)
    assert refused.value.code == 401


def test_the_user_the_groups_and_what_else_is_known_come_as_they_were_sent() -> None:
    found = PROXY.identity(
        PEER,
        [
            (b"X-REMOTE-USER", "al\u00efce".encode()),
            (b"x-user", b"second"),
            (b"x-remote-group", b"a,b"),
            (b"x-remote-group", b"c"),
            (b"x-remote-extra-authentication.kubernetes.io%2fcredential-id", b"1"),
            (b"x-remote-extra-scopes", b"x"),
            (b"x-remote-extra-scopes", b"y"),
        ],
        NOW,
    )
    assert (found.user, found.groups) == ("al\u00efce", ("a,b", "c"))
    assert found.extra == {
        "authentication.kubernetes.io/credential-id": ("1",),
        "scopes": ("x", "y"),
    }


def test_without_allowed_names_any_name_of_the_authority_is_the_front_proxys() -> None:
    anybody = FrontProxy("ca", (), ("X-Remote-User",), (), ())
    assert anybody.identity(Peer("x", NOW + 1), [USER], NOW).user == "alice"
    with pytest.raises(ApiError):
        anybody.identity(Peer(None, NOW + 1), [USER], NOW)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"requestheader-client-ca-file": "none"},
        {"requestheader-client-ca-file": "BEGIN CERTIFICATE"},
        {
            "requestheader-client-ca-file": "BEGIN CERTIFICATE",
            "requestheader-username-headers": "X-Remote-User",
        },
        {"requestheader-client-ca-file": "BEGIN CERTIFICATE", "requestheader-username-headers": '[""]'},
        {
            "requestheader-client-ca-file": "BEGIN CERTIFICATE",
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-allowed-names": "[1]",
        },
    ],
)
def test_a_cluster_that_does_not_say_how_it_shows_itself_keeps_the_door_shut(data: object) -> None:
    with pytest.raises(FrontProxyUnknown):
        front_proxy_of({"data": data})
