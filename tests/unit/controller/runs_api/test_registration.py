"""When the runs API is registered and withdrawn: a table at the product's own numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agentjobs.controller.runs_api.registration import (
    Act,
    Found,
    History,
    Registered,
    Seen,
    ServiceRef,
    State,
    decide,
    retry_seconds,
    seen_now,
)
from agentjobs.controller.runs_api.settings import RegistrationTimes

TIMES = RegistrationTimes()
NO_HISTORY, NOTHING_SEEN = History(), Seen()
US, OTHER = UUID(int=1), UUID(int=2)
AT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
SERVICE = ServiceRef("agents", "agentjobs-web", 443)
THEIRS = ServiceRef("others", "agentjobs-web", 443)
ABSENT = Found(US, SERVICE, endpoint_ready=True, bundle="Y2E=")
OURS = Registered("uid-1", str(US), SERVICE, "Y2E=", available=True, since=AT - timedelta(hours=1))
DOWN = replace(OURS, available=False, words="FailedDiscoveryCheck: no route to host")


def found(registered: Registered | None = None, **changes: object) -> Found:
    return replace(ABSENT, registered=registered, **changes)  # type: ignore[arg-type]


def seconds_ago(seconds: float) -> datetime:
    return AT - timedelta(seconds=seconds)


@dataclass(frozen=True)
class Case:
    title: str
    found: Found
    act: Act
    state: State
    history: History = NO_HISTORY
    seen: Seen = NOTHING_SEEN
    says: str = ""


NOW = 10_000.0
CASES = [
    Case("an endpoint is ready", found(), Act.REGISTER, State.UNREACHABLE),
    Case("no endpoint is ready", found(endpoint_ready=False), Act.WAIT, State.NO_ENDPOINT),
    Case("there is no certificate yet", found(bundle=""), Act.WAIT, State.NO_CERTIFICATE),
    Case("it serves", found(OURS), Act.WAIT, State.SERVING),
    Case("it serves, and has another caBundle", found(OURS, bundle="bmV3"), Act.UPDATE, State.SERVING),
    Case("it serves, and the bundle is not known", found(OURS, bundle=""), Act.WAIT, State.SERVING),
    Case(
        "it names another port of the Service",
        found(replace(OURS, service=replace(SERVICE, port=444))),
        Act.UPDATE,
        State.SERVING,
    ),
    # not reached
    Case(
        "not reached for 59 s",
        found(replace(DOWN, since=seconds_ago(59))),
        Act.WAIT,
        State.UNREACHABLE,
        seen=Seen(NOW, unhealthy_since=NOW - 59),
    ),
    Case(
        "not reached for 60 s",
        found(replace(DOWN, since=seconds_ago(60))),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 60),
        says="no route to host",
    ),
    Case(
        "not reached for 60 s, and an endpoint is ready: a firewall",
        found(replace(DOWN, since=seconds_ago(60))),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 60),
        says="firewall",
    ),
    Case(
        "not reached for 60 s, and no endpoint is ready: its pods",
        found(replace(DOWN, since=seconds_ago(60)), endpoint_ready=False),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 60),
        says="look at its pods",
    ),
    Case(
        "the condition says so since an hour, a new leader has just begun to look",
        found(replace(DOWN, since=seconds_ago(3600))),
        Act.WAIT,
        State.UNREACHABLE,
        seen=Seen(NOW, unhealthy_since=NOW - 14),
    ),
    Case(
        "the condition says so since an hour, a new leader has seen it for 15 s",
        found(replace(DOWN, since=seconds_ago(3600))),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 15),
    ),
    Case(
        "the API server's clock is an hour ahead",
        found(replace(DOWN, since=AT + timedelta(hours=1))),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 60),
    ),
    Case(
        "the condition is True since long, discovery fails for 20 s",
        found(replace(OURS, unserved="GET /apis/…: 503 x509: unknown authority")),
        Act.WAIT,
        State.UNREACHABLE,
        seen=Seen(NOW, unhealthy_since=NOW - 20),
        says="unknown authority",
    ),
    Case(
        "the condition is True, discovery fails for 60 s: the caBundle",
        found(replace(OURS, unserved="GET /apis/…: 503 x509: unknown authority")),
        Act.WITHDRAW,
        State.WITHDRAWN,
        seen=Seen(NOW, unhealthy_since=NOW - 60),
        says="unknown authority",
    ),
    # tried again
    Case(
        "withdrawn, the next try is in a second",
        found(),
        Act.WAIT,
        State.WITHDRAWN,
        History(1, AT + timedelta(seconds=1)),
    ),
    Case("withdrawn, the next try is due", found(), Act.REGISTER, State.UNREACHABLE, History(1, AT)),
    Case(
        "a clock has written a next try in a year: in six hours at most",
        found(),
        Act.WAIT,
        State.WITHDRAWN,
        History(1, AT + timedelta(days=365)),
        says="18:00:00",
    ),
    Case(
        "somebody else has deleted it",
        found(),
        Act.WAIT,
        State.WITHDRAWN,
        seen=Seen(NOW, was_ours=True),
        says="somebody else",
    ),
    # leaving
    Case("the namespace goes", found(OURS, leaving="the namespace"), Act.WITHDRAW, State.LEAVING),
    Case(
        "the namespace goes, unreachable", found(DOWN, leaving="the namespace"), Act.WITHDRAW, State.LEAVING
    ),
    Case("the namespace goes, nothing is there", found(leaving="the namespace"), Act.WAIT, State.LEAVING),
    Case(
        "the namespace goes, it is being deleted",
        found(replace(OURS, deleting=True), leaving="the namespace"),
        Act.WAIT,
        State.LEAVING,
    ),
    # whose
    Case(
        "another installation's",
        found(replace(OURS, installation=str(OTHER), service=THEIRS)),
        Act.WAIT,
        State.ELSEWHERE,
        says=str(OTHER),
    ),
    Case(
        "another installation's, unreachable for a day",
        found(replace(DOWN, installation=str(OTHER), service=THEIRS, since=seconds_ago(86400))),
        Act.WAIT,
        State.ELSEWHERE,
        seen=Seen(NOW, unhealthy_since=0.0),
    ),
    Case(
        "another installation's, and our namespace goes",
        found(replace(OURS, installation=str(OTHER), service=THEIRS), leaving="the namespace"),
        Act.WAIT,
        State.ELSEWHERE,
    ),
    Case("a person's, for our Service", found(replace(OURS, installation="")), Act.WAIT, State.ELSEWHERE),
    Case(
        "of the database that was here before, for our Service",
        found(replace(OURS, installation=str(OTHER))),
        Act.UPDATE,
        State.SERVING,
    ),
    Case(
        "ours, for the Service of the namespace where the release was before",
        found(replace(OURS, service=THEIRS)),
        Act.UPDATE,
        State.SERVING,
    ),
    Case("ours, of no Service", found(replace(OURS, service=None)), Act.UPDATE, State.SERVING),
    Case(
        "the release is uninstalled, and nobody knows the installation",
        found(OURS, installation=None, leaving="off"),
        Act.WITHDRAW,
        State.LEAVING,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_follows_from_a_look(case: Case) -> None:
    decision = decide(case.found, case.history, case.seen, AT, NOW, TIMES)
    assert (decision.act, decision.state) == (case.act, case.state)
    assert case.says in decision.why


def test_each_withdrawal_is_followed_by_a_longer_wait_up_to_six_hours() -> None:
    minutes = [retry_seconds(n, TIMES) / 60 for n in range(1, 12)]
    assert minutes == [2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]
    assert retry_seconds(10**9, TIMES) == 6 * 3600


def test_withdrawals_are_counted_and_forgotten_after_ten_minutes_of_calm() -> None:
    down, seen = found(replace(DOWN, since=seconds_ago(60))), Seen(NOW, unhealthy_since=NOW - 60)
    after = decide(down, History(3, seconds_ago(60)), seen, AT, NOW, TIMES).history
    assert after == History(4, AT + timedelta(minutes=16))
    well = found(OURS)
    kept = decide(well, after, Seen(NOW, healthy_since=NOW - 599), AT, NOW, TIMES)
    assert kept.history.withdrawals == 4
    assert decide(well, after, Seen(NOW, healthy_since=NOW - 600), AT, NOW, TIMES).history == History()


def test_a_firewall_that_never_opens_costs_the_cluster_little_of_a_day() -> None:
    """The whole way, look by look, over a day: how long an unreachable APIService was there."""
    history, seen, registered_at, there, tries = History(), Seen(), None, 0.0, 0
    for second in range(0, 86_400, 5):
        at, now = AT + timedelta(seconds=second), float(second)
        registered = None if registered_at is None else replace(DOWN, since=registered_at)
        look = found(registered)
        seen = seen_now(seen, look, now, TIMES)
        decision = decide(look, history, seen, at, now, TIMES)
        history = decision.history
        there += 5.0 * (registered is not None)
        if decision.act is Act.REGISTER:
            registered_at, tries = at, tries + 1
        elif decision.act is Act.WITHDRAW:
            registered_at, seen = None, Seen()
    assert tries == 11
    assert there <= 11 * 70
    assert history.withdrawals == 11


def test_what_was_seen_before_a_pause_of_looks_says_nothing() -> None:
    down = found(replace(DOWN, since=AT))
    first = seen_now(Seen(), down, 100.0, TIMES)
    assert seen_now(first, down, 130.0, TIMES).unhealthy_since == 100.0
    assert seen_now(first, down, 131.0, TIMES).unhealthy_since == 131.0, "the API server was away meanwhile"


def test_an_outage_counts_from_its_first_look_and_ends_with_one_good_look() -> None:
    seen = Seen()
    for now, registered in ((0.0, OURS), (5.0, DOWN), (10.0, DOWN)):
        seen = seen_now(seen, found(registered), now, TIMES)
    assert (seen.unhealthy_since, seen.healthy_since) == (5.0, None)
    seen = seen_now(seen, found(OURS), 15.0, TIMES)
    assert (seen.unhealthy_since, seen.healthy_since) == (None, 15.0)
