"""Refusals of the API server, call by call: each of a table in a namespace of its own, and one namespace beside
them that is refused nothing.

What is asserted of every cell: the namespace beside them is served as before, what is refused is asked for
rarely, says why in the API server's words, and is there soon after the refusal has ended, written once.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest

from agentjobs.controller.apiserver.resources import NAMESPACES
from agentjobs.controller.config import LeaseSettings
from agentjobs.controller.metrics.counters import API_REQUESTS
from api_proxy import ApiProxy, Fault, api_proxy
from clusters import Cluster
from operators import Bench, Objects, bench, eventually, serving
from schedules import HOUR, Schedules, TestClock, child_name

pytestmark = pytest.mark.timeout(600)

HEALED_SECONDS = 120.0
"""The product's bound is 30 s; a machine that is busy with other tests may take longer."""
START_SECONDS = 120.0
"""An operator that begins to watch 46 kinds and namespaces on a busy machine serves the first of them by then."""
REFUSALS = {
    "400": Fault(400),
    "401": Fault(401),
    "403": Fault(403),
    "404": Fault(404),
    "404-named": Fault(404, details={"name": "whatever", "kind": "agentjobs"}),
    "409": Fault(409),
    "410": Fault(410),
    "413": Fault(413),
    "422": Fault(422),
    "422-causes": Fault(422, details={"causes": [{"message": "a policy says no"}]}),
    "422-field": Fault(422, details={"causes": [{"field": "spec.message", "message": "no"}]}),
    "429": Fault(429),
    "429-1": Fault(429, retry_after=1),
    "429-3600": Fault(429, retry_after=3600),
    "500-large": Fault(500, message="etcdserver: request is too large"),
    "500-webhook": Fault(500, message='failed calling webhook "deny.example.com": connection refused'),
    "503": Fault(503),
    "silent": Fault(504, seconds=3600),
    "reset": Fault(None, reset=True),
    "garbage-200": Fault(200, garbage=b"<html>welcome to the hotel</html>"),
    "garbage-502": Fault(502, garbage=b"<html>bad gateway</html>"),
    "object-200": Fault(200, garbage=b'{"hello": "you"}'),
}
FINAL_CREATIONS = {"400", "413", "422-field", "500-large"}
"""Creations that are given up, until the next tick."""
INNOCENT_JOBS = 12
LOOKS_A_SECOND = 25


def words_of(name: str) -> str:
    """What the log must say of a refusal: the server's words, where it has any."""
    if name == "silent":
        return "no answer"
    if name in ("reset", "garbage-200", "object-200"):
        return ""
    fault = REFUSALS[name]
    return str(fault.status) if fault.garbage else f"{fault.status} {fault.message}"


@dataclass
class Table:
    """A bench in the namespace that is refused nothing, and a namespace for each refusal."""

    b: Bench
    proxy: ApiProxy
    clock: TestClock
    wrong: dict[str, list[str]] = field(default_factory=dict)
    refused_at: float = 0.0
    """When the refusals began, monotonic."""

    def namespace(self, refusal: str) -> str:
        return f"{self.b.objects.namespace}-{refusal}"

    def objects(self, refusal: str) -> Objects:
        return Objects(self.b.objects.api, self.namespace(refusal))

    def schedules(self, refusal: str) -> Schedules:
        return Schedules(self.b.objects.api, self.namespace(refusal))

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.b.objects.namespace, *(self.namespace(name) for name in REFUSALS))

    def refuse(self, method: str, path: str) -> None:
        """``path``: an expression for what follows the namespace."""
        pattern = re.compile(rf"/api[^/]*/.*/namespaces/{self.b.objects.namespace}-([^/]+)/{path}")

        def fault(asked: str, where: str) -> Fault | None:
            found = pattern.fullmatch(where)
            return REFUSALS[found[1]] if asked == method and found is not None else None

        self.proxy.fault, self.refused_at = fault, time.monotonic()

    def not_often(self, method: str, path: str, objects: int, names: Iterable[str]) -> None:
        """Notes the refusals about which the operator asked more than ten times an object and once a second besides,
        however long the test took on a busy machine. Where several namespaces get no answer or 429, everybody's waits
        are short and begin anew with each request that is taken; of one that is reset, a client may make two."""
        most = objects * (10 + time.monotonic() - self.refused_at)
        for name in names:
            if (n := self.count(method, name, path)) > most:
                self.note(name, f"asked {n} times, at most {most:.0f} were allowed")

    def lift(self) -> None:
        self.proxy.fault = lambda method, path: None

    def count(self, method: str, refusal: str, path: str) -> int:
        return self.proxy.count(method, rf"/api[^/]*/.*/namespaces/{self.namespace(refusal)}/{path}")

    def note(self, refusal: str, problem: str) -> None:
        self.wrong.setdefault(refusal, []).append(problem)

    async def each(
        self, look: Callable[[str], Awaitable[Any]], problem: str, names: Iterable[str], within: float
    ) -> None:
        """Notes the refusals of which ``look`` gives nothing within that time."""
        missing, deadline = set(names), time.monotonic() + within
        while missing and time.monotonic() < deadline:
            for name in sorted(missing):
                if await look(name):
                    missing.discard(name)
            await asyncio.sleep(0.1)
        for name in missing:
            self.note(name, problem)


@pytest.fixture
async def table(cluster: Cluster, dsn: str, clock: TestClock, tmp_path: Path) -> AsyncIterator[Table]:
    async with (
        api_proxy(cluster, tmp_path) as proxy,
        bench(cluster, dsn, clock=clock, kubeconfig=str(proxy.kubeconfig)) as b,
    ):
        made = Table(b, proxy, clock)
        for name in REFUSALS:
            body = {"metadata": {"name": made.namespace(name)}}
            reply = await b.objects.api.request("POST", NAMESPACES.collection(), resource="test", body=body)
            assert reply.ok, reply
        yield made
        for name in REFUSALS:
            await b.objects.api.request(
                "DELETE", NAMESPACES.object(None, made.namespace(name)), resource="test"
            )


async def served(objects: Objects, name: str) -> int:
    """One job: how often it was looked at, past the proxy, until it showed its end; about 25 times a second on a quiet machine.
    Looks are these tests' clock: it goes slower where the machine is busy, and stands still while the machine does."""
    await objects.create(name)
    looks = 0

    async def look() -> str:
        nonlocal looks
        looks += 1
        return str((await objects.status(name)).get("state"))

    await eventually(look, lambda state: state == "Complete", START_SECONDS)
    return looks


async def timed(objects: Objects, prefix: str) -> list[int]:
    return [await served(objects, f"{prefix}-{n}") for n in range(INNOCENT_JOBS)]


def as_before(beside: list[int], usual: list[int]) -> None:
    """The two are of one run. Who shared the pauses of the refused ones, which grow to 12 s, would miss these bounds."""
    now, then = sorted(beside), sorted(usual)
    assert median(now) < 2 * median(then) + LOOKS_A_SECOND, (beside, usual)
    assert now[-2] < 2 * then[-1] + 5 * LOOKS_A_SECOND, (beside, usual)


async def spoken(table: Table, caplog: pytest.LogCaptureFixture, names: Iterable[str] = REFUSALS) -> None:
    """Notes the refusals of which the log does not tell, with the namespace and the server's words."""

    async def told(name: str) -> bool:
        lines = [record.getMessage() for record in caplog.records]
        namespace, words = table.namespace(name), words_of(name)
        return any(re.search(rf"\b{namespace}(?![-\w])", line) and words in line for line in lines)

    await table.each(told, "no line of the log names it with the server's words", names, HEALED_SECONDS)


@asynccontextmanager
async def operator(table: Table) -> AsyncIterator[None]:
    async with (
        table.b.running(namespaces=table.namespaces, health_host="127.0.0.1", health_port=0),
        serving(await table.b.worker()),
    ):
        yield


async def test_refused_statuses_wait_for_themselves_alone(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with operator(table):
        usual = await timed(table.b.objects, "usual")
        table.refuse("PATCH", "agentjobs/[^/]+/status")
        for name in REFUSALS:
            for n in range(4):
                await table.objects(name).create(f"job-{n}")
        as_before(await timed(table.b.objects, "beside"), usual)
        await eventually(
            lambda: counted(lambda: sum(table.count("PATCH", name, ".*/status") > 1 for name in REFUSALS)),
            lambda n: n > len(REFUSALS) - 4,
        )
        await eventually(lambda: counted(lambda: silent_told(table, caplog)), bool)
        await spoken(table, caplog)
        table.not_often("PATCH", ".*/status", 4, REFUSALS)
        beside = table.proxy.count("PATCH", rf".*/namespaces/{table.b.objects.namespace}/.*/status")
        table.lift()

        async def all_shown(name: str) -> bool:
            states = [(await table.objects(name).status(f"job-{n}")).get("state") for n in range(4)]
            return states == ["Complete"] * 4

        await table.each(all_shown, "not shown after the refusal's end", REFUSALS, HEALED_SECONDS)
        await eventually(lambda: table.b.queue.outbox(10, 0), lambda rows: not rows)
        again = table.proxy.count("PATCH", rf".*/namespaces/{table.b.objects.namespace}/.*/status")
        assert again == beside, "what was written is not written again"
    assert table.wrong == {}


async def counted(count: Callable[[], int]) -> int:
    return count()


async def test_refused_events_hold_up_nothing_and_are_posted_afterwards(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    given_up = {"400", "413", "422-field", "500-large", "409"}  # 409: AlreadyExists
    caplog.set_level(logging.WARNING)
    async with operator(table):
        usual = await timed(table.b.objects, "usual")
        table.refuse("POST", "events")
        for name in REFUSALS:
            await table.objects(name).create("job")

        async def shown(name: str) -> bool:
            return (await table.objects(name).status("job")).get("state") == "Complete"

        as_before(await timed(table.b.objects, "beside"), usual)
        await table.each(shown, "its status waits for an Event", REFUSALS, HEALED_SECONDS)
        await eventually(lambda: counted(lambda: silent_told(table, caplog)), bool)
        await spoken(table, caplog, set(REFUSALS) - {"409"})
        written = table.proxy.count("PATCH", ".*/agentjobs/.*/status")
        table.not_often("POST", "events", 1, REFUSALS)
        table.lift()

        async def told(name: str) -> bool:
            return [e["reason"] for e in await table.objects(name).events("job")] == ["JobCompleted"]

        await table.each(told, "no Event after the refusal's end", set(REFUSALS) - given_up, HEALED_SECONDS)
        assert table.proxy.count("PATCH", ".*/agentjobs/.*/status") == written, "statuses are written once"
    assert table.wrong == {}


def silent_told(table: Table, caplog: pytest.LogCaptureFixture) -> int:
    """Lines that tell of requests without an answer: they come last."""
    lines = [record.getMessage() for record in caplog.records]
    return sum("no answer within" in line and table.namespace("silent") in line for line in lines)


async def test_refused_creations_of_children_are_told_once_per_tick_and_made_afterwards(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    quiet = Schedules(table.b.objects.api, table.b.objects.namespace)
    async with operator(table):
        for schedules in (quiet, *(table.schedules(name) for name in REFUSALS)):
            await schedules.create("hourly")
        for schedules in (quiet, *(table.schedules(name) for name in REFUSALS)):
            await schedules.accepted("hourly")
        table.refuse("POST", "agentjobs")
        first = child_name("hourly", table.clock.before(HOUR))
        await eventually(quiet.names, {first}.issubset)

        async def told(name: str) -> bool:
            found = (await table.schedules(name).events("hourly")).get("FailedCreate", [])
            return len(found) == 1 and words_of(name) in found[0]

        await table.each(told, "no FailedCreate with the server's words", REFUSALS, HEALED_SECONDS)
        await spoken(table, caplog)
        table.not_often("POST", "agentjobs", 1, REFUSALS)
        for name in REFUSALS:
            if len((await table.schedules(name).events("hourly")).get("FailedCreate", [])) > 1:
                table.note(name, "told more than once")
        table.lift()
        later = set(REFUSALS) - FINAL_CREATIONS

        async def made(name: str) -> bool:
            return first in await table.schedules(name).names()

        await table.each(made, "not created after the refusal's end", later, HEALED_SECONDS)
        second = child_name("hourly", table.clock.before(HOUR))

        async def next_made(name: str) -> bool:
            return second in await table.schedules(name).names()

        await table.each(next_made, "the next tick is not created", REFUSALS, HEALED_SECONDS)
        for name in FINAL_CREATIONS:
            if await made(name):
                table.note(name, "what was given up is created all the same")
    assert table.wrong == {}


@pytest.mark.parametrize("method", ["DELETE", "GET"])
async def test_refused_deletes_wait_for_themselves_alone(
    table: Table, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    caplog.set_level(logging.WARNING)
    # a GET that says "not found", and means it, is believed: there is nothing to delete then
    names = set(REFUSALS) - ({"404-named"} if method == "GET" else set())
    async with operator(table):
        table.refuse(method, "agentjobs/[^/]+")
        for name in names:
            for n in range(4):
                await table.objects(name).create(f"job-{n}", {"ttlSecondsAfterFinished": 0})
        quiet = table.b.objects
        for n in range(INNOCENT_JOBS):
            await quiet.create(f"beside-{n}", {"ttlSecondsAfterFinished": 0})
            await eventually(partial(gone, quiet, f"beside-{n}"))
        await eventually(lambda: counted(lambda: silent_told(table, caplog)), bool)
        await spoken(table, caplog, names)
        table.not_often(method, "agentjobs/[^/]+", 4, names)
        for name in names:
            if await gone(table.objects(name), "job-0"):
                table.note(name, "deleted all the same")
        table.lift()

        async def all_gone(name: str) -> bool:
            return all([await gone(table.objects(name), f"job-{n}") for n in range(4)])

        await table.each(all_gone, "not deleted after the refusal's end", names, HEALED_SECONDS)
    assert table.wrong == {}


async def gone(objects: Objects, name: str) -> bool:
    return not await objects.exists(name)


async def ready(table: Table) -> tuple[int, dict[str, Any]]:
    assert table.b.operator is not None
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{table.b.operator.port}/readyz") as reply,
    ):
        return reply.status, await reply.json()


@pytest.mark.parametrize(("method", "kinds"), [("GET", "agentjobs"), ("WATCH", ".*jobs")])
async def test_refused_listings_and_watches_stop_no_other_and_are_reported(
    table: Table, caplog: pytest.LogCaptureFixture, method: str, kinds: str
) -> None:
    caplog.set_level(logging.WARNING)
    table.refuse(method, kinds)
    async with operator(table):
        usual = await timed(table.b.objects, "usual")
        assert sorted(usual)[-2] < 30 * LOOKS_A_SECOND, usual  # the first of them waits for the watch
        for name in REFUSALS:
            await table.objects(name).create("job")

        async def reported(name: str) -> bool:
            status, body = await ready(table)
            said = body.get("degraded", {}).get(f"agentjobs in namespace {table.namespace(name)}", "")
            return status == 200 and bool(said) and words_of(name) in said

        await table.each(reported, "not told by /readyz", REFUSALS, HEALED_SECONDS)
        await spoken(table, caplog)
        table.not_often(method, "agentjobs", 2, REFUSALS)
        for name in REFUSALS:
            # where the watch alone is refused, a sweep brings the object
            if method == "GET" and (await table.objects(name).status("job")).get("state"):
                table.note(name, "served all the same: the test refuses the wrong thing")
        table.lift()

        async def complete(name: str) -> bool:
            return (await table.objects(name).status("job")).get("state") == "Complete"

        await table.each(complete, "not served after the refusal's end", REFUSALS, HEALED_SECONDS)

        async def whole() -> tuple[int, dict[str, Any]]:
            return await ready(table)

        await eventually(whole, lambda found: found[0] == 200 and "degraded" not in found[1])
    assert table.wrong == {}


async def test_a_refused_lease_ends_nothing_and_is_taken_afterwards(table: Table) -> None:
    b, proxy = table.b, table.proxy
    lease = LeaseSettings(b.objects.namespace, "op", 4, 3, 1)
    asked = proxy.asked.total
    async with b.running(lease=lease) as running:
        leadership = running.leadership
        for fault in REFUSALS.values():
            proxy.fault = lambda method, path, fault=fault: fault if "/leases" in path else None  # type: ignore[misc]
            before = asked()
            await eventually(lambda: counted(asked), lambda n, before=before: n > before + 1)  # type: ignore[misc]
            leadership = running.leadership
            assert leadership is None or not leadership.leading
        table.lift()

        async def leading() -> bool:
            return running.leadership is not None and running.leadership.leading

        await eventually(leading, within=HEALED_SECONDS)


# scopes other than a namespace ---------------------------------------------------------------------------


THREE = ["503", "429-3600", "silent"]


@pytest.mark.parametrize("name", THREE)
async def test_one_refused_object_waits_alone_in_its_namespace(table: Table, name: str) -> None:
    b, quiet = table.b, table.b.objects
    async with b.running(), serving(await b.worker()):
        usual = await timed(quiet, "usual")
        table.proxy.fault = lambda method, path: (
            REFUSALS[name] if method == "PATCH" and path.endswith("/refused/status") else None
        )
        started = time.monotonic()
        await quiet.create("refused")
        await eventually(lambda: counted(lambda: table.proxy.count("PATCH", ".*/refused/status")), bool)
        as_before(await timed(quiet, "beside"), usual)
        assert table.proxy.count("PATCH", ".*/refused/status") < 10 + (time.monotonic() - started) / 2
        table.lift()
        await quiet.until("refused", "Complete", HEALED_SECONDS)


@pytest.mark.parametrize("name", THREE)
async def test_one_refused_kind_holds_up_no_other(table: Table, name: str, clock: TestClock) -> None:
    b, quiet = table.b, table.b.objects
    schedules = Schedules(quiet.api, quiet.namespace)
    async with b.running(), serving(await b.worker()):
        usual = await timed(quiet, "usual")
        table.proxy.fault = lambda method, path: REFUSALS[name] if "/scheduledagentjobs" in path else None
        for n in range(5):
            await schedules.create(f"hourly-{n}")
        as_before(await timed(quiet, "beside"), usual)
        table.lift()
        for n in range(5):
            await schedules.until(
                f"hourly-{n}", lambda status: bool(status.get("conditions")), HEALED_SECONDS
            )


@pytest.mark.parametrize("name", THREE)
async def test_where_everything_is_refused_everybody_waits_and_goes_on_afterwards(
    table: Table, name: str
) -> None:
    b = table.b
    async with operator(table):
        assert len(await timed(b.objects, "usual")) == INNOCENT_JOBS
        table.proxy.fault = lambda method, path: REFUSALS[name] if method != "WATCH" else None
        places = [b.objects, *(table.objects(other) for other in REFUSALS)]
        for place in places:
            for n in range(4):
                await place.create(f"all-{n}")
        before, started = table.proxy.count("PATCH", ".*"), time.monotonic()
        await eventually(lambda: counted(lambda: table.proxy.count("PATCH", ".*") - before), lambda n: n > 4)
        began = time.monotonic()
        await eventually(lambda: counted(lambda: int(time.monotonic() - began > 6)), bool)
        asked, seconds = table.proxy.count("PATCH", ".*") - before, time.monotonic() - started
        assert asked < 2 * len(places) * seconds, (
            f"{asked} requests for {4 * len(places)} jobs in {seconds:.0f} s"
        )
        table.lift()
        for place in places:
            for n in range(4):
                await place.until(f"all-{n}", "Complete", HEALED_SECONDS)


async def test_a_kind_whose_crd_is_missing_stops_no_other(table: Table) -> None:
    b = table.b
    missing = Fault(404, message="the server could not find the requested resource")
    group = "/apis/agentjobs.dev/v1alpha1"
    table.proxy.fault = lambda method, path: (
        missing if path.startswith(group) and "scheduledagentjobs" in path else None
    )
    async with operator(table):
        await served(b.objects, "job")
        kind = f"scheduledagentjobs in namespace {b.objects.namespace}"
        (
            _,
            body,
        ) = await eventually(  # ready once all others are listed, of which each namespace has its own moment
            lambda: ready(table), lambda found: found[0] == 200 and kind in found[1].get("degraded", {})
        )
        assert "the CRD scheduledagentjobs.agentjobs.dev is not installed" in body["degraded"][kind]
        assert b.meter.total(API_REQUESTS, resource="scheduledagentjobs", result="404") > 0
        table.lift()
        schedules = Schedules(b.objects.api, b.objects.namespace)
        await schedules.create("hourly")
        await schedules.until("hourly", lambda found: bool(found.get("conditions")), HEALED_SECONDS)
