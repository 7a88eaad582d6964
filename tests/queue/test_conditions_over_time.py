"""Conditions of an AgentJob over a random life: ``lastTransitionTime`` moves when, and only when, the status of its
condition does, and never goes back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from agentjobs.controller.agentjob import status
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, Confirmed, InputAnswer, ObjectChange
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from queue_builders import TestWorker, change, shown, sql

STEPS = 40
BEST = 5


@dataclass
class Life:
    """One object, what was last asked of it, and the queue that it is stored in."""

    queue: Queue
    worker: TestWorker
    dsn: str
    rng: random.Random
    uid: UUID = field(default_factory=uuid4)
    generation: int = 1
    priority: int = 9
    suspend: bool = False
    cancel: bool = False
    closed: bool = False
    """Whether the queue is closed to the object's namespace."""
    restored: bool = False
    retry: str | None = None
    questions: int = 0
    done: list[str] = field(default_factory=list)

    async def apply(self, **more: Any) -> None:
        await self.queue.apply([self.change(**more)])

    def change(self, **more: Any) -> ObjectChange:
        barred = self.closed or self.priority < BEST
        hold = (Reason.QUEUE_NOT_ALLOWED, "spec.queue: no") if barred else None
        if hold is None and self.restored and self.generation == 1:
            hold = (Reason.RESTORED, "from a backup")
        return change(
            uid=self.uid,
            generation=self.generation,
            priority=self.priority,
            suspend=self.suspend,
            cancel=self.cancel,
            retry_requested=self.retry,
            unaccepted=hold,
            **more,
        )

    async def edited(self, **fields: object) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        self.generation += 1
        await self.apply()

    # what can happen -------------------------------------------------------------------------------------

    async def suspended_or_resumed(self) -> None:
        await self.edited(suspend=not self.suspend)

    async def prioritised(self) -> None:
        await self.edited(priority=self.rng.choice([0, 7, 9]))

    async def settings_changed(self) -> None:
        self.closed = not self.closed
        await self.apply()

    async def label_removed(self) -> None:
        self.restored = False
        await self.apply()

    async def cancelled(self) -> None:
        await self.queue.cancel(self.uid)

    async def retried(self) -> None:
        self.retry = uuid4().hex
        await self.apply()

    async def resumed_by_python(self) -> None:
        await self.queue.resume(self.uid)

    async def suspended_by_python(self) -> None:
        await self.queue.suspend(self.uid)

    async def claimed(self) -> None:
        await self.worker.claim(1)

    async def ended(self) -> None:
        kinds = (AckKind.RETRY, AckKind.FAIL, AckKind.RELEASE, AckKind.ASK, AckKind.SNOOZE, AckKind.CANCEL)
        for job in list(self.worker.held):
            kind = self.rng.choice(kinds)
            self.questions += 1
            requests = (InputRequest(f"q{self.questions}", "refund"),)
            fields = {"requests": requests} if kind is AckKind.ASK else {"reason": "AgentFailed"}
            await self.worker.ack(job, kind, **fields)

    async def answered(self) -> None:
        await self.queue.answer(self.uid, InputAnswer(f"q{self.questions}", self.rng.random() < 0.5))

    async def deleted(self) -> None:
        await self.queue.apply([change(uid=self.uid, generation=self.generation, gone=True)])

    async def there_again(self) -> None:
        """After a restore of etcd."""
        await self.apply(confirmed=Confirmed(datetime.now(UTC) + timedelta(hours=1)))


OPERATIONS: tuple[Callable[[Life], Awaitable[None]], ...] = (
    Life.suspended_or_resumed,
    Life.prioritised,
    Life.settings_changed,
    Life.label_removed,
    Life.cancelled,
    Life.retried,
    Life.resumed_by_python,
    Life.suspended_by_python,
    Life.claimed,
    Life.claimed,
    Life.ended,
    Life.ended,
    Life.answered,
    Life.deleted,
    Life.there_again,
    Life.there_again,
)


def contradictions(before: dict[str, JsonObject], after: dict[str, JsonObject]) -> list[str]:
    """What two successive lists of conditions, by type, must not say."""
    found = []
    for kind, now in after.items():
        was = before.get(kind)
        if was is None:
            continue
        old, new = was["lastTransitionTime"], now["lastTransitionTime"]
        if was["status"] == now["status"] and new != old:
            found.append(f"{kind}: the time moves, the status does not ({now['status']}, {now['reason']})")
        elif was["status"] != now["status"] and new == old:
            found.append(f"{kind}: the status moves, the time does not ({now['status']}, {now['reason']})")
    return found


@pytest.mark.parametrize("seed", range(12))
async def test_a_conditions_time_moves_with_its_status_and_never_goes_back(
    queue: Queue, worker: TestWorker, dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # to the microsecond, as the rows have it
    monkeypatch.setattr(
        status, "time_text", lambda at: at and at.astimezone(UTC).isoformat("T", "microseconds")
    )
    wrong: Counter[str] = Counter()
    rng = random.Random(seed)
    for _ in range(3):
        life = Life(queue, worker, dsn, rng, restored=rng.random() < 0.4, suspend=rng.random() < 0.3)
        await life.apply()
        before: dict[str, JsonObject] = {}
        latest: dict[str, str] = {}
        for _ in range(STEPS):
            view = await shown(queue, life.change())
            after = {c["type"]: c for c in status.conditions_of(view)}
            for text in contradictions(before, after):
                wrong[f"{text} after {life.done[-1]}"] += 1
            for kind, condition in after.items():
                if condition["lastTransitionTime"] < latest.get(kind, ""):
                    wrong[f"{kind}: the time goes back after {life.done[-1]}"] += 1
                latest[kind] = condition["lastTransitionTime"]
            before = after
            operation = rng.choice(OPERATIONS)
            life.done.append(operation.__name__)
            await operation(life)
        for job in list(worker.held):
            await worker.ack(job, AckKind.COMPLETE)
        await sql(dsn, "delete from waiting")
    assert not wrong, "\n".join(f"{n} x {text}" for text, n in wrong.most_common())
