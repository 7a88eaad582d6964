"""The input reader: what AgentJobs refer to is read before intake stores their jobs, and looked for again while it is missing.

Each object with references has a task of its own, so that intake's batches wait for none. Objects without references
cost nothing. No ConfigMap and no Secret is watched or kept. Those that look again take turns, namespace by namespace:
what is asked for in vain is bounded however many they are.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from agentjobs.api.agentjob import AgentJobSpec
from agentjobs.api.given import Given, InputProblem, given_of, sources_of
from agentjobs.controller.agentjob.look_turns import LookTurns, rest_seconds
from agentjobs.controller.agentjob.readable_kinds import ReadableKinds
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import AGENT_JOBS, CONFIG_MAPS, SECRETS
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import TASK_FAILURES
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""For all that one object refers to: an API server that does not answer keeps a slot no longer."""
SLOWEST_SECONDS = 60.0
"""Between two looks at what is missing; to that comes the wait for a turn, where hundreds of a namespace look again."""
SHARED_SECONDS = 2.0
"""Jobs that wait for the same object share an answer for that long, where it tells that the object is not there."""
PARALLEL = 16
"""Objects that are read, or whose files are not stored yet, at once: the most files in memory."""
PARALLEL_OF_A_NAMESPACE = 4


_RESOURCES = {one.kind: one for one in (CONFIG_MAPS, SECRETS, AGENT_JOBS)}

Ready = Callable[[Given | str], asyncio.Event]
"""Takes what was read, or why it cannot be had. The event is set once it is stored."""


@dataclass(slots=True)
class InputReader:
    """Reads ConfigMaps, Secrets and earlier AgentJobs for jobs."""

    api: ApiServer
    kinds: ReadableKinds = field(default_factory=ReadableKinds)
    first_seconds: float = 2.0
    """Until the first look again."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PARALLEL))
    _of_namespaces: WeakValueDictionary[str, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _turns: WeakValueDictionary[str, LookTurns] = field(default_factory=WeakValueDictionary)
    """By namespace."""
    _missing: dict[tuple[str, str, str], tuple[float, str]] = field(default_factory=dict)
    """By namespace, kind and name: when something that is not there was asked for, and why it cannot be had."""
    _awaited: dict[tuple[str, str], set[asyncio.Event]] = field(default_factory=dict)
    """By namespace and name of an AgentJob: what wakes those that wait for it."""

    def read(self, uid: str, namespace: str, spec: AgentJobSpec, ready: Ready) -> None:
        """Reads until everything is there, in the place of what was being read for the object before."""
        self.drop(uid)
        guarded = self._guarded(namespace, spec, ready, time.monotonic())
        task = asyncio.create_task(guarded, name=f"inputs of {uid}")
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._done(uid, done))

    def drop(self, uid: str) -> None:
        """Reads no more for an object."""
        if (task := self._tasks.pop(uid, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Ends all reading."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, uid: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(uid) is task:
            del self._tasks[uid]

    async def _guarded(self, namespace: str, spec: AgentJobSpec, ready: Ready, seen_at: float) -> None:
        try:
            await self._until_there(namespace, spec, ready, seen_at)
        except Exception:
            log.exception("what an object of namespace %s refers to cannot be read", namespace)
            self.api.meter.add(TASK_FAILURES, part="inputs")
            ready(
                "spec.inputs: an error of the operator, which its log has; restart it to have it read again"
            )

    def completed(self, namespace: str, name: str) -> None:
        """Looks again for those that wait for this AgentJob."""
        for wake in self._awaited.get((namespace, name), ()):
            wake.set()

    async def _until_there(self, namespace: str, spec: AgentJobSpec, ready: Ready, seen_at: float) -> None:
        wake, turns = asyncio.Event(), self._turns.setdefault(namespace, LookTurns())
        jobs = {(namespace, one.object_name) for _, one in sources_of(spec) if one.kind == AGENT_JOBS.kind}
        for job in jobs:
            self._awaited.setdefault(job, set()).add(wake)
        try:
            await self._look_until_there(namespace, spec, ready, seen_at, wake, turns)
        finally:
            turns.leave(wake)
            for job in jobs:
                self._awaited[job].discard(wake)
                if not self._awaited[job]:
                    del self._awaited[job]

    async def _look_until_there(
        self,
        namespace: str,
        spec: AgentJobSpec,
        ready: Ready,
        seen_at: float,
        wake: asyncio.Event,
        turns: LookTurns,
    ) -> None:
        """Looks at once, then after each delay in its turn; where it is woken, at once."""
        of_namespace = self._of_namespaces.setdefault(namespace, asyncio.Semaphore(PARALLEL_OF_A_NAMESPACE))
        since, delay = seen_at, self.first_seconds
        while True:
            wake.clear()
            async with of_namespace, self._slots:
                found = await self._look_in_turn(namespace, spec, since, wake, turns)
                stored = ready(found)
                if isinstance(found, Given):
                    await stored.wait()
                    return
            since = time.monotonic()
            if not await wait_for(wake, delay * random.uniform(0.8, 1.2)):
                turns.ask(wake)
                await wake.wait()
            delay = min(2 * delay, SLOWEST_SECONDS)

    async def _look_in_turn(
        self, namespace: str, spec: AgentJobSpec, since: float, wake: asyncio.Event, turns: LookTurns
    ) -> Given | str:
        """Looks, and then has the next one look, if this was a turn."""
        found: Given | str = ""
        asked: list[str] = []
        try:
            found = await self._look(namespace, spec, since, asked)
        finally:
            turns.leave(wake, rest_seconds(len(asked), found=isinstance(found, Given)))
        return found

    async def _look(self, namespace: str, spec: AgentJobSpec, since: float, asked: list[str]) -> Given | str:
        """What is there, or why not.

        :param since: when the object was seen, or looked for last: an answer that is shared was asked for later.
        :param asked: takes the names of what the API server is asked for.
        """
        objects: dict[tuple[str, str], JsonObject | str] = {}
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                for _, source in sources_of(spec):
                    key = (source.kind, source.object_name)
                    if key not in objects:
                        objects[key] = await self._object(namespace, *key, since, asked)
            return given_of(spec, objects)
        except InputProblem as problem:
            return str(problem)
        except (ApiUnavailable, TimeoutError):
            return "spec.inputs: the API server does not answer now; the operator asks it again"

    async def _object(
        self, namespace: str, kind: str, name: str, since: float, asked: list[str]
    ) -> JsonObject | str:
        if why := self.kinds.refusal(kind):
            return why
        key = (namespace, kind, name)
        asked_at, why = self._missing.get(key, (since, ""))
        now = time.monotonic()
        if why and asked_at > max(since, now - SHARED_SECONDS):
            return why
        resource = _RESOURCES[kind]
        asked.append(name)
        reply = await self.api.request("GET", resource.object(namespace, name), resource=resource.plural)
        if reply.ok:
            self._missing.pop(key, None)
            return reply.body
        if reply.busy:
            raise reply.unavailable
        why = (
            f"does not exist in namespace {namespace}: create it"
            if reply.status == 404
            else f"the operator may not read it ({reply.words}): grant its account get on {resource.plural}"
        )
        self._missing[key] = (now, why)
        self._forget_old(now)
        return why

    def _forget_old(self, now: float) -> None:
        if len(self._missing) > 1000:
            self._missing = {k: v for k, v in self._missing.items() if v[0] > now - SHARED_SECONDS}
