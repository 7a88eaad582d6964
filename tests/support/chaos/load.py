"""The jobs of a chaos run: each of a shape that says what people do to it and how it may end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS, Resource
from agentjobs.queue.errors import QueueUnavailable
from agentjobs.queue.records import NewJob
from agentjobs.values.json import JsonObject
from chaos.world import NAMESPACES_USED, World
from operators import agent_job
from schedules import scheduled_agent_job

MODULE: JsonObject = {"agent": {"module": "chaos_agent"}}
INLINE: JsonObject = {
    "agent": {"inline": {"type": "llm", "name": "echo", "model": "echo", "instruction": "Repeat."}}
}
QUICK: JsonObject = {"retryPolicy": {"initialDelaySeconds": 1, "factor": 1}}
SESSIONS = 5
JOBS_PER_SECOND = 3.0
Follow = Callable[["Load", "Made"], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Shape:
    """What is asked for, how it may end, and what people do after it was created."""

    name: str
    spec: Callable[[Load, int], JsonObject]
    ends: frozenset[str]
    """States in which it may end."""
    reasons: frozenset[str] = frozenset()
    """Reasons that an end without an answer may have."""
    follow: Follow | None = None
    weight: int = 1


@dataclass
class Made:
    """One job that was accepted, by the API server or by the queue."""

    shape: Shape
    namespace: str
    name: str
    answer: str
    uid: UUID | None = None
    deleted: bool = False


def calls(answer: str, tool: str, **arguments: Any) -> str:
    return f"echo:call {tool} {json.dumps(arguments)}\n{answer}"


async def _after(load: Load, made: Made, body: JsonObject, seconds: float) -> None:
    await load.sleep(seconds)
    await load.patch(AGENT_JOBS, made, body)


async def _resume(load: Load, made: Made) -> None:
    await _after(load, made, {"spec": {"suspend": False}}, load.world.rng.uniform(0, 4))


async def _suspend_and_resume(load: Load, made: Made) -> None:
    await _after(load, made, {"spec": {"suspend": True}}, load.world.rng.uniform(0, 2))
    await _resume(load, made)


async def _cancel(load: Load, made: Made) -> None:
    await _after(load, made, {"spec": {"cancel": True}}, load.world.rng.uniform(0, 3))


async def _hurry(load: Load, made: Made) -> None:
    await _after(load, made, {"spec": {"priority": 0}}, load.world.rng.uniform(0, 2))


async def _delete(load: Load, made: Made) -> None:
    await load.sleep(load.world.rng.uniform(0, 3))
    await load.delete(made)


async def _retry(load: Load, made: Made) -> None:
    # a first run that is lost does not fail, and the second answers
    if (await load.until_state(made, "Failed", "Complete"))["state"] == "Failed":
        await load.patch(
            AGENT_JOBS, made, {"metadata": {"annotations": {"agentjobs.dev/retry-requested-at": "once"}}}
        )


async def _approve(load: Load, made: Made) -> None:
    status = await load.until_state(made, "InputRequired")
    answer = json.dumps({"id": status["inputRequest"]["id"], "approved": True})
    await load.patch(
        AGENT_JOBS, made, {"metadata": {"annotations": {"agentjobs.dev/input-response": answer}}}
    )


def _work(seconds: float, **more: Any) -> Callable[[Load, int], JsonObject]:
    return lambda load, n: {**MODULE, "message": calls(f"answer {n}", "work", seconds=seconds), **more}


def _tool(tool: str, **more: Any) -> Callable[[Load, int], JsonObject]:
    return lambda load, n: {**MODULE, "message": calls(f"answer {n}", tool), **more}


COMPLETE, ANSWERED_OR_CANCELLED = frozenset({"Complete"}), frozenset({"Complete", "Cancelled"})
SHAPES = (
    Shape("plain", lambda load, n: {**INLINE, "message": f"answer {n}"}, COMPLETE, weight=6),
    Shape("works", _work(0.3), COMPLETE, weight=4),
    Shape("works long", _work(6), COMPLETE, weight=2),
    Shape("in a session", lambda load, n: {**_work(0.2)(load, n), "sessionID": f"s{n % SESSIONS}"}, COMPLETE, weight=6),
    Shape("of the limited queue", _work(0.5, queue="limited"), COMPLETE, weight=3),
    Shape("fails once", _tool("fail_first", **QUICK), COMPLETE, weight=2),
    Shape("kills its process once", _tool("die_first", **QUICK), COMPLETE),
    Shape(
        "refused",
        lambda load, n: {**INLINE, "message": f"echo:fail 400\nanswer {n}"},
        frozenset({"Failed"}),
        frozenset({"ModelRequestInvalid"}),
    ),
    Shape("refused, then retried", lambda load, n: {**INLINE, "message": f"echo:fail 400 1\nanswer {n}"}, COMPLETE, follow=_retry),
    Shape("later", _work(0.1, delaySeconds=2), COMPLETE, weight=2),
    Shape("created suspended", _work(0.1, suspend=True), COMPLETE, follow=_resume),
    Shape("suspended for a while", _work(1), COMPLETE, follow=_suspend_and_resume),
    Shape("cancelled", _work(2), ANSWERED_OR_CANCELLED, frozenset({"Cancelled"}), _cancel, 2),
    Shape("deleted", _work(2), ANSWERED_OR_CANCELLED, frozenset({"Cancelled"}), _delete),
    Shape("more urgent later", _work(0.1, priority=9), COMPLETE, follow=_hurry),
    Shape(
        "out of time",
        _work(60, activeDeadlineSeconds=3),
        frozenset({"Failed"}),
        frozenset({"DeadlineExceeded"}),
    ),
    Shape("asks", lambda load, n: {**MODULE, "message": calls(f"answer {n}", "pay", euros=n)}, COMPLETE, follow=_approve, weight=2),
)  # fmt: skip
PYTHON = Shape("from Python", lambda load, n: {}, COMPLETE)


@dataclass
class Load:
    """Creates jobs until told to stop, then brings what people do to them to its end."""

    world: World
    made: list[Made] = field(default_factory=list)
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    schedules: int = 0
    _follows: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        await self._schedules()
        shapes = [shape for shape in SHAPES for _ in range(shape.weight)]
        number = 0
        while not self.calm.is_set():
            number += 1
            namespace = self.world.rng.choice(NAMESPACES_USED)
            if number % 15 == 0:
                await self._from_python(number)
            else:
                await self._from_object(shapes[(number * 7) % len(shapes)], namespace, number)
            await self.sleep(self.world.rng.expovariate(JOBS_PER_SECOND))
        await asyncio.gather(*self._follows)
        await self.patch(
            SCHEDULED_AGENT_JOBS,
            Made(PYTHON, NAMESPACES_USED[0], "minutely", ""),
            {"spec": {"suspend": True}},
        )

    async def _from_object(self, shape: Shape, namespace: str, number: int) -> None:
        made = Made(shape, namespace, f"job-{number:05}", f"answer {number}")
        body = agent_job(made.name, shape.spec(self, number))
        reply = await self.ask("POST", AGENT_JOBS.collection(namespace), body, accept=(201, 409))
        if reply.status == 409:  # the first try was stored, and its reply lost
            reply = await self.ask("GET", AGENT_JOBS.object(namespace, made.name))
        made.uid = UUID(reply.body["metadata"]["uid"])
        self.made.append(made)
        if shape.follow is not None:
            self._follows.add(asyncio.create_task(shape.follow(self, made)))

    async def _from_python(self, number: int) -> None:
        payload = {"v": 1, "namespace": "python", "name": f"python-{number}", "agent": MODULE["agent"]}
        job = NewJob(uuid4(), {**payload, "message": calls(f"answer {number}", "work", seconds=0.2)})
        while True:
            try:
                await self.world.queue.enqueue([job])
                break
            except QueueUnavailable:
                await asyncio.sleep(0.2)
        self.made.append(Made(PYTHON, "", f"python-{number}", f"answer {number}", job.uid))

    async def _schedules(self) -> None:
        """One each minute, and one that people trigger."""
        job = {**MODULE, "message": calls("answer of a schedule", "work", seconds=0.2)}
        for name, more in (("minutely", {"schedule": "* * * * *"}), ("triggered", {"schedule": "@yearly"})):
            spec = {**more, "job": job, "successfulJobsHistoryLimit": 1000}
            await self.ask(
                "POST", SCHEDULED_AGENT_JOBS.collection(NAMESPACES_USED[0]), scheduled_agent_job(name, spec), accept=(201, 409)
            )  # fmt: skip
        self._follows.add(asyncio.create_task(self._trigger()))

    async def _trigger(self) -> None:
        while not self.calm.is_set():
            await self.sleep(8)
            body = {
                "metadata": {"annotations": {"agentjobs.dev/run-requested-at": datetime.now(UTC).isoformat()}}
            }
            await self.patch(SCHEDULED_AGENT_JOBS, Made(PYTHON, NAMESPACES_USED[0], "triggered", ""), body)
            self.schedules += 1

    # -- requests of people, who try again -------------------------------------------------------------

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def ask(
        self, method: str, path: str, body: Any = None, accept: tuple[int, ...] = (200,), **more: Any
    ) -> Reply:
        while True:
            try:
                reply = await self.world.api.request(method, path, resource="chaos", body=body, **more)
            except ApiUnavailable:
                await asyncio.sleep(0.2)
                continue
            if reply.status in accept:
                return reply
            # a server that has just started refuses what it will accept (403), or is not ready (5xx)
            assert reply.status in (403, 409, 429) or reply.status >= 500, reply
            await asyncio.sleep(0.2)

    async def patch(self, resource: Resource, made: Made, body: JsonObject) -> None:
        await self.ask(
            "PATCH",
            resource.object(made.namespace, made.name),
            body,
            accept=(200, 404),
            content_type="application/merge-patch+json",
        )

    async def delete(self, made: Made) -> None:
        await self.ask("DELETE", AGENT_JOBS.object(made.namespace, made.name), accept=(200, 404))
        made.deleted = True

    async def until_state(self, made: Made, *states: str) -> JsonObject:
        while True:
            reply = await self.ask("GET", AGENT_JOBS.object(made.namespace, made.name))
            status: JsonObject = reply.body.get("status") or {}
            if status.get("state") in states:
                return status
            await asyncio.sleep(0.2)
