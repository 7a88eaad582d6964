"""The board's queues, workers and models as the API's objects, of all namespaces or of one. Pure.

A namespace sees the queues in which it has unfinished jobs, the workers that serve these, and the breakers of models that
its own unfinished jobs use. Counts are its own; slots, limits and pauses are the whole queue's.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256

from agentjobs.queue.board import Board, QueueOnBoard, WorkerOnBoard
from agentjobs.queue.breakers import Breaker
from agentjobs.queue.records import State
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.meta import Metadata, time_text
from agentjobs.web.objects.stats import (
    Model,
    ModelStatus,
    QueueStat,
    QueueStatStatus,
    Worker,
    WorkerStatus,
)

_LONGEST_NAME = 253
_DIGITS = 10
_HASHED = re.compile(f"-[0-9a-f]{{{_DIGITS}}}$")
UNFINISHED = frozenset(state for state in State if not state.final)


def place_of(namespace: str | None) -> str | None:
    """The queue's own name of a namespace in a path: empty for jobs without an object. None: all."""
    return "" if namespace == NO_OBJECT else namespace


def queues_of(board: Board, namespace: str | None) -> list[QueueStat]:
    """The board's queues, by name."""
    return [_queue(queue, namespace) for queue in board.queues]


def workers_of(board: Board, namespace: str | None, now: datetime) -> list[Worker]:
    """The processes that have slots, by name; in a namespace those that serve one of its queues."""
    names = {queue.name for queue in board.queues}
    found = [
        _worker(worker, names if namespace is not None else None, namespace, now) for worker in board.workers
    ]
    return sorted((one for one in found if one.status.queues), key=lambda one: one.metadata.name)


def model_of(breaker: Breaker, namespace: str | None) -> Model:
    """One breaker. In a namespace without the numbers of jobs, which are the whole pool's."""
    whole = namespace is None
    return Model(
        metadata=Metadata(name=dns_name(f"{breaker.pool}.{breaker.model}"), namespace=namespace),
        status=ModelStatus(
            pool=breaker.pool,
            model=breaker.model,
            open=breaker.reason is not None,
            reason=breaker.reason,
            failures=breaker.failures,
            since=time_text(breaker.since),
            last_failure=breaker.last_failure or None,
            probe_time=time_text(breaker.probe_at) if breaker.reason is not None else None,
            running=breaker.running if whole else None,
            blocked=breaker.blocked if whole else None,
        ),
    )


def dns_name(text: str) -> str:
    """The text as the name of an object (RFC 1123): what may not stand in one becomes a hyphen.

    A name that is not the text itself ends in a hash of the text, so that different texts have different names: ``p.openai/gpt-4``
    becomes ``p.openai-gpt-4-112b052525``. So does that of a text which ends like a hash.
    """
    name = re.sub(r"[^a-z0-9.-]+", "-", text.lower())
    name = re.sub(r"[.-]*\.[.-]*", ".", name).strip("-.")
    if name == text and len(name) <= _LONGEST_NAME and not _HASHED.search(name):
        return name
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    begin = name[: _LONGEST_NAME - _DIGITS - 1].rstrip("-.") or "x"
    return f"{begin}-{digest}"


def _queue(queue: QueueOnBoard, namespace: str | None) -> QueueStat:
    paused = queue.paused_at is not None
    return QueueStat(
        metadata=Metadata(name=queue.name, namespace=namespace),
        status=QueueStatStatus(
            waiting=queue.waiting,
            running=queue.running,
            by_state={state.value: n for state, n in sorted(queue.states.items()) if n},
            slots=queue.slots,
            oldest_wait_seconds=int(queue.oldest_wait_seconds),
            max_running=queue.limit,
            paused=paused,
            paused_time=time_text(queue.paused_at),
            paused_by=queue.paused_by or None if paused else None,
            paused_reason=queue.paused_reason or None if paused else None,
        ),
    )


def _worker(
    worker: WorkerOnBoard, served: Collection[str] | None, namespace: str | None, now: datetime
) -> Worker:
    queues = {queue: n for queue, n in worker.slots.items() if served is None or queue in served}
    return Worker(
        metadata=Metadata(
            name=worker.name,
            namespace=namespace,
            uid=str(worker.id),
            creation_timestamp=time_text(worker.started_at),
        ),
        status=WorkerStatus(
            pool=worker.pool,
            version=worker.version or None,
            queues=queues,
            slots=sum(queues.values()),
            running=worker.running if served is None else None,
            accepting=worker.accepting,
            last_beat_time=time_text(now - timedelta(seconds=worker.silent_seconds)),
        ),
    )
