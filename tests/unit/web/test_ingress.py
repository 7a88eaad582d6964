"""The ingress door believes a proxy that proves itself, and a token; nobody acts there, and no name of the cluster's own comes in."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.requests import Request

from agentjobs.web.authorise import Authoriser, everything
from agentjobs.web.identity import Door, Identity
from agentjobs.web.ingress import IngressDoor, SecretFile, SecretInvalid, TrustedProxy
from agentjobs.web.status import ApiError
from agentjobs.web.target import Target

SECRET = "s" * 32
TOKEN = "t" * 32
PROVEN = ("X-Agentjobs-Proxy-Secret", SECRET)
Header = tuple[str, str]


@pytest.fixture
def proxy(tmp_path: Path) -> TrustedProxy:
    (tmp_path / "secret").write_text(SECRET + "\n")
    return TrustedProxy(
        SecretFile(tmp_path / "secret"), groups_header="X-Forwarded-Groups", user_prefix="oidc:"
    )


@pytest.fixture
def token(tmp_path: Path) -> SecretFile:
    (tmp_path / "token").write_text(TOKEN)
    return SecretFile(tmp_path / "token")


def request(*headers: Header) -> Request:
    named = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": named})


def basic(text: str) -> Header:
    return "Authorization", "Basic " + base64.b64encode(text.encode()).decode()


def refusal(door: IngressDoor, *headers: Header) -> ApiError:
    with pytest.raises(ApiError) as refused:
        door.identify(request(*headers))
    return refused.value


def test_a_person_whom_the_proxy_names_has_the_prefix_and_is_authenticated(proxy: TrustedProxy) -> None:
    asked = request(PROVEN, ("X-Forwarded-User", "alice"), ("X-Forwarded-Groups", "dev, ops,,dev"))
    found = IngressDoor(proxy).identify(asked)
    assert found == Identity(Door.PROXY, "oidc:alice", ("dev", "ops", "system:authenticated"))
    assert (found.may_act, found.has_objects) == (False, False)


def test_groups_are_not_read_unless_their_header_is_named(proxy: TrustedProxy) -> None:
    asked = request(PROVEN, ("X-Forwarded-User", "alice"), ("X-Forwarded-Groups", "admins"))
    assert replace(proxy, groups_header=None).identity(asked).groups == ("system:authenticated",)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("X-Forwarded-User", "alice"),),
        (("X-Forwarded-User", "alice"), ("X-Agentjobs-Proxy-Secret", "")),
        (("X-Forwarded-User", "alice"), ("X-Agentjobs-Proxy-Secret", SECRET[:-1])),
        (("X-Forwarded-User", "alice"), ("X-Agentjobs-Proxy-Secret", "guessed"), PROVEN),
        (("X-Forwarded-User", "alice"), ("X_Agentjobs_Proxy_Secret", SECRET)),
        (PROVEN,),
        (PROVEN, ("X-Forwarded-User", " ")),
        (PROVEN, ("X-Forwarded-User", "alice"), ("X-Forwarded-User", "admin")),
        (PROVEN, ("X-Remote-User", "alice")),
        (PROVEN, ("X-Forwarded-User", "a" * 300)),
        (PROVEN, ("X-Forwarded-User", "alice\u202eecila")),
        (PROVEN, ("X-Forwarded-User", "alice"), ("X-Forwarded-Groups", "dev,system:masters")),
    ],
)
def test_without_the_proxys_proof_or_with_two_readings_nobody_comes_in(
    proxy: TrustedProxy, headers: tuple[Header, ...]
) -> None:
    assert refusal(IngressDoor(proxy), *headers).code == 401


def test_no_proxy_hands_on_a_name_of_the_clusters_own(proxy: TrustedProxy) -> None:
    bare = IngressDoor(replace(proxy, user_prefix=""))
    assert "system:" in refusal(bare, PROVEN, ("X-Forwarded-User", "system:admin")).message


def test_a_token_comes_as_bearer_or_as_the_password_that_a_browser_asks_for(token: SecretFile) -> None:
    door = IngressDoor(token=token)
    for header in (("Authorization", f"Bearer {TOKEN}"), basic(f"me:{TOKEN}"), basic(f":{TOKEN}")):
        assert door.identify(request(header)) == Identity(Door.TOKEN, "token")
    bearer = ("Authorization", f"Bearer {TOKEN}")
    for headers in (
        [], [basic(TOKEN)], [basic("me:guessed")], [("Authorization", TOKEN)], [("Authorization", "Basic %%")],
        [("Authorization", "Basic ü")], [bearer, bearer],
        [("Cookie", f"token={TOKEN}")], [("X-Forwarded-User", "admin")],
    ):  # fmt: skip
        refused = refusal(door, *headers)
        assert refused.code == 401
        assert refused.challenge.startswith("Basic ")


def test_with_both_a_forged_name_beside_the_token_is_nobodys(proxy: TrustedProxy, token: SecretFile) -> None:
    door = IngressDoor(proxy, token)
    bearer, forged = ("Authorization", f"Bearer {TOKEN}"), ("X-Forwarded-User", "admin")
    assert door.identify(request(bearer, forged)).user == "token"
    assert door.identify(request(bearer, forged, PROVEN)).user == "oidc:admin"
    assert refusal(door, bearer, forged, ("X-Agentjobs-Proxy-Secret", TOKEN)).code == 401


def test_a_file_is_read_at_each_use_and_may_have_the_old_secret_beside_the_new(token: SecretFile) -> None:
    token.path.write_text(f"{TOKEN}\n{'n' * 40}\n")
    assert token.admits(TOKEN)
    assert token.admits("n" * 40)
    token.path.write_text("n" * 40)
    assert not token.admits(TOKEN)
    for content in ("", "\n \n", "short", f"{TOKEN}\nshort", "\n".join([TOKEN] * 11)):
        token.path.write_text(content)
        with pytest.raises(SecretInvalid) as invalid:
            token.read()
        assert TOKEN not in str(invalid.value)
    token.path.unlink()
    assert refusal(IngressDoor(token=token), ("Authorization", f"Bearer {TOKEN}")).code == 503


@pytest.mark.parametrize("door", [Door.PROXY, Door.TOKEN])
async def test_nobody_acts_through_it_whatever_rbac_says(door: Door) -> None:
    authoriser, who = Authoriser(everything), Identity(door, "alice")
    for verb in ("get", "list", "watch"):
        assert await authoriser.allows(who, Target(verb, "agentruns", "team", "x"))
    act = Target("create", "runactions", "-", None)
    with pytest.raises(ApiError) as refused:
        await authoriser.require(who, act, path=act)
    assert refused.value.code == 403
    assert "read-only" in refused.value.message


async def test_what_a_person_reads_is_what_the_review_says_also_of_the_path_itself() -> None:
    asked: list[Target] = []

    async def review(_: Identity, wanted: Target) -> bool:
        asked.append(wanted)
        return wanted.namespace == "team"

    authoriser, who = Authoriser(review), Identity(Door.PROXY, "alice")
    mine, other = Target("list", "agentruns", "team", None), Target("list", "agentruns", "other", None)
    assert await authoriser.allows(who, mine, path=mine)
    assert not await authoriser.allows(who, other, path=other)
    assert asked == [mine, other]
    assert not await Authoriser().allows(who, mine, path=mine)
