"""Who waits after a refusal, and for how long: an object, its namespace, everybody."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import (
    SEVERAL,
    SLOWEST_EVERYBODY_SECONDS,
    SLOWEST_SECONDS,
    Act,
    Answer,
    Call,
    Concerns,
)
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.kit.backoff import LET_OTHERS_SHARE, SLOW_SECONDS, Backoff, worth_a_line

BUSY = Reply(503, {})
SILENT = ApiUnavailable("no answer")
LIMITED = Reply(429, {})
AWAY = ApiUnavailable("connection refused", unreachable=True)


def backoff(parallel: int = 4) -> Backoff[str]:
    return Backoff(parallel, jitter=lambda: 1.0)


def refuse(b: Backoff[str], name: str, now: float, answer: Answer = BUSY) -> tuple[Concerns, float]:
    """``name``: namespace/object."""
    namespace = name.partition("/")[0]
    assert b.may_start(namespace, name, now), name
    b.start(namespace, name, now)
    decision = b.decide(Call.STATUS, answer, namespace, name, now)
    assert decision.act is Act.RETRY
    return decision.concerns, decision.seconds


def free(b: Backoff[str], name: str, now: float) -> bool:
    return b.may_start(name.partition("/")[0], name, now)


def test_a_refused_object_waits_longer_each_time_up_to_a_bound_and_holds_up_no_other() -> None:
    b, now, waits = backoff(), 0.0, []
    for _ in range(9):
        concerns, seconds = refuse(b, "team/1", now)
        assert concerns is Concerns.OBJECT
        assert not free(b, "team/1", now + seconds - 0.01)
        assert free(b, "team/2", now)
        assert list(b.delayed(now)) == ["team/1"]
        assert b.closed(now) == []
        waits.append(seconds)
        now += seconds
    assert waits[:5] == [0.5, 1, 2, 4, 8]
    assert max(waits) == SLOWEST_SECONDS
    b.start("team", "team/1", now)
    b.taken("team", "team/1")
    assert refuse(b, "team/1", now) == (Concerns.OBJECT, 0.5)


@pytest.mark.parametrize("answer", [BUSY, SILENT, LIMITED, Reply(403, {}), Reply(401, {}), Reply(404, {})])
def test_several_refused_objects_are_their_namespace_and_it_asks_with_one_at_a_time(answer: Answer) -> None:
    b, now = backoff(), 0.0
    for number in range(SEVERAL - 1):
        assert refuse(b, f"team/{number}", now, answer)[0] is Concerns.OBJECT
    waits = []
    for number in range(SEVERAL, SEVERAL + 8):
        concerns, seconds = refuse(b, f"team/{number}", now, answer)
        assert concerns is Concerns.NAMESPACE
        assert b.closed(now) == ["team"]
        assert not free(b, "team/new", now)
        assert free(b, "other/1", now)
        waits.append(seconds)
        now += seconds
    assert waits[:3] == [0.5, 1, 2]
    assert max(waits) == SLOWEST_SECONDS
    b.start("team", "team/probe", now)
    assert not free(b, "team/new", now)
    b.taken("team", "team/probe")
    assert all(free(b, f"team/{number}", now) for number in range(SEVERAL + 8)), "all go on at once"
    assert b.closed(now) == []


def test_the_object_that_was_refused_is_not_the_next_probe_of_its_namespace() -> None:
    b = backoff()
    for number in range(SEVERAL):
        _, seconds = refuse(b, f"team/{number}", 0.0)
    last = f"team/{SEVERAL - 1}"
    assert free(b, "team/new", seconds)
    assert not free(b, last, seconds)
    assert free(b, last, seconds * (1 + LET_OTHERS_SHARE))


@pytest.mark.parametrize("status", [400, 409, 410, 422])
def test_an_answer_about_the_object_is_never_its_namespace(status: int) -> None:
    b = backoff()
    for number in range(3 * SEVERAL):
        b.start("team", f"team/{number}", 0.0)
        decision = b.decide(Call.STATUS, Reply(status, {}), "team", f"team/{number}", 0.0, confirmed=True)
        assert decision.concerns is Concerns.OBJECT
    assert free(b, "team/new", 0.0)


def test_an_object_that_is_taken_in_between_shows_that_the_namespace_is_not_the_trouble() -> None:
    b, now = backoff(), 0.0
    for number in range(20):
        assert refuse(b, f"team/{number}", now)[0] is Concerns.OBJECT
        b.start("team", "team/good", now)
        b.taken("team", "team/good")
        now += 0.1


def all_over(b: Backoff[str], answer: Answer, now: float = 0.0) -> Concerns:
    """Refuses several objects in several namespaces; who waits at the end."""
    concerns = Concerns.OBJECT
    for team in range(SEVERAL):
        for number in range(SEVERAL):
            if free(b, f"team-{team}/{number}", now):
                concerns, _ = refuse(b, f"team-{team}/{number}", now, answer)
    return concerns


@pytest.mark.parametrize("answer", [SILENT, LIMITED])
def test_namespaces_that_are_limited_or_silent_all_over_wait_together_and_one_that_was_not_may_ask(
    answer: Answer,
) -> None:
    b = backoff()
    assert all_over(b, answer) is Concerns.EVERYBODY
    assert not free(b, "team-0/new", 0.0)
    assert free(b, "elsewhere/1", 0.0)
    b.start("elsewhere", "elsewhere/1", 0.0)
    b.taken("elsewhere", "elsewhere/1")
    assert all_over(b, answer, 100.0) is Concerns.EVERYBODY


def test_servers_errors_all_over_stay_what_they_are_of_namespaces() -> None:
    b = backoff()
    assert all_over(b, BUSY) is Concerns.NAMESPACE


def test_a_server_that_cannot_be_reached_is_asked_by_nobody_for_a_while() -> None:
    b, now = backoff(), 0.0
    for wait in (0.2, 0.4, 0.8, 1.6, 3.2, SLOWEST_EVERYBODY_SECONDS, SLOWEST_EVERYBODY_SECONDS):
        assert refuse(b, "team/1", now, AWAY) == (Concerns.EVERYBODY, wait)
        assert not free(b, "other/1", now)
        assert b.everybody_seconds(now) == pytest.approx(wait)
        assert not b.goes_on("other", now)
        now += wait
    b.start("team", "team/1", now)
    b.taken("team", "team/1")
    assert refuse(b, "team/1", now, AWAY) == (Concerns.EVERYBODY, 0.2)


def test_what_is_under_way_in_a_namespace_is_bounded() -> None:
    b = backoff(parallel=4)
    for number in range(4):
        assert free(b, f"team/{number}", 0.0)
        b.start("team", f"team/{number}", 0.0)
    assert not free(b, "team/4", 0.0)
    assert free(b, "other/1", 0.0)
    assert b.room(0.0) == 0
    b.ended("team", "team/0")
    assert free(b, "team/4", 0.0)
    assert b.room(0.0) == 1


def test_a_namespace_that_leaves_several_requests_without_an_answer_is_left_out_until_it_answers() -> None:
    b = backoff(parallel=4)
    for number in range(4):
        b.start("team", f"team/{number}", 0.0)
    b.start("team", "team/3", math.inf)  # not asked for yet
    assert b.closed(SLOW_SECONDS) == []
    late = SLOW_SECONDS + 0.1
    assert b.closed(late) == ["team"]
    assert b.room(late) == 4, "there is room for all others"
    for number in range(3):
        b.taken("team", f"team/{number}")
    assert b.closed(late) == []
    assert b.room(late) == 3


def is_empty(b: Backoff[str]) -> bool:
    return not (b._namespaces or b._refused)


def test_nothing_is_remembered_of_what_went_well() -> None:
    b = backoff()
    for number in range(100):
        b.start(f"team-{number}", f"team-{number}/1", 0.0)
        b.taken(f"team-{number}", f"team-{number}/1")
    assert is_empty(b)


def test_nothing_is_remembered_of_what_was_refused_and_is_gone() -> None:
    b = backoff()
    for number in range(100):
        refuse(b, f"team-{number}/1", 0.0)
        b.forget(f"team-{number}", f"team-{number}/1")
    assert is_empty(b)


@pytest.mark.parametrize("end", ["refused", "postponed", "taken", "ended"])
def test_what_ends_after_its_object_is_gone_brings_nothing_back(end: str) -> None:
    b = backoff()
    refuse(b, "team/1", 0.0)
    b.start("team", "team/1", 9.0)
    b.forget("team", "team/1")
    b.start("team", "team/1", 9.1)  # it has got its slot meanwhile
    assert b.is_under_way("team", "team/1"), "it counts until it ends"
    if end == "refused":
        assert b.decide(Call.STATUS, BUSY, "team", "team/1", 10.0).act is Act.RETRY
    elif end == "postponed":
        b.postpone("team", "team/1", 10.0)
    else:
        (b.taken if end == "taken" else b.ended)("team", "team/1")
    b.ended("team", "team/1")
    assert is_empty(b)
    assert refuse(b, "team/1", 11.0) == (Concerns.OBJECT, 0.5), (
        "an object that is there again is one like others"
    )


def test_a_namespace_that_refuses_others_stays_held_where_some_of_its_objects_are_gone() -> None:
    b, now = backoff(), 0.0
    for number in range(8):
        _, seconds = refuse(b, f"team/{number}", now)
        now += seconds
    for number in range(7):
        b.forget("team", f"team/{number}")
    assert b._namespaces["team"].pauses
    b.start("team", "team/new", now)
    assert not free(b, "team/newer", now), "a single request at a time"
    b.ended("team", "team/new")
    b.forget("team", "team/7")
    assert is_empty(b)


TEAMS = st.integers(0, 2)
STEPS = st.one_of(
    st.tuples(st.just("start"), TEAMS, st.integers(0, 5)),
    st.tuples(
        st.just("end"),
        st.integers(0, 99),
        st.sampled_from([BUSY, SILENT, LIMITED, AWAY, Reply(200, {}), None, "later"]),
    ),
    st.tuples(st.just("delete"), TEAMS, st.integers(0, 5)),
    st.tuples(st.just("wait"), st.floats(0.0, 15.0), st.none()),
)


@given(st.lists(STEPS, max_size=60))
def test_it_remembers_what_is_under_way_or_refused_and_nothing_that_is_gone(
    steps: list[tuple[str, Any, Any]],
) -> None:
    b, now, under_way = backoff(), 0.0, list[str]()
    refused, gone_meanwhile = set[str](), set[str]()

    def end(name: str, answer: Any) -> None:
        namespace = name.partition("/")[0]
        if answer is None:
            b.ended(namespace, name)
        elif answer == "later":
            b.postpone(namespace, name, now)
        else:
            b.decide(Call.STATUS, answer, namespace, name, now)
        if name not in gone_meanwhile and answer is not None:
            (refused.discard if isinstance(answer, Reply) and answer.ok else refused.add)(name)
        gone_meanwhile.discard(name)

    for step, one, other in steps:
        if step == "wait":
            now += one
        elif step == "end":
            if under_way:
                end(under_way.pop(one % len(under_way)), other)
        elif step == "start":
            name = f"team-{one}/{other}"
            if name not in under_way and free(b, name, now):
                b.start(f"team-{one}", name, now)
                under_way.append(name)
        else:
            name = f"team-{one}/{other}"
            held = b._namespaces.get(f"team-{one}")
            before = held.pauses if held else 0
            b.forget(f"team-{one}", name)
            refused.discard(name)
            if name in under_way:
                gone_meanwhile.add(name)
            if any(left.startswith(f"team-{one}/") for left in refused):
                assert b._namespaces[f"team-{one}"].pauses == before, "it refuses others"
        teams = {name.partition("/")[0] for name in (*refused, *under_way)}
        assert b._namespaces.keys() == teams
        assert b._refused <= teams
        assert {key for known in b._namespaces.values() for key in known.delays} == refused
        assert all(known.refused <= known.delays.keys() for known in b._namespaces.values())
    for name in refused:
        b.forget(name.partition("/")[0], name)
    while under_way:
        b.forget(under_way[-1].partition("/")[0], under_way[-1])
        gone_meanwhile.add(under_way[-1])
        end(under_way.pop(), BUSY)
    assert is_empty(b)


def test_the_log_tells_of_refusals_more_and_more_rarely() -> None:
    assert [n for n in range(1, 200) if worth_a_line(n)] == [1, 2, 4, 8, 16, 32, 64, 128, 192]
