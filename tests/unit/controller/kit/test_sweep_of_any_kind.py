"""The sweep's mechanism, with an adapter of a kind that does not exist: nothing is concluded from a guess."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.listing import Listed
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.kit.sweep import Suspects, Sweep, vanished_rows
from agentjobs.controller.metrics.counters import SWEEP_FOUND, Counters
from controller_builders import until

THINGS = Resource("things", "Thing")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


@dataclass(frozen=True)
class ThingRow:
    uid: UUID
    name: str
    namespace: str = "team"
    saved_at: datetime = LONG_AGO


@dataclass
class Things:
    """An adapter over plain lists."""

    stored: list[ThingRow]
    taken: set[UUID] = field(default_factory=set)
    released: list[UUID] = field(default_factory=list)
    kept: set[UUID] = field(default_factory=set)
    """Rows of which it does not believe that the object is gone."""

    async def rows(self) -> list[ThingRow]:
        return self.stored

    def suspects(
        self, rows: list[ThingRow], listed: Mapping[UUID, Listed], list_started_at: datetime
    ) -> Suspects[ThingRow]:
        vanished = vanished_rows(
            rows,
            listed,
            known_since=lambda row: row.saved_at,
            list_started_at=list_started_at,
            namespaces=frozenset(),
        )
        known = {row.uid for row in rows}
        return Suspects(vanished, tuple(found for uid, found in listed.items() if uid not in known))

    def has(self, uid: str, generation: int) -> bool:
        return UUID(uid) in self.taken

    async def release(self, gone: list[ThingRow], rows: list[ThingRow]) -> list[ThingRow]:
        let_go = [row for row in gone if row.uid not in self.kept]
        self.released += [row.uid for row in let_go]
        return let_go


@dataclass
class StubApi:
    """Lists and gets these objects; ``get`` may answer otherwise."""

    objects: dict[str, UUID]
    get: Callable[[str], Reply | None] = lambda name: None
    list_status: int = 200
    meter: Counters = field(default_factory=Counters)

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        if path == THINGS.collection():
            items = [thing(name) for name in self.objects if name != "unlisted"]
            return Reply(self.list_status, {"metadata": {}, "items": items})
        name = path.rpartition("/")[2]
        answer = self.get(name)
        if answer is not None:
            return answer
        if name not in self.objects:
            return Reply(404, {"details": {"name": name}})
        return Reply(200, thing(name, self.objects[name]))


def thing(name: str, uid: UUID | None = None) -> dict[str, Any]:
    uids = {"a": A, "b": B, "c": C}
    return {"metadata": {"name": name, "namespace": "team", "uid": str(uid or uids[name]), "generation": 1}}


def sweep_of(things: Things, api: StubApi, seen: list[WatchEvent]) -> Sweep[ThingRow]:
    return Sweep(things, cast(ApiServer, api), THINGS, seen.extend)


async def test_it_hands_on_what_is_unknown_and_releases_what_is_gone() -> None:
    things, seen = Things([ThingRow(A, "a"), ThingRow(B, "b")]), list[WatchEvent]()
    api = StubApi({"a": A, "c": C})
    await sweep_of(things, api, seen).sweep()
    assert things.released == [B]
    handed_on = [(event.object["metadata"]["name"], event.deleted, event.kind) for event in seen]
    assert handed_on == [("c", False, THINGS), ("b", True, THINGS)]
    assert api.meter.total(SWEEP_FOUND, kind="vanished") == 1
    assert api.meter.total(SWEEP_FOUND, kind="unknown") == 1


async def test_a_delete_that_was_missed_is_told_as_the_watch_would_have_told_it_unless_it_is_not_believed() -> (
    None
):
    things, seen = Things([ThingRow(A, "a"), ThingRow(B, "b")], kept={B}), list[WatchEvent]()
    await sweep_of(things, StubApi({}), seen).sweep()
    gone = WatchEvent(
        {"metadata": {"uid": str(A), "namespace": "team", "name": "a"}},
        deleted=True,
        kind=THINGS,
        released=True,
    )
    assert seen == [gone]


async def test_what_was_taken_in_meanwhile_is_not_read_again() -> None:
    things, seen = Things([], taken={A}), list[WatchEvent]()
    await sweep_of(things, StubApi({"a": A}), seen).sweep()
    assert seen == []


@pytest.mark.parametrize(
    ("why", "answer", "released"),
    [
        ("it is not there", Reply(404, {"details": {"name": "b"}}), [B]),
        ("another one has its name", Reply(200, thing("b", C)), [B]),
        ("it is there, and the list was wrong", Reply(200, thing("b", B)), []),
        ("its kind is not there", Reply(404, {}), []),
        ("the API server is busy", Reply(503, {}), []),
        ("RBAC does not allow it", Reply(403, {}), []),
    ],
)
async def test_a_row_is_released_only_where_a_get_confirms_it(
    why: str, answer: Reply, released: list[UUID]
) -> None:
    things = Things([ThingRow(B, "b")])
    await sweep_of(things, StubApi({}, get=lambda name: answer), []).sweep()
    assert things.released == released, why


async def test_a_row_that_is_younger_than_the_list_is_left_alone() -> None:
    things = Things([ThingRow(B, "b", saved_at=datetime.now(UTC) + timedelta(seconds=1))])
    await sweep_of(things, StubApi({}), []).sweep()
    assert things.released == []


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
async def test_a_list_that_fails_concludes_nothing(status: int) -> None:
    things = Things([ThingRow(B, "b")])
    found = await sweep_of(things, StubApi({}, list_status=status), []).sweep()
    assert found == Suspects()
    assert things.released == []


@dataclass
class NamespacedApi(StubApi):
    """Lists nothing in the namespace open, and refuses to list the others."""

    listed: list[str] = field(default_factory=list)
    forbidden: bool = True

    async def request(self, verb: str, path: str, **_: Any) -> Reply:
        if path.endswith("/things"):
            self.listed.append(path.split("/")[-2])
            if self.forbidden and "/namespaces/open/" not in path:
                return Reply(403, {"message": "not yours"})
            return Reply(200, {"metadata": {}, "items": []})
        return Reply(404, {"details": {"name": path.rpartition("/")[2]}})


async def test_a_namespace_that_cannot_be_listed_is_left_out_and_the_others_are_swept() -> None:
    things = Things([ThingRow(A, "a", "open"), ThingRow(B, "b", "closed"), ThingRow(C, "c", "shut")])
    api = NamespacedApi({})
    namespaces = frozenset({"open", "closed", "shut"})
    seen: list[WatchEvent] = []
    sweep = Sweep(things, cast(ApiServer, api), THINGS, seen.extend, namespaces)
    await sweep.sweep()
    assert things.released == [A]
    assert set(api.listed) == namespaces


async def test_a_get_that_is_refused_leaves_that_row_alone_and_no_other() -> None:
    things = Things([ThingRow(A, "a"), ThingRow(B, "b")])
    api = StubApi({}, get=lambda name: Reply(503, {}) if name == "a" else None)
    await sweep_of(things, api, []).sweep()
    assert things.released == [B]


async def test_a_namespace_that_was_refused_is_swept_again_on_its_own_soon_after_the_refusals_end() -> None:
    things = Things([ThingRow(A, "a", "open"), ThingRow(B, "b", "closed")])
    api, seen = NamespacedApi({}), list[WatchEvent]()
    sweep = Sweep(
        things, cast(ApiServer, api), THINGS, seen.extend, frozenset({"open", "closed"}), first_seconds=0.01
    )
    task = asyncio.create_task(sweep.run())
    try:
        await until(lambda: api.listed.count("closed") >= 3)
        assert api.listed.count("open") == 1
        assert things.released == [A]
        api.forbidden = False
        await until(lambda: things.released == [A, B])
        assert api.listed.count("open") == 1
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_sweep_waits_while_the_watch_brings_what_exists_and_not_for_ever() -> None:
    things, api, seen = Things([]), StubApi({"a": A}), list[WatchEvent]()
    listing, asked = True, 0

    def is_listing() -> bool:
        nonlocal asked
        asked += 1
        return listing

    sweep = Sweep(things, cast(ApiServer, api), THINGS, seen.extend, first_seconds=0.01, listing=is_listing)
    task = asyncio.create_task(sweep.run())
    try:
        await until(lambda: asked > 2)
        assert seen == []
        listing = False
        await until(lambda: len(seen) == 1)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    stuck = Sweep(
        things, cast(ApiServer, api), THINGS, seen.extend, interval_seconds=0.05, first_seconds=0.01,
        listing=lambda: True,
    )  # fmt: skip
    task = asyncio.create_task(stuck.run())
    try:
        await until(lambda: len(seen) > 1)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
