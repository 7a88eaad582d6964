"""The watches: kopf, a life of its own for each kind and namespace; its session hands watch events to the operator.

kopf watches and nothing else: no handler is called, no finalizers, no writes. Each life has a thread and a loop
of its own, because kopf cancels every task that was created in its loop after it started, and ends all its
watches where one cannot go on. So a CRD that is missing, or a namespace that is forbidden, stops no other
watch. This module starts a life again where it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import kopf

from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Call, History, decide
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent, without_managed_fields
from agentjobs.controller.apiserver.watch_session import watch_session
from agentjobs.controller.metrics.counters import API_REQUESTS, TASK_FAILURES
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)
# It warns that it takes no signals in a thread, at each start: that is what is wanted here.
logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
# A line per event that says no more than that it came.
for _name in ("kopf.objects", "kopf.activities", "kopf._core.engines.activities"):
    logging.getLogger(_name).setLevel(logging.WARNING)


MOST_WAITING = 2000
"""Objects of a kind that wait to be marked or stored: beyond so many no further ones are read, but for a page of each scope that is on its way."""
LOOK_SECONDS = 0.02
"""Until the next look whether there is room again."""
STOP_SECONDS = 3.0
STEADY_SECONDS = 60.0
"""A watch that was up for so long begins anew after a short delay."""


def watch_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no watch on CRDs and namespaces, no cluster-wide RBAC for it
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None  # it would kill us, not itself
    settings.networking.error_backoffs = ()  # the session waits: see ``watch_session``
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = None
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 5
    return settings


@dataclass(slots=True)
class ObjectWatch:
    """Gives every watch event of the kinds to ``sink``, on the loop that ``run`` was called in."""

    api: ApiServer
    kinds: Sequence[Resource]
    namespaces: Sequence[str]
    sink: Callable[[list[WatchEvent]], None]
    waiting: Callable[[Resource], int] = lambda kind: 0
    """How many objects of a kind ``sink`` was given, and has not stored."""
    scopes: list[ScopeWatch] = field(init=False)
    _buffer: deque[WatchEvent] = field(default_factory=deque)
    _scheduled: bool = False
    _full: set[Resource] = field(default_factory=set)
    """Kinds of which too many objects wait."""

    def __post_init__(self) -> None:
        self.scopes = [
            ScopeWatch(self, kind, namespace)
            for kind in self.kinds
            for namespace in (sorted(set(self.namespaces)) or (None,))
        ]

    async def run(self) -> None:
        """Watches until cancelled, whatever happens to the API server."""
        async with asyncio.TaskGroup() as group:
            for scope in self.scopes:
                group.create_task(scope.run(), name=f"watch of {scope.name}")

    @property
    def ready(self) -> bool:
        """Whether everything is watched that can be, and that is something."""
        return any(scope.listed for scope in self.scopes) and all(
            scope.listed or scope.problem for scope in self.scopes
        )

    @property
    def problems(self) -> Mapping[str, str]:
        """What cannot be watched, and why; empty texts: it is not listed yet."""
        return {scope.name: scope.problem for scope in self.scopes if not scope.listed}

    def enqueue(self, seen: WatchEvent, main: asyncio.AbstractEventLoop) -> None:
        """Called from kopf's threads: buffers a watch event, and wakes the main loop once for many."""
        self._buffer.append(seen)
        if not self._scheduled:
            self._scheduled = True
            with contextlib.suppress(RuntimeError):  # the main loop is gone: we are ending
                main.call_soon_threadsafe(self._drain)

    def has_room(self, kind: Resource) -> bool:
        """Whether further objects may be read. Called from kopf's threads."""
        return kind not in self._full and len(self._buffer) < MOST_WAITING

    def listing(self, kind: Resource) -> bool:
        """Whether objects that exist may not have been brought yet, and are on their way."""
        return any(scope.kind == kind and not scope.listed and not scope.problem for scope in self.scopes)

    def _look(self) -> None:
        """Looks whether there is room, again and again while there is none for a kind."""
        self._full = {kind for kind in self.kinds if self.waiting(kind) >= MOST_WAITING}
        if self._full:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _drain(self) -> None:
        self._scheduled = False
        batch: list[WatchEvent] = []
        with contextlib.suppress(IndexError):
            while True:
                batch.append(self._buffer.popleft())
        if batch:
            self.sink(batch)
        if not self._full:  # else it looks already
            self._look()


@dataclass(slots=True)
class ScopeWatch:
    """The watch of one kind in one namespace, or in all."""

    watch: ObjectWatch
    kind: Resource
    namespace: str | None
    listed: bool = False
    """True while it is up: the objects are listed, and the API server takes the watch."""
    problem: str = ""
    """Why it is not up, in the API server's words."""
    _refusals: int = 0
    """In a row."""

    @property
    def name(self) -> str:
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        return f"{self.kind.plural} in {where}"

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            await self._until_listable()
            started = asyncio.get_running_loop().time()
            error = await self._watch_once()
            if asyncio.get_running_loop().time() - started > STEADY_SECONDS:
                self._refusals = 0
            self.watch.api.meter.add(TASK_FAILURES, part="watch")
            await asyncio.sleep(
                self.refused(Call.WATCH, ApiUnavailable(f"the watch ended: {error or 'no error'}"))
            )

    async def _until_listable(self) -> None:
        """Waits for the CRD and RBAC: kopf would look once and then never again."""
        while True:
            answer = await self._look()
            if answer is None:
                return
            await asyncio.sleep(self.refused(Call.LIST, answer))

    async def _look(self) -> ApiUnavailable | None:
        path = self.kind.collection(self.namespace)
        try:
            reply = await self.watch.api.request(
                "GET", path, resource=self.kind.plural, accept=METADATA_LIST, params={"limit": "1"}
            )
        except ApiUnavailable as error:
            return error
        if reply.ok:
            return None
        words = f"LIST {path}: {reply.words}"
        if reply.status == 404:
            words = (
                f"the CRD {self.kind.plural}.{self.kind.group} is not installed: "
                f"run `agentjobs crds | kubectl apply --server-side -f -` ({reply.words})"
            )
        return ApiUnavailable(words, reply.retry_after_seconds, status=reply.status)

    def answered(self, call: Call) -> None:
        """The API server does what it was asked; a watch that it takes is up."""
        if call is Call.WATCH:
            if self.problem:
                log.info("%s: watched again", self.name)
            self.listed, self.problem, self._refusals = True, "", 0

    def refused(self, call: Call, answer: ApiUnavailable) -> float:
        """Notes why it is not up; returns for how many seconds to wait. Also called in kopf's thread."""
        seconds = decide(call, answer, History(refusals=self._refusals)).seconds * random.uniform(0.8, 1.0)
        self._refusals += 1
        if str(answer) != self.problem:
            log.warning("cannot watch %s: %s", self.name, answer)
        self.listed, self.problem = False, str(answer)
        return seconds

    async def _watch_once(self) -> BaseException | None:
        """Runs kopf once, in a thread; returns what ended it."""
        main = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = main.create_future()
        life = _Life(self, main, ended)
        thread = threading.Thread(target=life.run, name=f"watch of {self.name}", daemon=True)
        thread.start()
        try:
            return await asyncio.shield(ended)
        finally:
            # a daemon thread: one that does not end in time holds nobody up
            life.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)


@dataclass(slots=True)
class _Life:
    """One run of kopf in its thread; it hears of the session's answers."""

    scope: ScopeWatch
    main: asyncio.AbstractEventLoop
    ended: asyncio.Future[BaseException | None]
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None
    _stopped: bool = False

    def run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except BaseException as problem:
            error = problem
        self._tell(self._finish, error)

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        """On the main loop; nobody is there to be told once that has ended."""
        with contextlib.suppress(RuntimeError):
            self.main.call_soon_threadsafe(what, *args)

    def _finish(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def stop(self) -> None:
        self._stopped = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

    # the session's answers ---------------------------------------------------------------------------

    def answered(self, call: Call, status: int) -> None:
        self._count(call, str(status))
        self._tell(self._unless_stopped, partial(self.scope.answered, call))

    def refused(self, call: Call, answer: ApiUnavailable) -> float:
        self._count(call, str(answer.status or "unavailable"))
        return self.scope.refused(call, answer)

    async def room(self) -> None:
        while not self.scope.watch.has_room(self.scope.kind):  # noqa: ASYNC110 - the answer is another loop's
            await asyncio.sleep(LOOK_SECONDS)

    def _unless_stopped(self, what: Callable[[], None]) -> None:
        if not self._stopped:
            what()

    def _count(self, call: Call, result: str) -> None:
        add = self.scope.watch.api.meter.add
        verb, resource = call.value.upper(), self.scope.kind.plural
        self._tell(partial(add, API_REQUESTS, verb=verb, resource=resource, result=result))

    # kopf --------------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped:
            return
        namespaces = (self.scope.namespace,) if self.scope.namespace else ()
        await kopf.operator(
            registry=self._registry(),
            settings=watch_settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=self._stop,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.AiohttpSession:
            configuration = await self.scope.watch.api.configuration()
            session = watch_session(configuration, self, self._seen)
            return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)

        kopf.on.login(registry=registry)(login)

        async def nothing(**_: Any) -> None:
            """Has kopf watch this kind; it is never called, for the session keeps the objects from kopf."""

        kind = self.scope.kind
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(nothing)
        return registry

    def _seen(self, body: JsonObject, type_: str | None) -> None:
        what = WatchEvent(
            without_managed_fields(body, self.scope.kind), type_ == "DELETED", type_ is None, self.scope.kind
        )
        self.scope.watch.enqueue(what, self.main)
