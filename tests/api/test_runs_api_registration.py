"""The operator registers the runs API with a real API server, and withdraws it before the cluster notices much."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentjobs.controller.apiserver.resources import API_SERVICES, LEASES, NAMESPACES, SECRETS, SERVICES
from agentjobs.controller.config import LeaseSettings
from agentjobs.controller.metrics.counters import API_REQUESTS, RUNS_API_WITHDRAWALS
from agentjobs.controller.runs_api.certificates import Pair, make, now
from agentjobs.controller.runs_api.objects import NAME, REGISTRATION
from agentjobs.controller.runs_api.settings import CertificateTimes, RegistrationTimes, RunsApiSettings
from agentjobs.local.assets import Assets
from agentjobs.local.process import free_port
from clusters import Cluster, own_cluster
from operators import Bench, bench, eventually, operator_process
from rbac import RUNS_API, documented, role
from served_apis import MERGE_PATCH, SECRET, SERVICE, Place, SmallServer, firewall

pytestmark = pytest.mark.timeout(420)
QUICK = RegistrationTimes(unavailable=4.0, seen=1.0, first_retry=3.0, longest_retry=60.0, calm=600.0)
PATIENT = replace(QUICK, unavailable=60.0)
"""Where no withdrawal is meant, a machine that stands still for some seconds causes none."""


@pytest.fixture(scope="module")
def aggregating(own_assets: Assets) -> Iterator[Cluster]:
    """One control plane for this module: the APIService is the whole cluster's."""
    with own_cluster(own_assets) as found:
        yield found


@pytest.fixture
async def b(aggregating: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(aggregating, dsn) as made:
        yield made


@pytest.fixture
async def place(b: Bench) -> AsyncIterator[Place]:
    made = Place(b.objects.api, b.objects.namespace, free_port())
    await made.make()
    yield made
    await made.delete(API_SERVICES, None, NAME)
    await made.gone(API_SERVICES, NAME, 30)


def settings(place: Place, **changes: Any) -> RunsApiSettings:
    quick = RunsApiSettings(
        place.namespace, SERVICE, SECRET, place.port,
        look_seconds=0.3, namespace_seconds=0.2, secret_seconds=0.3, times=PATIENT,
    )  # fmt: skip
    return replace(quick, **changes)


async def degraded(b: Bench) -> str:
    assert b.operator is not None
    return b.operator._degraded().get("runs API", "")


async def test_a_killed_server_is_withdrawn_and_namespaces_can_be_deleted_within_two_minutes(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    """At the product's own numbers."""
    product = RunsApiSettings(place.namespace, SERVICE, SECRET, place.port, secret_seconds=1.0)
    server = SmallServer(place, tmp_path)
    async with b.running(runs_api=product):
        async with server.serving():
            assert await place.api_service() is None, "no endpoint is ready"
            await place.ready()
            await place.until(True, 90)
            await eventually(place.served)
            undisturbed = await place.namespace_deleted(120)
            await eventually(lambda: degraded(b), lambda text: text == "")
        killed_at = time.monotonic()
        stuck = asyncio.create_task(place.namespace_deleted(300))
        await place.until(False, 180)
        withdrawn = time.monotonic() - killed_at
        await stuck
        deletable = time.monotonic() - killed_at
        (why,) = await eventually(lambda: place.events("RunsApiWithdrawn"))
        counted = re.search(r"has not reached it for (\d+) s", why)
        assert counted is not None, why
        assert product.times.unavailable <= int(counted[1]) < 1.5 * product.times.unavailable
        assert "tried again at" in why
        await eventually(lambda: degraded(b), lambda text: "withdrawn" in text)
        assert b.meter.total(RUNS_API_WITHDRAWALS, reason="unreachable") == 1
    print(  # noqa: T201
        f"\na namespace goes in {undisturbed:.1f} s with the API; withdrawn {withdrawn:.1f} s after the kill, "
        f"a namespace deleted in the outage is gone after {deletable:.1f} s"
    )
    assert withdrawn < 90
    assert deletable < 120


async def test_behind_a_firewall_it_is_tried_withdrawn_told_and_tried_again_ever_later(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    with firewall(place.port):
        async with b.running(runs_api=settings(place, times=QUICK)):
            for _ in range(2):
                await place.until(True, 90)
                await place.until(False, 90)
            withdrawn = await eventually(
                lambda: place.events("RunsApiWithdrawn"), lambda found: len(found) == 2
            )
            assert all("firewall" in why for why in withdrawn)
            await place.namespace_deleted(120)

        async def remembered() -> int:
            meta = (await place.ask("GET", SERVICES.object(place.namespace, SERVICE))).body["metadata"]
            return int(json.loads(meta["annotations"][REGISTRATION])["withdrawals"])

        assert await remembered() == 2, "for the operator that leads next"
    # the firewall opens, and the next operator does not begin anew
    async with b.running(runs_api=settings(place, times=QUICK)), server.serving():
        assert "tried again" in await eventually(lambda: degraded(b))
        await place.until(True, 90)
        await eventually(place.served)
        assert await remembered() == 2


async def test_an_operator_that_ends_or_is_killed_changes_nothing_and_the_line_of_the_docs_mends_the_rest(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    told = {
        "AGENTJOBS_RUNS_API_SERVICE": f"{place.namespace}/{SERVICE}",
        "AGENTJOBS_RUNS_API_PORT": str(place.port),
    }
    lease = LEASES.object(b.objects.namespace, LeaseSettings().name)

    async def leads() -> bool:
        spec = (await place.ask("GET", lease)).body.get("spec") or {}
        return bool(spec.get("holderIdentity"))

    async with operator_process(b, **told) as process, server.serving():
        await place.until(True, 90)
        await eventually(place.served)
        made = await place.api_service()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        async with operator_process(b, **told) as second:
            await eventually(leads)
            await asyncio.sleep(3)  # it leads and is killed: whatever it did is done
            second.kill()
            await second.wait()
        after = await place.api_service()
        assert made is not None
        assert after is not None
        assert made["metadata"]["uid"] == after["metadata"]["uid"]
        assert await place.served()
    # operator and server are gone: nobody withdraws it
    began = time.monotonic()

    async def unavailable() -> bool:
        body = await place.api_service()
        assert body is not None
        (condition,) = body["status"]["conditions"]
        return bool(condition["status"] == "False")

    await eventually(unavailable)
    noticed = time.monotonic() - began

    async def hung() -> asyncio.Task[float] | None:
        """A namespace's deletion that goes on after ten seconds. None: it has ended, for discovery knew of no outage yet."""
        deletion = asyncio.create_task(place.namespace_deleted(170))
        done, _ = await asyncio.wait({deletion}, timeout=10)
        return None if done else deletion

    stuck = await eventually(hung, within=90)
    assert stuck is not None
    await asyncio.to_thread(aggregating.kubectl, "delete", "apiservice", NAME)
    deleted_at = time.monotonic()
    await stuck
    print(  # noqa: T201
        f"\noperator and server killed: not available after {noticed:.1f} s, a namespace hangs; gone "
        f"{time.monotonic() - deleted_at:.1f} s after `kubectl delete apiservice`"
    )


async def test_the_registration_goes_with_its_namespace_while_an_operator_leads(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place, look_seconds=5.0)), server.serving():
        await place.until(True, 90)
        await eventually(place.served)
        await place.delete(NAMESPACES, None, place.namespace)
        withdrawn = await place.until(False, 90)
        await place.gone(NAMESPACES, place.namespace, 120)
        await place.namespace_deleted(120)
        assert b.meter.total(RUNS_API_WITHDRAWALS, reason="leaving") == 1
        await asyncio.sleep(1)
        assert await place.api_service() is None, "it is not registered again"
    print(f"\nwithdrawn {withdrawn:.1f} s after the delete of its namespace")  # noqa: T201


async def test_an_operator_that_is_ended_with_its_namespace_withdraws_on_its_way_out(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    slow = settings(place, look_seconds=3600.0, namespace_seconds=3600.0)
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
    async with b.running(runs_api=slow):  # it looks once, and then for an hour at nothing
        assert b.operator is not None
        await eventually(lambda: degraded(b))
        await place.delete(NAMESPACES, None, place.namespace)
        meter = b.meter
        assert meter.total(RUNS_API_WITHDRAWALS, reason="leaving") == 0
    assert meter.total(RUNS_API_WITHDRAWALS, reason="leaving") == 1, "with its end, and by itself"
    await place.until(False, 90)


async def test_without_any_operator_its_namespace_hangs_or_takes_it_along_and_the_line_of_the_docs_ends_that(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
        await eventually(place.served)
    async with server.serving():  # it came to its end, and has changed nothing
        await eventually(place.served)
        await place.delete(NAMESPACES, None, place.namespace)
        assert await place.api_service() is not None

        async def namespace_there() -> bool:
            return (await place.ask("GET", NAMESPACES.object(None, place.namespace))).ok

        for _ in range(100):
            if not (hangs := await namespace_there()):
                break
            await asyncio.sleep(0.2)
        if hangs:  # its Service is gone, and so discovery fails for its own deletion too
            await asyncio.to_thread(aggregating.kubectl, "delete", "apiservice", NAME)
            await place.gone(NAMESPACES, place.namespace, 120)
        # where the namespace was faster than its Service, the garbage collector follows
        await place.until(False, 90)
    how = "hung until `kubectl delete apiservice`" if hangs else "took the APIService along"
    print(f"\nno operator: the namespace {how}")  # noqa: T201


async def test_another_installations_registration_is_left_alone_and_told(b: Bench, place: Place) -> None:
    body = {
        "metadata": {"name": NAME, "annotations": {"agentjobs.dev/installation": "11111111-1111-1111-1111-111111111111"}},
        "spec": {
            "group": "runs.agentjobs.dev", "version": "v1alpha1", "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": "elsewhere", "name": "their-web", "port": 443}, "insecureSkipTLSVerify": True,
        },
    }  # fmt: skip
    made = await place.ask("POST", API_SERVICES.collection(), body)
    assert made.ok, made
    await place.ready()
    async with b.running(runs_api=settings(place, times=QUICK)):
        (told,) = await eventually(lambda: place.events("RunsApiManagedElsewhere"))
        assert "11111111" in told
        await eventually(lambda: degraded(b), lambda text: "elsewhere" in text)
        await asyncio.sleep(QUICK.unavailable + 2)  # longer than any of ours would stay unreachable
        found = await place.api_service()
    assert found is not None
    assert found["metadata"]["uid"] == made.body["metadata"]["uid"]
    assert found["spec"] == made.body["spec"]


async def test_the_registration_of_the_database_that_was_here_before_is_taken_over(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
        before = {
            "metadata": {
                "annotations": {"agentjobs.dev/installation": "22222222-2222-2222-2222-222222222222"}
            }
        }
        await place.ask("PATCH", API_SERVICES.object(None, NAME), before, MERGE_PATCH)

        async def ours() -> bool:
            found = await place.api_service()
            assert found is not None
            return "22222222" not in str(found["metadata"]["annotations"])

        await eventually(ours)
        await eventually(place.served)


async def test_no_request_fails_while_certificates_are_rotated_twice_damaged_and_deleted(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    # a third of the life, and the time to settle, are what a machine may stand still for
    times = CertificateTimes(life=timedelta(seconds=45), settle_seconds=4.0)
    async with b.running(runs_api=settings(place, certificates=times)), server.serving(kubelet_seconds=3.0):
        await place.until(True, 90)
        await eventually(place.served)
        answers: list[int] = []
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                answers.append(
                    (await place.ask("GET", f"/apis/runs.agentjobs.dev/v1alpha1?n={len(answers)}")).status
                )
                await asyncio.sleep(0.02)

        asking = asyncio.create_task(ask())
        shown, asked = [server._shown], [0]
        for _ in range(2):
            await eventually(_is_another(server, shown[-1]))
            shown.append(server._shown)
            asked.append(len(answers))
        path = SECRETS.object(place.namespace, SECRET)
        await place.ask("PATCH", path, {"data": {"tls.crt": "Z2FyYmFnZQ=="}}, MERGE_PATCH)
        await eventually(_is_another(server, shown[-1]))
        shown.append(server._shown)
        await _told(place, "cannot be read")
        asked.append(len(answers))
        await place.delete(SECRETS, place.namespace, SECRET)
        await eventually(_is_another(server, shown[-1]))
        await _told(place, "there was no Secret")
        asked.append(len(answers))
        await eventually(_answered(answers, than=asked[-1]))
        stop.set()
        await asking
        told = await place.events("RunsApiCertificate")
    print(  # noqa: T201
        f"\n{len(answers)} requests during two rotations, a damaged and a deleted Secret; certificates: {len(told)} Events"
    )
    assert set(answers) == {200}
    assert len(answers) > 300
    assert all(before < after for before, after in pairwise(asked)), (
        f"requests in each of the phases: {asked}"
    )
    assert any("two thirds" in text for text in told)


def _answered(answers: Sequence[int], than: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return len(answers) > than

    return look


async def _told(place: Place, words: str) -> None:
    """Waits until an Event says these words: a rotation that was due may come between."""
    await eventually(
        lambda: place.events("RunsApiCertificate"),
        lambda told: any(words in text for text in told),
    )


def _is_another(server: SmallServer, than: bytes) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return server._shown != than

    return look


def _secret(pair: Pair) -> dict[str, str]:
    """As cert-manager fills it: the certificate, its key, and the authority that issued it."""
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.authority}
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


async def test_a_secret_that_somebody_else_keeps_is_trusted_as_it_is_and_renewed_and_never_written(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    """With no right to write one, as the chart gives it for cert-manager and for certificates of your own."""
    user = f"operator-{place.namespace}"
    kubeconfig = aggregating.require_own().kubeconfig_for(user)
    read_only = [
        {**rule, "verbs": ["get"]} if rule["resources"] == ["secrets"] else rule
        for rule in documented(RUNS_API)
    ]
    await asyncio.to_thread(aggregating.apply, role(user, user, documented() + read_only))
    theirs = settings(place, makes_certificates=False)
    first, second = (make(theirs.host, now(), timedelta(days=1)) for _ in range(2))
    body = {"metadata": {"name": SECRET}, "type": "kubernetes.io/tls", "data": _secret(first)}
    assert (await place.ask("POST", SECRETS.collection(place.namespace), body)).ok
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(kubeconfig=str(kubeconfig), runs_api=theirs), server.serving(kubelet_seconds=3.0):
        await place.until(True, 90)
        await eventually(place.served)
        shown, path = server._shown, SECRETS.object(place.namespace, SECRET)
        assert (await place.ask("PATCH", path, {"data": _secret(second)}, MERGE_PATCH)).ok
        await eventually(_is_another(server, shown))
        await eventually(place.served)
        found = await place.api_service()
        assert found is not None
        bundle = base64.b64decode(found["spec"]["caBundle"])
        assert first.authority in bundle
        assert second.authority in bundle
        asked = {dict(labels)["result"] for (name, labels) in b.meter.counts if name == API_REQUESTS}
    assert "403" not in asked
    assert (await place.secret())["tls.crt"] == second.certificate


async def test_withdrawn_by_hand_it_stays_so_until_the_annotation_is_removed(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
        command = [
            sys.executable, "-m", "agentjobs.cli", "withdraw", f"--service={place.namespace}/{SERVICE}",
            f"--kubeconfig={aggregating.kubeconfig}",
        ]  # fmt: skip
        for said in ("is withdrawn", "is not registered"):
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert said in out.decode()
        await asyncio.sleep(2)  # several looks
        assert await place.api_service() is None
        await eventually(lambda: degraded(b), lambda text: "says so" in text)
        path = SERVICES.object(place.namespace, SERVICE)
        await place.ask("PATCH", path, {"metadata": {"annotations": {REGISTRATION: None}}}, MERGE_PATCH)
        await place.until(True, 90)


async def test_where_it_is_switched_off_what_an_earlier_operator_registered_is_withdrawn(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    """Also where its Service and the right to ask for it are gone."""
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
    await place.delete(SERVICES, place.namespace, SERVICE)
    user = f"operator-{place.namespace}"
    right = {
        "apiGroups": ["apiregistration.k8s.io"],
        "resources": ["apiservices"],
        "verbs": ["get", "delete"],
    }
    await asyncio.to_thread(aggregating.apply, role(user, user, [*documented(), right]))
    kubeconfig = str(aggregating.require_own().kubeconfig_for(user))
    async with b.running(kubeconfig=kubeconfig, runs_api=settings(place, wanted=False)):
        await place.until(False, 90)
        await eventually(lambda: degraded(b), lambda text: text == "")


async def test_who_deletes_it_is_not_answered_by_another_one_at_once(
    b: Bench, place: Place, tmp_path: Path
) -> None:
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(runs_api=settings(place)), server.serving():
        await place.until(True, 90)
        await eventually(place.served)
        await eventually(lambda: degraded(b), lambda text: text == "")
        deleted_at = time.monotonic()
        await place.delete(API_SERVICES, None, NAME)
        assert "somebody else" in await eventually(lambda: degraded(b))
        await place.until(True, 90)
        assert time.monotonic() - deleted_at > 0.9 * QUICK.first_retry


async def test_the_documented_rights_are_enough_and_none_is_refused(
    b: Bench, place: Place, tmp_path: Path, aggregating: Cluster
) -> None:
    user = f"operator-{place.namespace}"
    kubeconfig = aggregating.require_own().kubeconfig_for(user)
    rules = documented() + documented(RUNS_API)
    await asyncio.to_thread(aggregating.apply, role(user, user, rules))
    server = SmallServer(place, tmp_path)
    await place.ready()
    async with b.running(kubeconfig=str(kubeconfig), runs_api=settings(place, times=QUICK)):
        async with server.serving():
            await place.until(True, 90)
            await eventually(place.served)
        await place.until(False, 90)
        await eventually(lambda: place.events("RunsApiWithdrawn"))
        asked = {dict(labels)["result"] for (name, labels) in b.meter.counts if name == API_REQUESTS}
    assert "403" not in asked
