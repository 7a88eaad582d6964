"""Back-off of requests, by object and by namespace: what one is refused holds up no other.

Example: the status of job-1 in team-a is refused. It is tried again after half a second, a second, two
seconds; the other jobs of team-a are written meanwhile. Where three of them are refused and none is taken,
team-a waits as a whole, and asks with one object at a time. Other namespaces notice nothing. Only where no
connection can be made, or namespaces are refused all over with 429 or without an answer, everybody waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import (
    SEVERAL,
    Act,
    Answer,
    Call,
    Concerns,
    Decision,
    History,
    decide,
    growing,
)

K = TypeVar("K", bound=Hashable)

PARALLEL = 16
"""Requests under way at once in one namespace; in one that refuses: a single one."""
SLOW_SECONDS = 0.5
"""A namespace with several requests that are older gets no further ones until they are answered."""
LET_OTHERS_SHARE = 0.2
"""Of its namespace's pause: so much longer waits the object that was refused, so that another one is tried."""


WHO = {
    Concerns.OBJECT: "it",
    Concerns.NAMESPACE: "its namespace",
    Concerns.EVERYBODY: "everybody",
}
"""For log lines."""


@dataclass(slots=True)
class Delay:
    """Of one object."""

    until: float = 0.0
    refusals: int = 0


@dataclass(slots=True)
class Namespace(Generic[K]):
    """What is known of one namespace in which something is under way, or was refused."""

    under_way: dict[K, float] = field(default_factory=dict)
    """With the times at which they began."""
    forgotten: set[K] = field(default_factory=set)
    """Of those under way: whatever comes of them is not remembered."""
    delays: dict[K, Delay] = field(default_factory=dict)
    refused: set[K] = field(default_factory=set)
    """Those with a delay that were refused since the last one was taken."""
    pauses: int = 0
    """In a row. Until one is taken, a single request is under way at a time."""
    until: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is known. Without an object that waits, a pause is nobody's."""
        return not self.under_way and not self.delays


@dataclass(slots=True)
class Backoff(Generic[K]):
    """``K``: what names an object. Times are monotonic, passed in; it decides nothing: ``decide`` does.

    A ``namespace`` is whatever waits together: a caller that asks about several kinds names the kind too.

    It remembers objects that are under way, or wait, and their namespaces; so whoever asks for objects that can be
    deleted calls ``forget`` when they are.
    """

    parallel: int = PARALLEL
    slow_seconds: float = SLOW_SECONDS
    jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.0)
    _namespaces: dict[str, Namespace[K]] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    """Namespaces that were refused since anything was taken anywhere."""
    _everybody_until: float = 0.0
    _everybody_pauses: int = 0
    _unreachable: bool = False
    """Whether the pause is also for namespaces that were not refused."""

    # who may ask -------------------------------------------------------------------------------------

    def may_start(self, namespace: str, key: K, now: float) -> bool:
        """Whether this object may be asked for now."""
        delay = self._delay(namespace, key)
        return (delay is None or delay.until <= now) and self._open(namespace, now)

    def start(self, namespace: str, key: K, now: float) -> None:
        """Counts a request as under way, until ``taken`` or ``ended``; ``now``: when it is made, which may be told
        later once more."""
        self._namespaces.setdefault(namespace, Namespace()).under_way[key] = now

    def is_under_way(self, namespace: str, key: K) -> bool:
        """Whether a request for this object has begun and not ended."""
        known = self._namespaces.get(namespace)
        return known is not None and key in known.under_way

    def goes_on(self, namespace: str, now: float) -> bool:
        """Whether a request that was started, and waited for its turn since, may still be made."""
        known = self._namespaces.get(namespace)
        return not self.everybody_seconds(now) and (known is None or now >= known.until)

    def room(self, now: float) -> int:
        """So many more requests may be started in each namespace that is not closed."""
        closed = self.closed(now)
        busiest = (len(known.under_way) for name, known in self._namespaces.items() if name not in closed)
        return self.parallel - max(busiest, default=0)

    def _open(self, namespace: str, now: float, *, full: bool = True) -> bool:
        """``full``: whether a namespace with as many requests as it may have counts as closed."""
        if now < self._everybody_until and (self._unreachable or namespace in self._refused):
            return False
        known = self._namespaces.get(namespace)
        if known is None:
            return True
        if known.pauses or full:
            return now >= known.until and len(known.under_way) < (1 if known.pauses else self.parallel)
        return now >= known.until

    def closed(self, now: float) -> list[str]:
        """Namespaces of which no request may begin now: what they are refused holds them up, or several
        requests of theirs have been waiting for their answers."""
        return [
            name
            for name, known in self._namespaces.items()
            if not self._open(name, now, full=False)
            or sum(asked_at < now - self.slow_seconds for asked_at in known.under_way.values()) >= SEVERAL
        ]

    def under_way(self, now: float) -> int:
        """Requests under way, those of closed namespaces left out."""
        closed = self.closed(now)
        return sum(len(known.under_way) for name, known in self._namespaces.items() if name not in closed)

    def delayed(self, now: float) -> Iterator[K]:
        """Objects that wait for their own sake."""
        return (
            key
            for known in self._namespaces.values()
            for key, delay in known.delays.items()
            if delay.until > now
        )

    def everybody_seconds(self, now: float) -> float:
        """What is left of a pause of all, because no connection could be made; 0: none."""
        return max(0.0, self._everybody_until - now) if self._unreachable else 0.0

    def seconds(self, namespace: str, key: K, now: float) -> float:
        """Until this object may be asked for, if nothing else happens; at least a little where a request of
        its namespace has to end first."""
        waits = [self.everybody_seconds(now)]
        if namespace in self._refused:
            waits.append(self._everybody_until - now)
        if (known := self._namespaces.get(namespace)) is not None:
            waits.append(known.until - now)
            if (delay := known.delays.get(key)) is not None:
                waits.append(delay.until - now)
        return max(0.0, *waits)

    def next_seconds(self, now: float, default: float) -> float:
        """Until the first of those that wait may be asked for, at most ``default``."""
        untils = [self._everybody_until, *(n.until for n in self._namespaces.values())]
        untils += [delay.until for n in self._namespaces.values() for delay in n.delays.values()]
        return min((until - now for until in untils if until > now), default=default)

    # what came of it ---------------------------------------------------------------------------------

    def history(self, namespace: str, key: K, *, reduced: bool = False, confirmed: bool = False) -> History:
        """What ``decide`` wants to know of the past."""
        known = self._namespaces.get(namespace)
        return History(
            refusals=self.refusals(namespace, key),
            reduced=reduced,
            confirmed=confirmed,
            objects=len(known.refused) - (key in known.refused) if known else 0,
            pauses=known.pauses if known else 0,
            namespaces=len(self._refused - {namespace}),
            everybody_pauses=self._everybody_pauses,
        )

    def taken(self, namespace: str, key: K) -> None:
        """The API server has done what it was asked: whoever waited for a sign of life need not any more."""
        self._refused.clear()
        self._everybody_until, self._everybody_pauses, self._unreachable = 0.0, 0, False
        known = self._namespaces.get(namespace)
        if known is not None:
            known.delays.pop(key, None)
            if known.pauses:
                for delay in known.delays.values():
                    delay.until = 0.0
            known.refused.clear()
            known.pauses, known.until = 0, 0.0
        self.ended(namespace, key)

    def decide(
        self,
        call: Call,
        answer: Answer,
        namespace: str,
        key: K,
        now: float,
        *,
        reduced: bool = False,
        confirmed: bool = False,
    ) -> Decision:
        """Decides, and has those wait whom the decision concerns; it tells for how long."""
        history = self.history(namespace, key, reduced=reduced, confirmed=confirmed)
        decision = decide(call, answer, history)
        if decision.act is Act.DONE:
            self.taken(namespace, key)
        if decision.act is not Act.RETRY:
            return decision
        seconds = decision.seconds * self.jitter()
        known = self._namespaces.setdefault(namespace, Namespace())
        if key in known.forgotten:
            self.ended(namespace, key)
            return Decision(decision.act, decision.concerns, seconds)
        delay = known.delays.setdefault(key, Delay())
        delay.until = now + seconds
        if decision.concerns is not Concerns.EVERYBODY:
            delay.refusals += 1
        self._refused.add(namespace)
        known.refused.add(key)
        if decision.concerns is Concerns.EVERYBODY:
            delay.until = 0.0
            self._unreachable = isinstance(answer, ApiUnavailable) and answer.unreachable
            if now >= self._everybody_until:
                self._everybody_pauses += 1
                self._everybody_until = now + seconds
        elif decision.concerns is Concerns.NAMESPACE:
            delay.until += LET_OTHERS_SHARE * seconds
            if now >= known.until:
                known.pauses += 1
                known.until = now + seconds
        self.ended(namespace, key)
        return Decision(decision.act, decision.concerns, seconds)

    def postpone(self, namespace: str, key: K, now: float) -> int:
        """This object alone waits, for a reason of the caller's; returns how often in a row."""
        known = self._namespaces.setdefault(namespace, Namespace())
        delay = Delay() if key in known.forgotten else known.delays.setdefault(key, Delay())
        delay.until = now + growing(delay.refusals) * self.jitter()
        delay.refusals += 1
        self.ended(namespace, key)
        return delay.refusals

    def ended(self, namespace: str, key: K) -> None:
        """The request is no more under way, whatever came of it."""
        known = self._namespaces.get(namespace)
        if known is not None:
            known.under_way.pop(key, None)
            known.forgotten.discard(key)
            self._drop_if_idle(namespace, known)

    def refusals(self, namespace: str, key: K) -> int:
        """Of this object, in a row."""
        delay = self._delay(namespace, key)
        return delay.refusals if delay else 0

    def knows(self, namespace: str, key: K) -> bool:
        """Whether this object is under way, or was refused."""
        return self.is_under_way(namespace, key) or self._delay(namespace, key) is not None

    def forget(self, namespace: str, key: K) -> None:
        """Nothing more is asked for this object: what is under way for it ends without a trace. A namespace that
        refuses others stays held."""
        known = self._namespaces.get(namespace)
        if known is not None:
            known.delays.pop(key, None)
            known.refused.discard(key)
            if key in known.under_way:
                known.forgotten.add(key)
            self._drop_if_idle(namespace, known)

    def _delay(self, namespace: str, key: K) -> Delay | None:
        known = self._namespaces.get(namespace)
        return known.delays.get(key) if known is not None else None

    def _drop_if_idle(self, namespace: str, known: Namespace[K]) -> None:
        if known.idle:
            del self._namespaces[namespace]
            self._refused.discard(namespace)


def worth_a_line(refusals: int) -> bool:
    """Whether the log tells of so many refusals in a row: of the first, the second, the fourth, and so on."""
    return refusals.bit_count() == 1 or refusals % 64 == 0
