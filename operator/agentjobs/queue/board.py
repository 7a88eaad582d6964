"""The board: each queue with what waits and runs in it, the live workers, the models that are held up; and what has ended, by the
minute. A part of Queue.

The counts are exact, and of one moment. A board reads every job that waits; ``board_counts`` does that once for all namespaces, so a
process that serves many people keeps its answer for a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from agentjobs.queue import replies
from agentjobs.queue.breakers import Breaker, Breakers
from agentjobs.queue.records import State

SeriesKey = Literal["queue", "namespace", "agent", "model", "reason"]

_BOARD = "select waits, runs, workers, queues from agentjobs.board(%s)"
_SERIES = "select minute, key, state, n, tokens, seconds from agentjobs.series(%s, %s, %s, %s, %s)"
_MINUTE, _FIVE_MINUTES, _HOUR = timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1)
_PART, _PART_OF_FIVES, _PART_OF_HOURS = timedelta(hours=6), timedelta(days=2), timedelta(days=14)
"""How much of a series one statement reads: of its minutes, or of sums of five minutes, or of hours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class QueueOnBoard:
    """One queue. ``states`` counts its unfinished jobs, or those of the board's namespace; the rest is the whole queue's."""

    name: str
    states: Mapping[State, int]
    slots: int
    """Slots of all live workers."""
    limit: int | None
    """The limit on running jobs; None: none."""
    paused_at: datetime | None
    paused_by: str
    paused_reason: str
    oldest_wait_seconds: float
    """How long the oldest of its ready jobs has waited; 0: none is ready."""

    @property
    def running(self) -> int:
        return self.states.get(State.RUNNING, 0)

    @property
    def waiting(self) -> int:
        """All that are unfinished and do not run."""
        return sum(self.states.values()) - self.running


@dataclass(frozen=True, slots=True)
class WorkerOnBoard:
    """One live process; an operator has no slots."""

    id: UUID
    name: str
    pool: str
    slots: Mapping[str, int]
    version: str
    started_at: datetime
    silent_seconds: float
    """Since its last beat."""
    running: int
    accepting: bool
    """It takes new jobs; False: it drains, or cannot start runs yet."""


@dataclass(frozen=True, slots=True)
class Board:
    """Queues by name, workers by name, open breakers."""

    queues: Sequence[QueueOnBoard]
    workers: Sequence[WorkerOnBoard]
    breakers: Sequence[Breaker]


@dataclass(frozen=True, slots=True)
class BoardCounts:
    """The numbers of all namespaces, of which each one's board is made."""

    states: Mapping[tuple[str, str], Mapping[State, int]]
    """Unfinished jobs, by namespace ("": without an object) and queue."""
    oldest: Mapping[tuple[str, str], float]
    """Seconds that the oldest ready job has waited."""
    known: Mapping[str, tuple[datetime | None, str, str, int | None]]
    """Queues that were ever paused or limited: since when, by whom, why, limit."""
    workers: Sequence[WorkerOnBoard]
    breakers: Sequence[Breaker]

    def board(self, namespace: str | None) -> Board:
        """The board of one namespace: the queues in which it has unfinished jobs. None: of all, and every queue that is known."""
        slots: dict[str, int] = {}
        for worker in self.workers:
            for queue, n in worker.slots.items():
                slots[queue] = slots.get(queue, 0) + n
        states: dict[str, dict[State, int]] = {}
        oldest: dict[str, float] = {}
        for (where, queue), counted in self.states.items():
            if namespace is None or where == namespace:
                mine = states.setdefault(queue, {})
                for state, n in counted.items():
                    mine[state] = mine.get(state, 0) + n
                oldest[queue] = max(oldest.get(queue, 0.0), self.oldest.get((where, queue), 0.0))
        names = set(states) if namespace is not None else set(states) | set(slots) | set(self.known)
        queues = []
        for name in sorted(names):
            paused_at, by, why, limit = self.known.get(name, (None, "", "", None))
            queues.append(
                QueueOnBoard(
                    name,
                    states.get(name, {}),
                    slots.get(name, 0),
                    limit,
                    paused_at,
                    by,
                    why,
                    oldest.get(name, 0.0),
                )
            )
        return Board(queues, self.workers, self.breakers)


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """What has ended in one step of time, of one key. A job counts once for each round that has ended."""

    minute: datetime
    """The step's beginning."""
    key: str
    outcome: State
    n: int
    tokens: int
    """Of all runs of these rounds."""
    seconds: float
    """How long their last runs took, added up."""


class Boards(Breakers):
    """Counts for people; a part of Queue."""

    _expiry: timedelta

    async def board(self, namespace: str | None = None) -> Board:
        """The board of one namespace; None: of all."""
        return (await self.board_counts()).board(namespace)

    async def board_counts(self) -> BoardCounts:
        """The numbers of all namespaces, all of one moment: one statement reads every job that waits or runs. The breakers are those of
        the statement after it."""
        ((waits, runs, workers, queues),) = await self._db.fetch(_BOARD, (self._expiry,))
        states: dict[tuple[str, str], dict[State, int]] = {}
        oldest: dict[tuple[str, str], float] = {}
        for namespace, queue, state, n, seconds in waits or ():
            states.setdefault((namespace, queue), {})[State(state)] = n
            if seconds is not None:
                oldest[namespace, queue] = max(oldest.get((namespace, queue), 0.0), float(seconds))
        for namespace, queue, n in runs or ():
            states.setdefault((namespace, queue), {})[State.RUNNING] = n
        return BoardCounts(
            states,
            oldest,
            {name: (replies.maybe_time(at), by, why, limit) for name, at, by, why, limit in queues or ()},
            [_worker(*row) for row in workers or ()],
            [breaker for breaker in await self.model_health() if breaker.reason is not None],
        )

    async def series(
        self,
        since: datetime,
        until: datetime,
        *,
        namespace: str | None = None,
        by: SeriesKey = "queue",
        step: timedelta = _MINUTE,
    ) -> Sequence[SeriesPoint]:
        """What has ended, from ``since`` to before ``until``, added up by the step; a minute counts by its beginning. Steps in which
        nothing ended have no point. Exact for all that has committed; retention bounds how far back it goes.

        :param namespace: only its jobs; "": jobs without an object; None: all.
        :param step: whole minutes; a step begins at a multiple of it since 1970. Of all namespaces, whole five minutes and hours are read fast.
        """
        if step < _MINUTE or step % _MINUTE:
            raise ValueError(f"step: {step}: whole minutes are wanted")
        part = _PART
        if namespace is None and not step % _FIVE_MINUTES:
            part = _PART_OF_FIVES if step % _HOUR else _PART_OF_HOURS
        part = max(step, part - part % step)
        points: list[SeriesPoint] = []
        end = since - (since - _EPOCH) % step
        while since < until:
            end = min(end + part, until)
            rows = await self._db.fetch(_SERIES, (since, end, namespace, by, step))
            points += [SeriesPoint(minute, key, State(state), *rest) for minute, key, state, *rest in rows]
            since = end
        return points


def _worker(
    id_: str,
    name: str,
    pool: str,
    slots: Mapping[str, Any],
    version: str,
    at: str,
    silent: float,
    running: int,
    accepting: bool,
) -> WorkerOnBoard:
    counts = {queue: n for queue, n in slots.items() if isinstance(n, int)}
    return WorkerOnBoard(
        UUID(id_), name, pool, counts, version, datetime.fromisoformat(at), float(silent), running, accepting
    )
