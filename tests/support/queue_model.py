"""The states and invariants of a job as plain Python: what the queue must do, without a database.

Times are seconds of a clock that only moves when a test says so. A job's ``state`` is the letter of the place where
the queue keeps it: n new, p new in a paused queue, r ready, l later, b behind its session, s suspended, q quarantined, i asked, @ running; c complete,
f failed, k cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

WAITING, FINAL = "nprlbsqi", "cfk"
DRAINS = 5
DRAINED = "Drained"
RELEASE_SECONDS = 300
"""The longest delay of a run that could not begin, where no longer one was asked for."""
LOSSES_TO_RUN_ALONE, LOSSES_TO_FAIL = 3, 5


@dataclass
class Job:
    uid: UUID
    queue: str
    priority: int
    session: str | None
    max_attempts: int
    max_wait: float
    starting: float | None
    active: float | None
    due: float
    since: float
    counts_from: float = 0
    """Its clocks count from then: before it ran, or was suspended."""
    place: int = 0
    state: str = "r"
    reason: str = ""
    failure: str = ""
    """The reason of the last attempt that was charged."""
    attempts: int = 0
    """Charged runs of this round; while it runs, with the one that is going on."""
    run: int = 0
    round: int = 1
    started: bool = False
    deadline: float | None = None
    left: float | None = None
    snoozes: int = 0
    wait_since: float | None = None
    drains: int = 0
    releases: int = 0
    losses: int = 0
    asked: bool = False
    """A question waits for an answer, also while the job is suspended."""
    answer_within: float | None = None
    answer_by: float | None = None
    control: str | None = None
    worker: UUID | None = None
    token: int = 0
    solo: bool = False
    trimmed: bool = False

    @property
    def holds_session(self) -> bool:
        return self.session is not None and (self.state in "@rq" or (self.started and self.state in WAITING))


@dataclass
class Queue:
    paused_at: float | None = None
    limit: int | None = None


@dataclass
class Worker:
    queues: Mapping[str, int]
    dead: bool = False
    """Sent no heartbeat for longer than the expiry; may still come back until somebody judges."""


@dataclass
class Model:
    expiry: float
    now: float = 0
    jobs: dict[UUID, Job] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    workers: dict[UUID, Worker] = field(default_factory=dict)
    ended: dict[tuple[UUID, UUID, int], str] = field(default_factory=dict)
    """What a late ack of (job, worker, token) is answered."""
    places: int = 0

    # -- small questions --------------------------------------------------------------------------

    def paused(self, queue: str) -> bool:
        return queue in self.queues and self.queues[queue].paused_at is not None

    def holders(self) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for job in self.jobs.values():
            if job.session is not None and job.holds_session:
                assert job.session not in found, f"two holders of {job.session}"
                found[job.session] = job
        return found

    def running(self, queue: str) -> int:
        return sum(job.state == "@" and job.queue == queue for job in self.jobs.values())

    def _place(self, job: Job) -> None:
        self.places += 1
        job.place = self.places

    def _to(self, job: Job, state: str, reason: str = "") -> None:
        job.state, job.reason, job.since = state, reason, self.now

    def _ready(self, job: Job) -> str:
        return "q" if job.losses >= LOSSES_TO_RUN_ALONE else "r"

    def _settle(self) -> None:
        """Every session without a holder gets the first that waits behind it."""
        holders = self.holders()
        for job in sorted(self.jobs.values(), key=lambda job: job.place):
            if job.state == "b" and job.session is not None and job.session not in holders:
                self._to(job, self._ready(job))
                holders[job.session] = job

    def _paused_for(self, job: Job, since: float = 0) -> float:
        queue = self.queues.get(job.queue)
        if queue is None or queue.paused_at is None:
            return 0
        return max(0, self.now - max(queue.paused_at, job.counts_from, since))

    def _wait(self, job: Job, state: str, reason: str = "") -> None:
        """To a place in which it waits, from a run or from nowhere."""
        self._to(job, state, reason)
        job.counts_from = self.now

    # -- in, and what time does -------------------------------------------------------------------

    def enqueue(self, job: Job, *, suspend: bool) -> None:
        self._place(job)
        self.jobs[job.uid] = job
        job.counts_from = self.now
        if suspend:
            self._to(job, "s", "Suspended")
            job.left = job.starting
            return
        if job.starting is not None:
            job.deadline = max(job.due, self.now) + job.starting
        later = job.due > self.now
        self._to(job, "l" if later else "n" if job.session else "r", "Scheduled" if later else "")

    def admit(self) -> None:
        holders = self.holders()
        for job in sorted(self.jobs.values(), key=lambda job: job.place):
            if job.state in "np" and job.session is not None:
                if self.paused(job.queue):
                    if job.state == "n":
                        job.state, job.reason = "p", "QueuePaused"
                elif job.session in holders:
                    job.state, job.reason = "b", "BehindSession"
                else:
                    job.state, job.reason = self._ready(job), ""
                    holders[job.session] = job

    def tick(self) -> None:
        for job in sorted(self.jobs.values(), key=lambda job: (job.due, job.place)):
            if job.state == "l" and job.due <= self.now:
                if not job.started:
                    self._place(job)
                self._to(job, "n" if job.session and not job.started else self._ready(job))
        for job in self.jobs.values():
            if job.state in WAITING and self.paused(job.queue):
                continue
            unanswered = job.state == "i" and job.answer_by is not None and job.answer_by < self.now
            if unanswered and (job.deadline is None or job.answer_by <= job.deadline):  # type: ignore[operator]
                self._to(job, "f", "InputDeadlineExceeded")
            if job.deadline is None or job.deadline >= self.now:
                continue
            if job.state in WAITING:
                self._to(job, "f", "DeadlineExceeded" if job.started else "StartingDeadlineExceeded")
            elif job.state == "@" and job.control not in ("k", "d"):
                job.control = "d"
        for worker in [uuid for uuid, worker in self.workers.items() if worker.dead]:
            del self.workers[worker]
        for job in self.jobs.values():
            if job.state == "@" and job.worker not in self.workers:
                self._lose(job)
        self._settle()
        for name in list(self.queues):
            self._yield(name)
        self.admit()

    def _lose(self, job: Job) -> None:
        assert job.worker is not None
        self.ended[job.uid, job.worker, job.token] = "lost"
        job.losses += 1
        job.attempts -= 1
        job.releases = 0
        self._leave_run_out(job)
        control, job.control, job.worker = job.control, None, None
        if control == "k":
            self._to(job, "k", "Cancelled")
        elif control == "d":
            self._to(job, "f", "DeadlineExceeded")
        elif job.losses >= LOSSES_TO_FAIL:
            self._to(job, "f", "WorkerLost")
        else:
            job.due = self.now
            alone = job.losses >= LOSSES_TO_RUN_ALONE
            if control == "s":
                self._wait(job, "s", "Suspended")
                job.deadline = None
            else:
                state = "l" if job.losses == 2 else self._ready(job)
                self._wait(job, state, "Quarantined" if alone else "WorkerLost")

    def _leave_run_out(self, job: Job) -> None:
        """The run that has just ended was no waiting."""
        if job.wait_since is not None:
            job.wait_since += self.now - job.since

    # -- workers ----------------------------------------------------------------------------------

    def claim(self, uuid: UUID, token: int, slots: Mapping[str, int], total: int, *, idle: bool) -> list[Job]:
        worker = self.workers.get(uuid)
        if worker is None or worker.dead:
            return []
        slots = {queue: n for queue, n in slots.items() if n > 0}
        free = {
            queue: n
            if (limit := self.queues.get(queue, Queue()).limit) is None
            else max(0, min(n, limit - self.running(queue)))
            for queue, n in slots.items()
            if not self.paused(queue)
        }
        suspects = [job for job in self.jobs.values() if job.state == "q" and job.queue in slots]
        taken: list[Job] = []
        if suspects and idle:
            alone = [job for job in suspects if free.get(job.queue, 0) > 0]
            taken = sorted(alone, key=lambda job: (job.priority, job.place))[:1]
        elif any(job.since + 4 * self.expiry < self.now for job in suspects) and not any(
            other < uuid and not w.dead and set(w.queues) & set(slots) for other, w in self.workers.items()
        ):
            return []
        if not taken:
            ready = (job for job in self.jobs.values() if job.state == "r")
            for job in sorted(ready, key=lambda job: (job.priority, job.place)):
                if len(taken) < total and free.get(job.queue, 0) > 0:
                    free[job.queue] -= 1
                    taken.append(job)
        for job in taken:
            job.solo = job.state == "q"
            self._to(job, "@")
            job.worker, job.token = uuid, token
            job.attempts += 1
            job.run += 1
            if not job.started:
                job.started = True
                job.deadline = None if job.active is None else self.now + job.active
        return taken

    def ack(self, job: Job, kind: str, delay: float, reason: str = "") -> None:
        """Of a run that owns its job."""
        assert job.state == "@"
        assert job.worker is not None
        self.ended[job.uid, job.worker, job.token] = "lost" if kind == "lost" else "already"
        control, job.control, job.worker = job.control, None, None
        if kind in ("complete", "fail"):
            self._to(job, kind[0], "")
            self._settle()
            return
        self._leave_run_out(job)
        released = kind == "release" and control != "s"
        drained = released and reason == DRAINED
        unbegun = released and not drained and delay > 0
        if unbegun:
            delay = max(delay, min(RELEASE_SECONDS, delay * 2**job.releases))
        job.releases = job.releases + 1 if unbegun else 0
        charged = kind == "retry" or (drained and job.drains >= DRAINS)
        exhausted = charged and job.attempts >= job.max_attempts
        first_wait = self.now if job.wait_since is None else job.wait_since
        waited = kind == "snooze" and self.now + delay > first_wait + job.max_wait
        if control == "k":
            self._to(job, "k", "Cancelled")
        elif control == "d":
            self._to(job, "f", "DeadlineExceeded")
        elif kind == "ask":
            job.attempts -= 1
            job.snoozes, job.wait_since, job.drains = 0, None, 0
            job.asked, job.answer_within = True, delay or None
            self._ask(job)
            if control == "s":
                self._wait(job, "s", "Suspended")
                job.deadline = None
        else:
            job.attempts -= not charged
            if charged:
                job.failure = reason
            if exhausted:
                self._to(job, "f", reason)
            elif waited and control != "s":
                self._to(job, "f", "WaitExceeded")
            else:
                job.due = self.now + delay
                if charged:
                    job.snoozes, job.wait_since, job.drains = 0, None, 0
                elif kind == "snooze":
                    job.snoozes, job.wait_since = job.snoozes + 1, first_wait
                elif drained:
                    job.drains += 1
                elif unbegun and job.wait_since is not None:
                    job.wait_since += delay
                if control == "s":
                    self._wait(job, "s", "Suspended")
                    job.deadline = None
                else:
                    self._wait(job, *(("l", reason) if delay > 0 else (self._ready(job),)))
        self._settle()

    def _ask(self, job: Job) -> None:
        self._wait(job, "i")
        job.answer_by = None if job.answer_within is None else self.now + job.answer_within

    # -- people -----------------------------------------------------------------------------------

    def cancel(self, job: Job) -> str | None:
        if job.state == "@":
            job.control = "k"
            return "Running"
        if job.state in FINAL:
            return None
        self._to(job, "k", "Cancelled")
        self._settle()
        return "Cancelled"

    def suspend(self, job: Job) -> str | None:
        if job.state == "@":
            job.control = job.control or "s"
            return "Running"
        if job.state in FINAL:
            return None
        if job.state != "s":
            job.left = None
            if not job.started and job.deadline is not None:
                job.left = job.deadline - max(self.now, job.due) + self._paused_for(job, job.due)
            if job.wait_since is not None:
                job.wait_since += self._paused_for(job)
            job.deadline = None
            self._to(job, "s", "Suspended")
            self._settle()
        return "Suspended"

    def resume(self, job: Job) -> str | None:
        if job.state == "@":
            job.control = None if job.control == "s" else job.control
            return "Running"
        if job.state in FINAL:
            return None
        if job.state != "s":
            return "InputRequired" if job.state == "i" else "Queued"
        if job.wait_since is not None:
            job.wait_since += self.now - job.since
        job.counts_from = self.now
        if job.started:
            job.deadline = None if job.active is None else self.now + job.active
        else:
            self._place(job)
            job.deadline = None if job.left is None else max(self.now, job.due) + job.left
        job.left = None
        if job.asked:
            self._ask(job)
            return "InputRequired"
        if job.due > self.now:
            self._to(job, "l", "Backoff" if job.started else "Scheduled")
            return "Scheduled"
        self._to(job, "n" if job.session and not job.started else self._ready(job))
        return "Queued"

    def answer(self, job: Job) -> bool:
        """Whether it was taken."""
        if not job.asked or job.state not in "is":
            return False
        job.asked = False
        if job.state == "i":
            self._to(job, self._ready(job))
        return True

    def set_max_attempts(self, job: Job, n: int) -> None:
        job.max_attempts = n
        if job.state in WAITING and job.started and job.attempts >= n:
            self._to(job, "f", job.failure)
            self._settle()

    def retry(self, job: Job) -> bool:
        if job.state not in "fk" or job.trimmed:
            return False
        self._place(job)
        job.round += 1
        job.attempts = job.drains = job.releases = job.losses = job.snoozes = 0
        job.counts_from = self.now
        job.asked = False
        job.started, job.wait_since, job.due, job.left = False, None, self.now, None
        job.deadline = None if job.starting is None else self.now + job.starting
        self._to(job, "n" if job.session else "r")
        return True

    def set_queue(self, name: str, *, paused: bool | None, limit: int | str | None = "same") -> None:
        queue = self.queues.setdefault(name, Queue())
        if limit != "same":
            assert limit is None or isinstance(limit, int)
            queue.limit = limit
        if paused is False and queue.paused_at is not None:
            for job in self.jobs.values():
                if job.state not in WAITING or job.state == "s" or job.queue != name:
                    continue
                stood = self._paused_for(job)
                if job.deadline is not None:
                    job.deadline += stood if job.started else self._paused_for(job, job.due)
                if job.wait_since is not None:
                    job.wait_since += stood
                if job.answer_by is not None:
                    job.answer_by += stood
            queue.paused_at = None
        elif paused and queue.paused_at is None:
            queue.paused_at = self.now
        if paused:
            self._yield(name)

    def _yield(self, name: str) -> None:
        """A job that never started holds nothing, and stands behind nobody, while its queue is paused."""
        if self.paused(name):
            for job in self.jobs.values():
                if job.queue == name and job.session and not job.started and job.state in "rqb":
                    job.state, job.reason = "p", "QueuePaused"
            self._settle()

    def prune(self, gone: Iterable[UUID]) -> None:
        """Retention: of those without an object nothing stays, of the others a tombstone."""
        without = set(gone)
        for uid, job in list(self.jobs.items()):
            if job.state in FINAL:
                for key in [key for key in self.ended if key[0] == uid]:
                    self.ended[key] = "lost"
                if uid in without:
                    del self.jobs[uid]
                else:
                    job.trimmed = True
