"""Invariant 16: a privilege holds on every path by which a job can come to be as it is.

The table is every way to ask for a better priority than the queue allows, in every place where a job can be.
What is refused leaves the job's row as it was, and says so by the condition Accepted and by an Event.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

from agentjobs.controller.agentjob.object_change import QueueAccess
from agentjobs.controller.apiserver.resources import AGENT_JOBS
from agentjobs.queue.records import AckKind
from agentjobs.values.json import JsonObject
from agentjobs.values.requests import InputRequest
from operators import Bench, HandWorker, condition, eventually
from schedules import HOUR, Schedules, TestClock

ACCESS = {"fast": QueueAccess((), best_priority=5)}
ALLOWED, REFUSED = 9, 0
RETRY = "agentjobs.dev/retry-requested-at"

PLACES = ("Scheduled", "Queued", "Suspended", "Running", "Retrying", "InputRequired", "Failed")
PATCHES = ("merge", "json", "apply", "replace")


def initial(place: str) -> JsonObject:
    more: Mapping[str, JsonObject] = {
        "Scheduled": {"delaySeconds": 86_400},
        "Suspended": {"suspend": True},
        "Retrying": {"retryPolicy": {"initialDelaySeconds": 3600}},
    }
    return {"queue": "fast", "priority": ALLOWED, **more.get(place, {})}


async def bring(worker: HandWorker, places: Mapping[str, str]) -> None:
    """Runs the claimed jobs until each is where its name says."""
    ends: Mapping[str, tuple[AckKind, JsonObject]] = {
        "Retrying": (
            AckKind.RETRY,
            {"reason": "ModelServerError", "message": "500", "delay_seconds": 3600.0},
        ),
        "InputRequired": (AckKind.ASK, {"requests": (InputRequest("id-1", "refund"),)}),
        "Failed": (AckKind.FAIL, {"reason": "AgentFailed", "message": "no"}),
    }
    runs = [name for name, place in places.items() if place in ("Running", *ends)]
    for job in await worker.claim(len(runs)):
        place = places[job.payload["name"]]
        if place in ends:
            kind, fields = ends[place]
            await worker.ack(job, kind, **fields)


async def ask(b: Bench, name: str, how: str, priority: int) -> None:
    """Sets spec.priority by one kind of request."""
    path = AGENT_JOBS.object(b.objects.namespace, name)
    value: Any = {"spec": {"priority": priority}}
    if how == "replace":
        whole = await b.objects.get(name)
        whole["spec"]["priority"] = priority

        async def put() -> bool:
            fresh = await b.objects.get(name)
            whole["metadata"]["resourceVersion"] = fresh["metadata"]["resourceVersion"]
            return (await b.objects.api.request("PUT", path, resource="test", body=whole)).ok

        await eventually(put)
        return
    kinds = {
        "merge": ("application/merge-patch+json", value),
        "json": (
            "application/json-patch+json",
            [{"op": "replace", "path": "/spec/priority", "value": priority}],
        ),
        "apply": (
            "application/apply-patch+yaml",
            {"apiVersion": AGENT_JOBS.api_version, "kind": AGENT_JOBS.kind, **value},
        ),
    }
    content_type, body = kinds[how]
    reply = await b.objects.api.request(
        "PATCH",
        path + ("?fieldManager=somebody&force=true" if how == "apply" else ""),
        resource="test",
        body=body,
        content_type=content_type,
    )
    assert reply.ok, reply


async def row(b: Bench, name: str) -> Any:
    uid = UUID((await b.objects.get(name))["metadata"]["uid"])
    return await eventually(lambda: b.queue.show(uid))


async def reasons(b: Bench, name: str) -> set[str]:
    return {event["reason"] for event in await b.objects.events(name)}


async def seen(b: Bench, name: str) -> JsonObject:
    """The status once it reflects the object's present generation."""
    found = await eventually(
        lambda: b.objects.get(name),
        lambda o: (o.get("status") or {}).get("observedGeneration") == o["metadata"]["generation"],
    )
    status: JsonObject = found["status"]
    return status


async def test_invariant_16_no_patch_in_any_place_gains_a_better_priority(b: Bench) -> None:
    members = {f"{place}-{how}".lower(): (place, how) for place, how in product(PLACES, PATCHES)}
    wrong: dict[str, str] = {}
    async with b.running(queue_access=ACCESS):
        worker = await b.worker(queues={"fast": 50})
        places = {name: place for name, (place, _) in members.items()}
        first = {n: p for n, p in places.items() if p not in ("Scheduled", "Queued", "Suspended")}
        for name, place in first.items():
            await b.objects.create(name, initial(place))
        await bring(worker, first)
        for name in places.keys() - first.keys():
            await b.objects.create(name, initial(places[name]))
        for name, (place, how) in members.items():
            await b.objects.until(name, place)
            await ask(b, name, how, REFUSED)
        for name in members:
            status, job = await seen(b, name), await row(b, name)
            accepted = condition(status, "Accepted") or {}
            if job.priority != ALLOWED:
                wrong[name] = f"the row has priority {job.priority}"
            elif (accepted["status"], accepted["reason"]) != ("False", "QueueNotAllowed"):
                wrong[name] = f"the object says {accepted}"
            elif "spec.priority: 0" not in accepted["message"]:
                wrong[name] = accepted["message"]
            elif status["state"] != places[name]:
                wrong[name] = f"it is {status['state']}"
        for name in members.keys() - wrong.keys():
            await eventually(partial(reasons, b, name), lambda r: "PriorityNotAllowed" in r)
        assert not wrong, f"{len(wrong)} of {len(members)}: {wrong}"
        # asking for what the row has takes the refusal back, at a later time
        name = "queued-merge"
        before = condition(await b.objects.status(name), "Accepted")
        await ask(b, name, "merge", 7)
        after = condition(await seen(b, name), "Accepted")
        assert before is not None
        assert after is not None
        assert (await row(b, name)).priority == 7
        assert (after["status"], after["reason"]) == ("True", "Accepted")
        assert after["lastTransitionTime"] >= before["lastTransitionTime"]


async def test_invariant_16_what_else_a_patch_asks_is_done_though_its_priority_is_refused(b: Bench) -> None:
    async with b.running(queue_access=ACCESS):
        await b.objects.create("job", initial("Suspended"))
        await b.objects.until("job", "Suspended")
        await b.objects.patch("job", {"spec": {"priority": REFUSED, "suspend": False, "maxAttempts": 7}})
        status = await b.objects.until("job", "Queued")
        assert condition(status, "Accepted")["status"] == "False"  # type: ignore[index]
        job = await row(b, "job")
        assert (job.priority, job.max_attempts) == (ALLOWED, 7)


async def test_invariant_16_a_new_round_is_asked_for_its_privilege_again(b: Bench) -> None:
    async with b.running(queue_access=ACCESS):
        worker = await b.worker(queues={"fast": 5})
        for name in ("better", "closed"):
            await b.objects.create(name, initial("Failed"))
        await bring(worker, {"better": "Failed", "closed": "Failed"})
        await b.objects.until("better", "Failed")
        await b.objects.until("closed", "Failed")
        await b.objects.patch(
            "better", {"spec": {"priority": REFUSED}, "metadata": {"annotations": {RETRY: "1"}}}
        )
        await eventually(lambda: reasons(b, "better"), lambda r: "RetryRefused" in r)
        job = await row(b, "better")
        assert (job.state, job.round, job.priority) == ("Failed", 1, ALLOWED)
    async with b.running(queue_access={"fast": QueueAccess(("somebody-else",))}):
        await b.objects.patch("closed", {"metadata": {"annotations": {RETRY: "1"}}})
        await eventually(lambda: reasons(b, "closed"), lambda r: "RetryRefused" in r)
        assert (await row(b, "closed")).round == 1
        status = await eventually(
            lambda: b.objects.status("closed"),
            lambda s: condition(s, "Accepted")["status"] == "False",  # type: ignore[index]
        )
        assert "'fast'" in condition(status, "Accepted")["message"]  # type: ignore[index]
    async with b.running():
        await b.objects.patch("closed", {"metadata": {"annotations": {RETRY: "2"}}})
        await b.objects.until("closed", "Queued")


async def test_invariant_16_a_refused_job_is_taken_neither_by_a_restore_nor_by_python(b: Bench) -> None:
    label = {"velero.io/restore-name": "monday"}
    async with b.running(queue_access=ACCESS):
        worker = await b.worker(queues={"fast": 5})
        await b.objects.create("restored", {"queue": "fast", "priority": ALLOWED}, labels=label)
        await b.objects.create("pushy", {"queue": "fast", "priority": REFUSED})
        await eventually(lambda: b.objects.status("restored"), lambda s: s.get("reason") == "Restored")
        await eventually(lambda: reasons(b, "pushy"), lambda r: "PriorityNotAllowed" in r)
        await b.objects.patch(
            "restored",
            {"spec": {"priority": REFUSED}, "metadata": {"labels": {"velero.io/restore-name": None}}},
        )
        status = await eventually(
            lambda: b.objects.status("restored"), lambda s: s.get("reason") == "QueueNotAllowed"
        )
        assert condition(status, "Accepted")["status"] == "False"  # type: ignore[index]
        for name in ("restored", "pushy"):
            await b.queue.resume((await row(b, name)).uid)
            assert (await row(b, name)).unaccepted, "resume is for what was suspended"
        assert await worker.claim_ready() == []
        await b.objects.patch("pushy", {"spec": {"cancel": True}})
        status = await b.objects.until("pushy", "Cancelled")
        assert condition(status, "Accepted")["status"] == "False", "it never was"  # type: ignore[index]


async def test_invariant_16_a_schedule_asks_for_its_template_before_it_makes_a_child(
    b: Bench, s: Schedules, clock: TestClock
) -> None:
    allowed, refused = ({"queue": "fast", "priority": p} for p in (ALLOWED, REFUSED))
    async with b.running(queue_access=ACCESS):
        await s.create("created", {"job": refused})
        await s.create("edited", {"job": allowed})
        await s.until("edited", lambda st: bool(st.get("nextScheduleTime")))
        await s.patch("edited", {"spec": {"jobTemplate": {"spec": {"priority": REFUSED}}}})
        for name in ("created", "edited"):
            status = await s.until(
                name, lambda st: (condition(st, "Accepted") or {}).get("status") == "False"
            )
            accepted = condition(status, "Accepted")
            assert accepted is not None
            assert accepted["reason"] == "QueueNotAllowed"
            assert "spec.jobTemplate.spec.priority: 0" in accepted["message"]
            await eventually(partial(s.events, name), lambda e: "PriorityNotAllowed" in e)
        clock.before(HOUR)
        await s.create("witness", {"job": allowed})
        await eventually(lambda: s.names("witness"), bool)
        assert not await s.names("created") | await s.names("edited")
        await s.patch("edited", {"spec": {"jobTemplate": {"spec": {"priority": 6}}}})
        await s.until("edited", lambda st: (condition(st, "Accepted") or {}).get("status") == "True")
