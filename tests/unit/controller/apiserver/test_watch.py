"""When the watches are ready, and what they tell of those that are not up."""

from __future__ import annotations

import asyncio
from typing import cast

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import SLOWEST_SECONDS, Call
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.watch import MOST_WAITING, ObjectWatch
from agentjobs.controller.apiserver.watch_event import WatchEvent
from processes import until


def watch(*namespaces: str) -> ObjectWatch:
    return ObjectWatch(
        cast(ApiServer, None), (AGENT_JOBS, SCHEDULED_AGENT_JOBS), namespaces, lambda batch: None
    )


def test_each_kind_and_namespace_is_a_watch_of_its_own() -> None:
    assert [scope.name for scope in watch().scopes] == [
        "agentjobs in all namespaces",
        "scheduledagentjobs in all namespaces",
    ]
    assert len(watch("b", "a", "b").scopes) == 4


def test_it_is_ready_once_something_is_up_and_all_else_is_known_to_be_refused() -> None:
    made = watch("a", "b")
    first, *others = made.scopes
    assert not made.ready
    first.answered(Call.LIST)
    assert not first.listed, "listing goes on"
    first.answered(Call.WATCH)
    assert first.listed
    assert not made.ready, "the others may be up soon"
    for scope in others:
        scope.refused(Call.LIST, ApiUnavailable("403 not yours", status=403))
    assert made.ready
    assert made.problems == {scope.name: "403 not yours" for scope in others}
    first.refused(Call.WATCH, ApiUnavailable("503 webhook", status=503))
    assert not made.ready, "nothing is up"


def test_a_watch_that_is_refused_waits_longer_each_time_until_it_is_up() -> None:
    scope = watch().scopes[0]
    waits = [scope.refused(Call.LIST, ApiUnavailable("403", 3600.0, status=403)) for _ in range(3)]
    assert all(0.8 * SLOWEST_SECONDS <= wait <= SLOWEST_SECONDS for wait in waits), (
        "what it is asked for, bounded"
    )
    scope.answered(Call.WATCH)
    waits = [scope.refused(Call.LIST, ApiUnavailable("403", status=403)) for _ in range(10)]
    assert waits[0] <= 0.5
    assert waits[3] > 2 * waits[0]
    assert max(waits) <= SLOWEST_SECONDS


async def test_there_is_room_again_once_few_enough_of_its_kind_wait_to_be_stored() -> None:
    waiting = {AGENT_JOBS: MOST_WAITING, SCHEDULED_AGENT_JOBS: 0}
    made = watch()
    made.waiting = waiting.__getitem__
    event = WatchEvent({"metadata": {}}, deleted=False)
    made.enqueue(event, asyncio.get_running_loop())
    await until(lambda: not made.has_room(AGENT_JOBS), "no room")
    assert made.has_room(SCHEDULED_AGENT_JOBS), "the other kind's watch does not wait"
    waiting[AGENT_JOBS] -= 1
    await until(lambda: made.has_room(AGENT_JOBS), "room")


def test_a_kind_is_being_listed_until_each_watch_of_it_is_up_or_refused() -> None:
    made = watch("a", "b")
    first, second = (scope for scope in made.scopes if scope.kind == AGENT_JOBS)
    assert made.listing(AGENT_JOBS)
    first.answered(Call.WATCH)
    assert made.listing(AGENT_JOBS)
    second.refused(Call.LIST, ApiUnavailable("403 not yours", status=403))
    assert not made.listing(AGENT_JOBS)
    assert made.listing(SCHEDULED_AGENT_JOBS)
