"""The event recorder: Kubernetes Events of both kinds wait here until the API server takes them.

Events are best effort, as everywhere in Kubernetes. Example: EventRateLimit answers 429 to the Events of
one namespace; the statuses of its jobs are written as ever, Events of other namespaces are posted as ever,
and its own are tried again until it takes them. So each namespace (and kind) has a queue and a back-off of
its own.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from agentjobs.controller.apiserver.client import METADATA_ONLY, ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import SLOWEST_SECONDS, Act, Call, decide, growing
from agentjobs.controller.apiserver.resources import EVENTS, Resource
from agentjobs.controller.kit.backoff import worth_a_line
from agentjobs.controller.kit.event import ObjectEvent, body_of
from agentjobs.controller.kit.periodic import wait_for
from agentjobs.controller.metrics.counters import EVENTS_DROPPED, TASK_FAILURES, Counters

log = logging.getLogger(__name__)

BACKLOG = 5_000
"""Events in memory, some 10 MB. Beyond it the oldest Event of the namespace with the most waiting is
dropped."""
KEPT_SECONDS = 3600.0
"""The API server itself keeps an Event for an hour (--event-ttl): an older one is dropped."""
PARALLEL = 256
PARALLEL_IN_SCOPE = 8
"""Posts under way at once, of all and of one namespace; of one that refuses: a single one. There is room for
many namespaces that give no answer."""
POST_SECONDS = 10.0
"""A post without an answer by then is tried again: the admission webhook of one namespace may be silent."""
SLOWEST_DELAY_SECONDS = SLOWEST_SECONDS
HELD_LOOK_SECONDS = 0.25
"""How often Events that are held back are looked at."""

Scope = tuple[Resource, str]
"""The kind of the Event's object, and its namespace."""


@dataclass(slots=True, eq=False)
class PendingEvent:
    """One Event that is not posted yet."""

    event: ObjectEvent
    recorded_at: float
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the API server has answered for the first time, or where the Event has to wait for others."""

    @property
    def scope(self) -> Scope:
        return (self.event.resource, self.event.ref.namespace)


@dataclass(slots=True)
class ScopeQueue:
    """The Events of one namespace and kind, oldest first; one that was refused goes to the end."""

    waiting: deque[PendingEvent] = field(default_factory=deque)
    posting: int = 0
    failures: int = 0
    """Refusals in a row."""
    retry_at: float = 0.0

    def room(self, now: float) -> bool:
        """Whether one more may be posted now."""
        if not self.waiting or now < self.retry_at:
            return False
        return self.posting < (1 if self.failures else PARALLEL_IN_SCOPE)


@dataclass(slots=True)
class EventQueue:
    """Which Event is posted when: pure, times are monotonic and passed in."""

    backlog: int = BACKLOG
    dropped: dict[str, int] = field(default_factory=lambda: {"full": 0, "old": 0})
    """Events that were never posted, by reason."""
    _scopes: OrderedDict[Scope, ScopeQueue] = field(default_factory=OrderedDict)
    _waiting: int = 0
    _posting: int = 0

    def __len__(self) -> int:
        return self._waiting + self._posting

    def put(self, pending: PendingEvent, now: float) -> None:
        """Adds an Event; where the queue is full, the oldest of the longest scope makes room."""
        if self._waiting >= self.backlog:
            longest = max(self._scopes.values(), key=lambda scope: len(scope.waiting))
            self._drop(longest, "full")
        scope = self._scopes.setdefault(pending.scope, ScopeQueue())
        scope.waiting.append(pending)
        self._waiting += 1
        if scope.failures:
            pending.tried.set()

    def start(
        self, now: float, held: Callable[[Resource], bool] = lambda resource: False
    ) -> PendingEvent | None:
        """The next Event to be posted, and counted as under way; None: there is none now. Scopes take
        turns."""
        if self._posting >= PARALLEL:
            return None
        for key, scope in self._scopes.items():
            if scope.room(now) and not held(key[0]):
                pending = scope.waiting.popleft()
                self._waiting -= 1
                self._posting += 1
                scope.posting += 1
                self._scopes.move_to_end(key)
                return pending
        return None

    def answered(self, pending: PendingEvent) -> None:
        """The Event is posted, exists already, or is refused for good: nothing more is to be done."""
        scope = self._end(pending)
        scope.failures, scope.retry_at = 0, 0.0
        pending.tried.set()
        if not scope.waiting and not scope.posting:
            del self._scopes[pending.scope]

    def refused(self, pending: PendingEvent, now: float, retry_after_seconds: float | None = None) -> float:
        """The Event and its scope wait; for how many seconds."""
        scope = self._end(pending)
        seconds = max(
            growing(scope.failures) * random.uniform(0.8, 1.0),
            min(retry_after_seconds or 0.0, SLOWEST_DELAY_SECONDS),
        )
        scope.failures += 1
        scope.retry_at = now + seconds
        scope.waiting.append(pending)
        self._waiting += 1
        for one in scope.waiting:
            one.tried.set()
        return seconds

    def failures(self, scope: Scope) -> int:
        """Refusals in a row."""
        found = self._scopes.get(scope)
        return found.failures if found else 0

    def expire(self, now: float) -> None:
        """Drops what the API server would keep no longer."""
        for key, scope in list(self._scopes.items()):
            while scope.waiting and scope.waiting[0].recorded_at < now - KEPT_SECONDS:
                self._drop(scope, "old")
            if not scope.waiting and not scope.posting:
                del self._scopes[key]

    def next_seconds(self, now: float, held: Callable[[Resource], bool] = lambda resource: False) -> float:
        """Until ``start`` may find more, if nothing else happens."""
        seconds = KEPT_SECONDS
        for (kind, _), scope in self._scopes.items():
            if scope.waiting and held(kind):
                seconds = min(seconds, HELD_LOOK_SECONDS)
            elif scope.waiting and scope.retry_at > now:
                seconds = min(seconds, scope.retry_at - now)
        return seconds

    def _end(self, pending: PendingEvent) -> ScopeQueue:
        scope = self._scopes[pending.scope]
        scope.posting -= 1
        self._posting -= 1
        return scope

    def _drop(self, scope: ScopeQueue, reason: str) -> None:
        scope.waiting.popleft().tried.set()
        self._waiting -= 1
        self.dropped[reason] += 1


class EventRecorder:
    """Posts Events. ``record`` never waits; ``run`` posts until cancelled, and what waits then is lost."""

    def __init__(
        self,
        post: Callable[[ObjectEvent], Awaitable[None]],
        meter: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
        held: Callable[[Resource], bool] = lambda resource: False,
        backlog: int = BACKLOG,
    ) -> None:
        """``post`` raises ApiUnavailable where the Event is to be tried again.

        ``held``: Events on objects of this kind wait now, because something more urgent asks the API server.
        """
        self._post = post
        self._meter = meter
        self._clock = clock
        self._held = held
        self._queue = EventQueue(backlog)
        self._wake = asyncio.Event()
        self._counted = dict(self._queue.dropped)

    def __len__(self) -> int:
        """Events that are not posted yet."""
        return len(self._queue)

    def record(self, event: ObjectEvent) -> None:
        """Takes an Event over; what becomes of it concerns the caller no more."""
        self._put(event)

    async def record_and_wait(self, events: Iterable[ObjectEvent], seconds: float) -> None:
        """Records these, and returns once each had its first answer; at most after ``seconds``.

        Where the API server takes Events, whoever then notes down that they are posted notes down the
        truth, also if the process dies. Where it refuses them, nobody is kept waiting.
        """
        pending = [self._put(event) for event in events]
        try:
            async with asyncio.timeout(seconds):
                for one in pending:
                    await one.tried.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Posts until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._queue.expire(self._clock())
                while (pending := self._queue.start(self._clock(), self._held)) is not None:
                    group.create_task(self._try(pending))
                self._count_dropped()
                self._wake.clear()
                await wait_for(self._wake, self._queue.next_seconds(self._clock(), self._held))

    def _put(self, event: ObjectEvent) -> PendingEvent:
        now = self._clock()
        pending = PendingEvent(event, now)
        self._queue.put(pending, now)
        self._count_dropped()
        self._wake.set()
        return pending

    async def _try(self, pending: PendingEvent) -> None:
        try:
            async with asyncio.timeout(POST_SECONDS):
                await self._post(pending.event)
            self._queue.answered(pending)
        except (ApiUnavailable, TimeoutError) as error:
            asked = error.retry_after_seconds if isinstance(error, ApiUnavailable) else None
            seconds = self._queue.refused(pending, self._clock(), asked)
            if worth_a_line(self._queue.failures(pending.scope)):
                log.warning(
                    "Events on %s of namespace %s wait %.1f s; that on %s: %s",
                    pending.event.resource.plural,
                    pending.event.ref.namespace,
                    seconds,
                    pending.event.ref.name,
                    str(error) or f"no answer within {POST_SECONDS:.0f} s",
                )
        except Exception:
            # a bug in one Event must not stop the others
            log.exception("an Event could not be posted", extra={"job": str(pending.event.uid)})
            self._meter.add(TASK_FAILURES, part="events")
            self._queue.answered(pending)
        finally:
            self._wake.set()

    def _count_dropped(self) -> None:
        for reason, count in self._queue.dropped.items():
            new = count - self._counted[reason]
            if new:
                if not self._counted[reason]:
                    log.warning("Events are dropped: the API server takes too few of them (%s)", reason)
                self._counted[reason] = count
                self._meter.add(EVENTS_DROPPED, new, reason=reason)


async def post_event(api: ApiServer, event: ObjectEvent) -> None:
    """Posts an Event once. Raises ApiUnavailable where it is to be tried again."""
    reply = await api.request(
        "POST",
        EVENTS.collection(event.ref.namespace),
        resource=EVENTS.plural,
        body=body_of(event),
        accept=METADATA_ONLY,
    )
    act = decide(Call.EVENT, reply).act
    if act is Act.RETRY:
        raise reply.unavailable
    if act is Act.GIVE_UP:
        log.warning(
            "the Event %s on %s %s/%s is given up: %s",
            event.reason.value,
            event.resource.plural,
            event.ref.namespace,
            event.ref.name,
            reply.words,
        )
