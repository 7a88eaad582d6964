"""The watch: kopf, in a thread of its own, hands every watch event of the two kinds to the operator.

kopf watches and nothing else: one ``on.event`` per kind, no finalizers, no writes. Its thread has a loop
of its own, because kopf cancels every task that was created in its loop after it started. This module
starts kopf again where kopf ends and an operator must not: a CRD is deleted, or the API server answers 5xx
for longer than kopf's back-offs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import kopf

from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer, load_configuration
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.controller.apiserver.watch_event import WatchEvent
from agentjobs.controller.metrics.counters import TASK_FAILURES

log = logging.getLogger(__name__)
# It warns that it takes no signals in a thread, at each start: that is what is wanted here.
logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
# A line per event that says no more than that it came.
for _name in ("kopf.objects", "kopf.activities", "kopf._core.engines.activities"):
    logging.getLogger(_name).setLevel(logging.WARNING)


RETRY_SECONDS = (1.0, 1.0, 2.0, 3.0, 5.0)
STOP_SECONDS = 3.0


class Endless:
    """Back-offs without an end, and iterable again and again: kopf shares the object between requests, and
    exits the process when it is exhausted."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1]))


class NoDiffBase(kopf.DiffBaseStorage):
    """kopf copies each object per event to find differences for handlers that we do not have."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """Nothing is kept on the object."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def watch_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no watch on CRDs and namespaces, no cluster-wide RBAC for it
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = None  # it would kill us, not itself
    settings.queueing.idle_timeout = 0.05  # two tasks per recently seen object live this long
    settings.queueing.exit_timeout = 0.5
    settings.networking.error_backoffs = Endless()
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 60
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 5
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.consistency_timeout = 0
    return settings


@dataclass(slots=True)
class ObjectWatch:
    """Gives every watch event of the kinds to ``sink``, on the loop that ``run`` was called in."""

    api: ApiServer
    kinds: Sequence[Resource]
    namespaces: Sequence[str]
    sink: Callable[[list[WatchEvent]], None]
    listed: bool = False
    """True while a watch is up."""
    _buffer: deque[WatchEvent] = field(default_factory=deque)
    _scheduled: bool = False

    async def run(self) -> None:
        """Watches until cancelled, whatever happens to the API server."""
        failures = 0
        while True:
            await self._until_listable()
            started = time.monotonic()
            error = await self._watch_once()
            self.listed = False
            failures = 0 if time.monotonic() - started > 60 else failures + 1
            delay = min(2**failures, 30)
            self.api.meter.add(TASK_FAILURES, part="watch")
            log.warning("the watch ended (%s); starting it again in %s s", error or "no error", delay)
            await asyncio.sleep(delay)

    async def _until_listable(self) -> None:
        """Waits for the API server, the CRDs and RBAC: kopf would look once and then never again."""
        said = ""
        for delay in Endless():
            problem = await self._problem()
            if not problem:
                return
            if problem != said:
                log.warning("cannot watch yet: %s", problem)
                said = problem
            await asyncio.sleep(delay)

    async def _problem(self) -> str:
        for kind in self.kinds:
            for namespace in self.namespaces or (None,):
                path = kind.collection(namespace)
                try:
                    reply = await self.api.request(
                        "GET", path, resource=kind.plural, accept=METADATA_LIST, params={"limit": "1"}
                    )
                except ApiUnavailable as error:
                    return str(error)
                if reply.status == 404:
                    return f"the CRD {kind.plural}.{kind.group} is not installed: run `agentjobs crds | kubectl apply --server-side -f -`"
                if not reply.ok:
                    return f"GET {path}: {reply.status} {reply.message}"
        return ""

    async def _watch_once(self) -> BaseException | None:
        """Runs kopf once, in a thread; returns what ended it."""
        main = asyncio.get_running_loop()
        ended: asyncio.Future[BaseException | None] = main.create_future()
        life = _Life(self, main, ended)
        thread = threading.Thread(target=life.run, name="watch", daemon=True)
        thread.start()
        try:
            return await asyncio.shield(ended)
        finally:
            # a daemon thread: one that does not end in time holds nobody up
            life.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)

    def enqueue(self, seen: WatchEvent, main: asyncio.AbstractEventLoop) -> None:
        """Called from kopf's thread: buffers a watch event, and wakes the main loop once for many."""
        self._buffer.append(seen)
        if not self._scheduled:
            self._scheduled = True
            with contextlib.suppress(RuntimeError):  # the main loop is gone: we are ending
                main.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        batch: list[WatchEvent] = []
        with contextlib.suppress(IndexError):
            while True:
                batch.append(self._buffer.popleft())
        if batch:
            self.sink(batch)


@dataclass(slots=True)
class _Life:
    """One run of kopf in its thread."""

    watch: ObjectWatch
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
        with contextlib.suppress(RuntimeError):
            self.main.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def stop(self) -> None:
        self._stopped = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

    async def _operate(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped:
            return
        namespaces = tuple(self.watch.namespaces)
        self.watch.listed = True
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

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await _credentials(self.watch.api.kubeconfig)

        kopf.on.login(registry=registry)(login)
        for kind in self.watch.kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(self._handler(kind))
        return registry

    def _handler(self, kind: Resource) -> Callable[..., Awaitable[None]]:
        async def seen(event: Any, **_: Any) -> None:
            what = WatchEvent(event["object"], event["type"] == "DELETED", event["type"] is None, kind)
            self.watch.enqueue(what, self.main)

        return seen


async def _credentials(kubeconfig: str | None) -> kopf.ConnectionInfo:
    """The same credentials as our own sessions, read again at each login (kopf logs in anew after a 401)."""
    configuration = await load_configuration(kubeconfig)
    token = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, value = token.rpartition(" ") if token else ("", "", None)
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme or ("Bearer" if value else None),
        token=value,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy or None,
    )
