"""Acts behind a real API server: who did them is who the API server says, and each has its row in the audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentjobs.local.assets import Assets
from agentjobs.queue.job_list import JobFilter
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, State
from agentjobs.web.acts import Acts, act_of
from agentjobs.web.app import BODY_BYTES
from agentjobs.web.identity import Door, Identity
from agentjobs.web.names import API_VERSION
from agentjobs.web.objects.acts import ActionFilter, ErasureSpec, RunActionSpec
from agentjobs.web.status import ApiError
from clusters import Cluster
from queue_builders import TestWorker, mirrored_job, new_job, shown, sql
from runs_apis import Answered, Served, served, with_roles


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    with with_roles(own_assets) as found:
        found.kubectl("create", "clusterrolebinding", "boss", "--clusterrole=runs-admin", "--user=boss")
        found.kubectl("create", "clusterrolebinding", "boss-q", "--clusterrole=runs-queues", "--user=boss")
        yield found


def action(verb: str, filter: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "RunAction",
        "spec": {"verb": verb, "filter": filter or {}, **spec},
    }


def queue_action(verb: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "QueueAction", "spec": {"verb": verb, **spec}}


async def _failed(queue: Queue, worker: TestWorker, *jobs: Any) -> None:
    await queue.enqueue(list(jobs))
    for job in await worker.claim(len(jobs)):
        await worker.ack(job, AckKind.FAIL, reason="AgentFailed")


async def test_jobs_without_an_object_are_retried_by_a_filter_after_an_exact_preview_with_a_row_each(
    api: Served, queue: Queue, worker: TestWorker
) -> None:
    bare = [new_job() for _ in range(3)]
    await _failed(queue, worker, *bare, mirrored_job("mine"))
    wanted = action("retry", {"state": ["Failed"]}, reason="the provider is back", spreadSeconds=60)
    preview = await api.ask("boss", "namespaces/-/runactions?dryRun=All", wanted)
    assert (preview.code, preview.json["status"]["matched"], preview.json["status"]["changed"]) == (201, 3, 0)
    everywhere = await api.ask("boss", "runactions?dryRun=All", wanted)
    assert everywhere.json["status"]["matched"] == 4
    assert not await queue.audit()

    done = await api.ask("boss", "namespaces/-/runactions", wanted)
    assert done.json["status"] == {"matched": 3, "changed": 3, "finished": 0, "refused": {}}
    rows = await queue.audit()
    assert {row.uid for row in rows} == {job.uid for job in bare}
    assert {(row.actor, row.verb, row.reason, row.source) for row in rows} == {
        ("boss", "retry", "the provider is back", "web")
    }
    for place in ("namespaces/team/runactions", "namespaces/-/runactions", "runactions"):
        assert (await api.ask("edit", place, wanted)).code == (422 if "team" in place else 403)
    counted = await api.ask("edit", "namespaces/team/runactions?dryRun=All", wanted)
    assert counted.json["status"]["matched"] == 1


async def test_one_job_without_an_object_is_changed_by_its_uid_alone(api: Served, queue: Queue) -> None:
    job, other, owned = new_job(), new_job(), mirrored_job("mine")
    await queue.enqueue([job, other, owned])
    body = action("cancel", {"uid": str(job.uid)}, reason="not wanted")
    assert (await api.ask("boss", "namespaces/-/runactions?dryRun=All", body)).json["status"]["matched"] == 1
    assert (await shown(queue, job)).state is State.QUEUED
    assert (await api.ask("boss", "namespaces/-/runactions", body)).json["status"]["changed"] == 1
    assert (await shown(queue, job)).state is State.CANCELLED
    assert (await shown(queue, other)).state is State.QUEUED
    (row,) = await queue.audit(uid=job.uid)
    assert (row.actor, row.reason) == ("boss", "not wanted")
    cases = ((owned.uid, 404), ("nonsense", 404), (job.uid, 201))
    for uid, code in cases:
        again = await api.ask("boss", "namespaces/-/runactions", action("cancel", {"uid": str(uid)}))
        assert again.code == code, again.text
    assert again.json["status"] == {"matched": 1, "changed": 0, "finished": 1, "refused": {}}
    both = action("cancel", {"uid": str(other.uid), "queue": "agents"})
    assert (await api.ask("boss", "namespaces/-/runactions", both)).code == 422


async def test_a_bulk_act_that_takes_long_answers_how_to_go_on(queue: Queue) -> None:
    jobs = [new_job() for _ in range(450)]
    await queue.enqueue(jobs)
    spec = RunActionSpec(verb="cancel", filter=ActionFilter(), reason="x")
    acts, by = Acts(queue, seconds=0), act_of(Identity(Door.ADMINISTRATOR, "administrator"), "x")
    told = await acts.on_jobs(JobFilter(), spec, by)
    calls, changed = 1, told.changed
    assert told.matched == 450
    while told.continue_ is not None:
        told = await acts.on_jobs(JobFilter(), spec.model_copy(update={"continue_": told.continue_}), by)
        calls, changed = calls + 1, changed + told.changed
    assert changed == 450
    assert calls >= 3


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"verb": "drop", "filter": {}}, 422),
        ({"verb": "retry"}, 422),
        ({"verb": "retry", "filter": {"stat": ["Failed"]}}, 422),
        ({"verb": "retry", "filter": {"state": ["Broken"]}}, 400),
        ({"verb": "retry", "filter": {"since": "yesterday"}}, 400),
        ({"verb": "retry", "filter": {}, "spreadSeconds": -1}, 422),
        ({"verb": "retry", "filter": {}, "spreadSeconds": 1e9}, 422),
        ({"verb": "retry", "filter": {}, "reason": "x" * 2000}, 422),
        ({"verb": "retry", "filter": {}, "continue": "1-nonsense"}, 410),
        ({"verb": "retry", "filter": {"user": "\x00"}}, 400),
    ],
)
async def test_a_filter_that_is_no_filter_acts_on_nothing(
    api: Served, queue: Queue, spec: dict[str, Any], code: int
) -> None:
    await queue.enqueue([new_job()])
    answer = await api.ask("boss", "namespaces/-/runactions", {"spec": spec})
    assert answer.code == code, answer.text
    assert answer.json["kind"] == "Status"
    assert not await queue.audit()


async def test_bodies_that_are_huge_or_no_json_are_refused_by_every_route_that_takes_one(api: Served) -> None:
    fitting = json.dumps({"spec": {"x": "y" * (BODY_BYTES - 100)}}).encode()
    for path in ("namespaces/-/runactions", "runactions", "queueactions", "namespaces/team/erasures"):

        async def code(body: bytes, path: str = path, **headers: str) -> int:
            return (await api.ask("boss", path, body, **headers)).code

        assert await code(b"x" * (BODY_BYTES + 1)) == 413
        assert await code(b" " * (20 << 20)) == 413
        assert await code(fitting) == 422
        assert await code(b"") == 422
        assert await code(b"[" * 100_000) == 422
        assert await code(b"\xff\xfe") == 422
        assert await code(b'{"spec": {"verb": "retry", "filter": {}}, "spec": 1}') == 422
        assert await code(b"{}", Content_Type="text/plain") == 415
        assert await code(b"{}", Content_Type="application/x-www-form-urlencoded") == 415


async def test_a_queue_is_paused_limited_and_resumed_and_a_model_reset_by_whom_the_cluster_trusts_with_all(
    api: Served, queue: Queue
) -> None:
    async def act(user: str, verb: str, query: str = "", **spec: Any) -> Answered:
        return await api.ask(user, f"queueactions{query}", queue_action(verb, **spec))

    for user in ("view", "edit", "admin", "nobody"):
        assert (await act(user, "pause", queue="agents")).code == 403
    tried = await act("queues", "pause", "?dryRun=All", queue="agents")
    assert tried.json["status"] == {"changed": True}
    assert not await queue.queues()
    assert (await act("queues", "pause", queue="agents", reason="deploy")).json["status"] == {"changed": True}
    again = await act("queues", "pause", queue="agents", reason="still")
    assert again.json["status"] == {"changed": False}
    (state,) = await queue.queues()
    assert (state.paused, state.paused_by, state.paused_reason) == (True, "queues", "deploy")
    assert (await act("queues", "limit", queue="agents", maxRunning=0)).json["status"] == {"changed": True}
    assert (await act("queues", "limit", queue="agents")).json["status"] == {"changed": True}
    assert (await act("queues", "resume", queue="agents")).json["status"] == {"changed": True}
    assert (await act("queues", "reset", pool="default", model="none")).json["status"] == {"changed": False}
    assert [row.verb for row in await queue.audit()] == ["unpause", "limit", "limit", "pause"]
    assert {row.actor for row in await queue.audit()} == {"queues"}
    for verb, spec in (
        ("pause", {}), ("pause", {"queue": ""}), ("pause", {"queue": "a", "model": "m"}), ("reset", {"queue": "a"}),
        ("pause", {"queue": "a", "maxRunning": 1}), ("limit", {"queue": "a", "maxRunning": -1}),
    ):  # fmt: skip
        assert (await act("queues", verb, **spec)).code == 422, (verb, spec)
    assert (await act("queues", "pause", queue="No Such Queue!")).code == 400
    assert (
        await api.ask("boss", "namespaces/team/queueactions", queue_action("pause", queue="agents"))
    ).code == 404


async def test_the_audit_is_read_page_by_page_in_ones_own_namespace(api: Served, queue: Queue) -> None:
    mine, theirs, bare = mirrored_job("mine"), mirrored_job("theirs", "other"), new_job()
    await queue.enqueue([mine, theirs, bare])
    for job in (mine, theirs, bare):
        await queue.suspend(job.uid, act_of(Identity(Door.AGGREGATED, "<b>eve</b>"), "why"))
        await queue.resume(job.uid, act_of(Identity(Door.AGGREGATED, "eve"), "why"))
    page = (await api.ask("admin", "namespaces/team/runaudits?limit=1")).json
    (row,) = page["items"]
    assert (row["verb"], row["actor"], row["target"], row["uid"]) == ("resume", "eve", "mine", str(mine.uid))
    assert json.loads(row["before"])["state"] == "Suspended"
    more = (await api.ask("admin", f"namespaces/team/runaudits?continue={page['metadata']['continue']}")).json
    assert [item["verb"] for item in more["items"]] == ["suspend"]
    everything = (await api.ask("boss", "runaudits")).json["items"]
    assert len(everything) == 6
    (first, _) = (await api.ask("boss", f"runaudits?uid={bare.uid}")).json["items"]
    assert (first["metadata"]["namespace"], first["target"]) == ("-", str(bare.uid))
    for user, path in (
        ("edit", "namespaces/team/runaudits"),
        ("admin", "namespaces/-/runaudits"),
        ("admin", "runaudits"),
    ):
        assert (await api.ask(user, path)).code == 403
    assert "ACTOR" in await api.kubectl("admin", "get", "runaudits", "-n", "team")
    html = await api.ask("admin", "namespaces/team/runaudits", accept="text/html")
    assert "&lt;b&gt;eve" in html.text
    assert (await api.ask("boss", "runaudits?uid=x")).code == 400
    assert (await api.ask("boss", "runaudits?continue=99999999999999999999")).code == 400


async def test_an_erasure_erases_texts_and_conversations_once_nothing_of_the_person_runs(
    plane: Cluster, dsn: str, queue: Queue, worker: TestWorker, tmp_path: Path
) -> None:
    erased: list[tuple[str, str]] = []

    async def erase_sessions(namespace: str, user: str) -> int:
        erased.append((namespace, user))
        if len(erased) == 1:
            raise RuntimeError("the store is away")
        return 7

    payload = {"v": 1, "namespace": "team", "userID": "max", "message": "a secret"}
    job, waiting = mirrored_job("mine", payload=payload), mirrored_job("waits", payload=payload)
    await queue.enqueue([job])
    running = await worker.one()
    await queue.enqueue([waiting])
    body = {"spec": {"user": "max", "reason": "request 17"}}
    async with served(plane, dsn, tmp_path, erase_sessions=erase_sessions) as api:
        path = "namespaces/team/erasures"
        assert (await api.ask("edit", path, body)).code == 403
        assert (await api.ask("admin", f"{path}?dryRun=All", body)).code == 400
        assert (await api.ask("admin", path, {"spec": {"user": ""}})).code == 422
        status = (await api.ask("admin", path, body)).json["status"]
        assert (status["cancelled"], status["running"], "sessions" in status) == (1, 1, False)
        assert "still run" in status["problem"]
        assert not erased
        await worker.ack(running, AckKind.CANCEL)
        status = (await api.ask("admin", path, body)).json["status"]
        assert "the store is away" in status["problem"]
        status = (await api.ask("admin", path, body)).json["status"]
        assert (status["running"], status["sessions"], "problem" in status) == (0, 7, False)
    assert erased == [("team", "max")] * 2
    assert not await sql(dsn, "select 1 from job where payload::text like '%%a secret%%'")
    rows = [row for row in await queue.audit() if row.verb == "erase"]
    assert {(row.actor, row.reason, row.source) for row in rows} == {("admin", "request 17", "web")}


async def test_an_erasure_that_takes_longer_than_a_request_goes_on_where_it_was(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentjobs.queue.numbers.ERASE_LOOK", 2)
    payload = {"v": 1, "namespace": "team", "userID": "max", "message": "a secret"}
    await queue.enqueue([new_job(payload=payload) for _ in range(5)])
    asked = 0

    async def erase_sessions(namespace: str, user: str) -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.sleep(600)
        return 7

    acts, by = Acts(queue, erase_sessions, seconds=0.01), act_of(Identity(Door.AGGREGATED, "eve"), "why")
    told, problems = await acts.erase("team", ErasureSpec(user="max"), by), []
    while told.continue_ is not None:
        problems.append(told.problem or "")
        told = await acts.erase(
            "team", ErasureSpec.model_validate({"user": "max", "continue": told.continue_}), by
        )
    assert "jobs were looked at" in problems[0]
    assert "conversations" in problems[-1]
    assert (told.jobs, told.sessions, told.problem) == (5, 7, None)
    (row,) = [row for row in await queue.audit() if row.verb == "erase"]
    assert (row.uid, row.after) == (UUID(told.id), {"jobs": 5, "cancelled": 5, "running": 0, "done": True})
    with pytest.raises(ApiError) as refused:
        await acts.erase("team", ErasureSpec.model_validate({"user": "max", "continue": "guessed"}), by)
    assert refused.value.code == 410
