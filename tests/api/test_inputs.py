"""``spec.inputs`` and ``spec.messageFrom``: the operator reads ConfigMaps and Secrets before it takes a job up."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from agentjobs.controller.agentjob.readable_kinds import ReadableKinds
from agentjobs.controller.apiserver.resources import CONFIG_MAPS, NAMESPACES, SECRETS
from agentjobs.controller.metrics.counters import API_REQUESTS
from agentjobs.values.input_file import ArtifactPlace, InputFile
from agentjobs.values.names import own_session
from agentjobs.values.saved_file import SavedFile
from clusters import Cluster
from operators import QUICK, Bench, Objects, bench, condition, eventually
from rbac import documented, role

QUICKER = replace(QUICK, missing_input=0.1)


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn, intervals=QUICKER) as made:
        yield made


async def config_map(objects: Objects, name: str, data: dict[str, str], **binary: bytes) -> None:
    binary_data = {key: base64.b64encode(value).decode() for key, value in binary.items()}
    body = {"metadata": {"name": name}, "data": data, "binaryData": binary_data}
    await objects._do("POST", CONFIG_MAPS.collection(objects.namespace), body=body)


async def secret(objects: Objects, name: str, **data: str) -> None:
    body = {"metadata": {"name": name}, "stringData": data}
    await objects._do("POST", SECRETS.collection(objects.namespace), body=body)


def from_config_map(object_: str, key: str, /, **more: Any) -> dict[str, Any]:
    return {"configMapKeyRef": {"name": object_, "key": key}, **more}


def from_secret(object_: str, key: str, /, **more: Any) -> dict[str, Any]:
    return {"secretKeyRef": {"name": object_, "key": key}, **more}


async def held(b: Bench, name: str, *words: str) -> dict[str, Any]:
    """The status of a job that waits for what these words name."""
    found: dict[str, Any] = await eventually(
        lambda: b.objects.status(name),
        lambda s: s.get("reason") == "InputUnavailable" and all(word in s["message"] for word in words),
    )
    return found


async def test_what_the_spec_names_is_in_the_payload_as_it_was_when_the_job_was_taken_in(b: Bench) -> None:
    await config_map(b.objects, "data", {"q": "What is new?", "a.csv": "x,y\n"}, logo=b"\x89PNG\xff")
    files = [
        from_config_map("data", "a.csv", name="table.csv"),
        from_config_map("data", "logo", name="logo.png", attach="Artifact"),
    ]
    async with b.running():
        worker = await b.worker()
        await b.objects.create(
            "job", {"message": None, "messageFrom": from_config_map("data", "q"), "inputs": files}
        )
        job = await worker.one()
        assert b.meter.total(API_REQUESTS, resource="configmaps") == 1
    assert job.payload["v"] == 5
    assert job.payload["message"] == "What is new?"
    assert [InputFile.from_json(one) for one in job.payload["inputs"]] == [
        InputFile("table.csv", "text/csv", b"x,y\n"),
        InputFile("logo.png", "image/png", b"\x89PNG\xff", "Artifact"),
    ]


async def test_a_job_without_references_costs_no_request(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job")
        assert "inputs" not in (await worker.one()).payload
        for kind in ("configmaps", "secrets"):
            assert b.meter.total(API_REQUESTS, resource=kind) == 0


async def test_a_job_waits_visibly_for_what_is_missing_and_then_goes_on_by_itself(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"inputs": [from_config_map("data", "a.csv", name="a.csv")]})
        status = await held(b, "job", "spec.inputs[0]", "ConfigMap data", "does not exist", "create it")
        assert status["state"] == "Suspended"
        accepted = condition(status, "Accepted")
        assert accepted is not None
        assert (accepted["status"], accepted["reason"]) == ("False", "InputUnavailable")
        assert condition(status, "Suspended") is None
        assert await worker.claim_ready() == []
        await config_map(b.objects, "data", {"b.csv": "no"})
        await held(b, "job", "key a.csv does not exist; it has b.csv")
        await b.objects._do(
            "PATCH",
            CONFIG_MAPS.object(b.objects.namespace, "data"),
            body={"data": {"a.csv": "yes"}},
            content_type="application/merge-patch+json",
        )
        job = await worker.one()
        assert InputFile.from_json(job.payload["inputs"][0]).data == b"yes"
        status = await b.objects.until("job", "Running")
        assert condition(status, "Accepted")["status"] == "True"  # type: ignore[index]


async def test_an_operator_that_starts_goes_on_with_what_waits_and_reads_nothing_of_what_is_accepted(
    b: Bench,
) -> None:
    await config_map(b.objects, "there", {"a": "1"})
    async with b.running():
        await b.objects.create("waits", {"inputs": [from_config_map("missing", "a", name="a")]})
        await b.objects.create("accepted", {"inputs": [from_config_map("there", "a", name="a")]})
        await held(b, "waits")
        await b.objects.until("accepted", "Queued")
    await b.objects._do("DELETE", CONFIG_MAPS.object(b.objects.namespace, "there"))
    await config_map(b.objects, "missing", {"a": "2"})
    async with b.running():
        worker = await b.worker()
        jobs = await worker.claim(2)
        given = {job.payload["name"]: InputFile.from_json(job.payload["inputs"][0]).data for job in jobs}
        assert given == {"waits": b"2", "accepted": b"1"}
        assert b.meter.total(API_REQUESTS, resource="configmaps", result="404") == 0


async def test_an_object_that_the_database_does_not_know_is_read_whatever_its_status_says(b: Bench) -> None:
    await config_map(b.objects, "data", {"a": "1"})
    await b.objects.create("job", {"inputs": [from_config_map("data", "a", name="a")]})
    await b.objects.patch("job", {"status": {"state": "Queued", "reason": "Queued", "revision": 1}}, "status")
    async with b.running():
        worker = await b.worker()
        job = await worker.one()
        assert InputFile.from_json(job.payload["inputs"][0]).data == b"1"


async def test_a_job_waits_for_an_earlier_one_and_is_given_its_file(b: Bench) -> None:
    def wants(name: str) -> list[dict[str, Any]]:
        return [{"name": "report.md", "artifactRef": {"job": "first", "name": name}}]

    async with b.running():
        worker = await b.worker()
        await b.objects.create("later", {"inputs": wants("report.pdf")})
        await held(b, "later", "spec.inputs[0]: AgentJob first: does not exist")
        await b.objects.create("first", {"userID": "ann"})
        job = await worker.one()
        await held(b, "later", "AgentJob first is Running, and not Complete: it is waited for")
        await worker.ack(job, files=(SavedFile("report.pdf", 3, "application/pdf", 7),))
        uid = (await b.objects.get("first"))["metadata"]["uid"]
        later = await worker.one()
        place = ArtifactPlace(f"{b.objects.namespace}/agentjobs", "ann", own_session(uid), "report.pdf", 3)
        assert [InputFile.from_json(one) for one in later.payload["inputs"]] == [
            InputFile("report.md", "", b"", place=place)
        ]
        await b.objects.create("wrong", {"inputs": wants("other.pdf")})
        await held(b, "wrong", "file other.pdf does not exist; it has saved report.pdf")


async def test_a_job_begins_when_the_one_that_it_waits_for_completes_and_not_with_the_next_look(
    cluster: Cluster, dsn: str
) -> None:
    async with bench(cluster, dsn, intervals=replace(QUICK, missing_input=3600.0)) as b, b.running():
        worker = await b.worker()
        await b.objects.create("first")
        job = await worker.one()
        inputs = [{"name": "a", "artifactRef": {"job": "first", "name": "a.csv"}}]
        await b.objects.create("later", {"inputs": inputs})
        await held(b, "later", "it is waited for")
        await worker.ack(job, files=(SavedFile("a.csv", 0, "text/csv", 1),))
        assert (await worker.one()).payload["name"] == "later"


async def test_a_job_that_waits_can_be_cancelled_and_deleted(b: Bench) -> None:
    async with b.running():
        for name in ("cancelled", "deleted"):
            await b.objects.create(name, {"inputs": [from_config_map("missing", "a", name="a")]})
            await held(b, name)
        await b.objects.patch("cancelled", {"spec": {"cancel": True}})
        await b.objects.until("cancelled", "Cancelled")
        await b.objects.delete("deleted")
        await config_map(b.objects, "missing", {"a": "1"})
        worker = await b.worker()
        await b.objects.create("other", {"inputs": [from_config_map("missing", "a", name="a")]})
        assert (await worker.one()).payload["name"] == "other"
        assert await worker.claim_ready() == []


async def test_a_suspended_job_takes_its_files_in_and_stays_suspended(b: Bench) -> None:
    async with b.running():
        await b.objects.create("job", {"suspend": True, "inputs": [from_config_map("data", "a", name="a")]})
        await held(b, "job")
        await config_map(b.objects, "data", {"a": "1"})
        await eventually(lambda: b.objects.status("job"), lambda s: s.get("reason") == "Suspended")
        await b.objects.patch("job", {"spec": {"suspend": False}})
        worker = await b.worker()
        assert (await worker.one()).payload["inputs"]


async def test_files_that_are_too_large_together_hold_the_job(b: Bench) -> None:
    for name in ("one", "two"):
        await config_map(b.objects, name, {"a": "x" * 400_000})
    async with b.running():
        files = [from_config_map(name, "a", name=name) for name in ("one", "two")]
        await b.objects.create("job", {"inputs": files})
        await held(b, "job", "at most 716800 bytes", "got 800000", "make the files smaller")


async def test_secrets_are_read_only_where_the_installation_says_so_and_shown_nowhere(b: Bench) -> None:
    await secret(b.objects, "token", value="s3cr3t-of-the-test")
    files = [from_secret("token", "value", name="token.txt")]
    async with b.running():
        await b.objects.create("job", {"inputs": files})
        await held(b, "job", "spec.inputs[0]", "Secret token", "operator.inputs.secrets of the chart")
        assert b.meter.total(API_REQUESTS, resource="secrets") == 0
    async with b.running(readable_kinds=ReadableKinds(secrets=True)):
        await b.objects.create("missing", {"inputs": [from_secret("token", "other", name="a")]})
        await held(b, "missing", "key other does not exist")
        worker = await b.worker()
        job = await worker.one()
        assert InputFile.from_json(job.payload["inputs"][0]).data == b"s3cr3t-of-the-test"
        await worker.ack(job)
        await b.objects.until("job", "Complete")
        shown = [await b.objects.get(name) for name in ("job", "missing")]
        shown += await b.objects.events("job")
        assert "s3cr3t" not in str(shown)
        assert base64.b64encode(b"s3cr3t-of-the-test").decode() not in str(shown)


async def test_a_tenant_whose_objects_may_not_be_read_delays_nobody(cluster: Cluster, dsn: str) -> None:
    user = f"operator-{uuid4().hex[:8]}"
    kubeconfig = cluster.require_own().kubeconfig_for(user)
    rules = [rule for rule in documented() if rule["resources"] != ["configmaps"]]
    await asyncio.to_thread(cluster.apply, role(user, user, rules))
    async with bench(cluster, dsn, intervals=QUICKER) as b:
        other = Objects(b.objects.api, f"test-{uuid4().hex[:10]}")
        await b.objects._do("POST", NAMESPACES.collection(), body={"metadata": {"name": other.namespace}})
        allowed = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
        for one in role(f"{user}-{other.namespace}", user, allowed):
            one["kind"] = one["kind"].removeprefix("Cluster")
            one["metadata"]["namespace"] = other.namespace
            if "roleRef" in one:
                one["roleRef"]["kind"] = "Role"
            await asyncio.to_thread(cluster.apply, [one])
        asked = ("auth", "can-i", "get", "configmaps", "-n", other.namespace, f"--as={user}")
        can = partial(cluster.kubectl, *asked, check=False)
        await eventually(lambda: asyncio.to_thread(can), lambda said: said.strip() == "yes")
        await config_map(other, "data", {"a": "1"})
        async with b.running(kubeconfig=str(kubeconfig), namespaces=(b.objects.namespace, other.namespace)):
            worker = await b.worker()
            for number in range(30):
                await b.objects.create(f"job-{number}", {"inputs": [from_config_map("data", "a", name="a")]})
            await other.create("job", {"inputs": [from_config_map("data", "a", name="a")]})
            await b.objects.create("plain")
            jobs = await worker.claim(2)
            assert {job.payload["name"] for job in jobs} == {"job", "plain"}
            await held(b, "job-29", "the operator may not read it", "grant its account get on configmaps")
