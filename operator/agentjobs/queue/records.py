"""The values that go into and out of the queue.

A *run* is one claim of a job, an *attempt* is a charged run, a *round* is one life from queued to
finished. (worker, token) is the fence of a run: whoever does not hold it cannot change the job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from agentjobs.values.json import JsonObject
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from agentjobs.values.usage import NO_USAGE, Usage


class State(StrEnum):
    """Where a job is. The values are those of ``status.state``."""

    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    RUNNING = "Running"
    RETRYING = "Retrying"
    INPUT_REQUIRED = "InputRequired"
    """A tool's question waits for a person."""
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"

    @property
    def final(self) -> bool:
        """True where nothing more happens by itself."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.COMPLETE, State.FAILED, State.CANCELLED, State.REJECTED})


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The Kubernetes object that a job mirrors. ``cluster_id`` is the uid of the namespace kube-system."""

    cluster_id: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds between attempts: ``min(max_delay, initial_delay × factor^(attempt−1))``, jitter ±10 %.

    ``max_wait_seconds`` bounds how long a job may wait in a row without a charged attempt (H16).
    """

    initial_delay_seconds: int = 15
    factor: int = 2
    max_delay_seconds: int = 3600
    max_wait_seconds: int = 86400


@dataclass(frozen=True, slots=True)
class InputAnswer:
    """What a person said to the question ``id``. Taken only while it is the job's present one."""

    id: str
    approved: bool
    reason: str = ""
    payload: Any = None
    """What was filled in, where the question asks for it; JSON."""
    by: str = ""
    """Who says to have answered: a claim, nothing proves it."""


@dataclass(frozen=True, slots=True)
class InputResponse:
    """An object's annotation with an answer. Handled once per value."""

    value: str
    answer: InputAnswer | None
    problem: str = ""
    """Why the value is no answer."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue. ``payload`` is a JSON object that the queue stores; of it only ``agent`` is looked at, for the
    model or module by whose failures the job may be kept (docs/model-health.md)."""

    uid: UUID
    payload: JsonObject
    queue: str = "agents"
    priority: int = 2
    session: str | None = None
    """The lock that keeps a shared session serial; None for a session of the job's own."""
    run_at: datetime | None = None
    """Aware; None means now."""
    max_attempts: int = 3
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    attempt_timeout_seconds: int = 1800
    starting_deadline_seconds: int | None = None
    active_deadline_seconds: int | None = None
    suspend: bool = False
    ref: ObjectRef | None = None
    created_at: datetime | None = None
    """When the request was made (an object's creationTimestamp); None means now."""


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """What intake saw of one object. Applied only where newer than what is stored (H4).

    Exactly one of the following describes it:

    * ``gone``: deleted, or being deleted. An unknown uid leaves a cancelled tombstone.
    * ``rejected``: (reason, message); the spec is never acceptable. Final.
    * ``imported``: the object's status already says how it ended; recorded, never run (H1).
    * else ``job`` is to be enqueued, or its control fields applied.
    """

    uid: UUID
    ref: ObjectRef
    generation: int
    job: NewJob | None = None
    cancel: bool = False
    unaccepted: tuple[Reason, str] | None = None
    """(QueueNotAllowed | Restored, message): stored, and kept from running until a later change has no hold."""
    retry_requested: str | None = None
    """Value of the annotation that asks for a new round; handled once per value."""
    input_response: InputResponse | None = None
    gone: bool = False
    created_at: datetime | None = None
    rejected: tuple[str, str] | None = None
    imported: ImportedEnd | None = None


@dataclass(frozen=True, slots=True)
class ImportedEnd:
    """A final state read from an object's status, for a job that the database does not know."""

    state: State
    reason: str
    message: str
    finished_at: datetime
    status: JsonObject
    """The whole status as found, kept so that the projection stays what it was."""


class ChangeOutcome(StrEnum):
    """What applying an ObjectChange did."""

    INSERTED = "inserted"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RETRY_REFUSED = "retry_refused"


@dataclass(slots=True)  # not frozen: that would triple the cost of making one, and one is made per run
class ClaimedJob:
    """One run, handed to a worker. Not to be changed."""

    id: int
    token: int
    uid: UUID
    queue: str
    priority: int
    run: int
    """Claims so far in this round and all before, this one included; never refunded."""
    attempt: int
    """Charged runs of this round, this one included."""
    max_attempts: int
    round: int
    payload: JsonObject
    retry: RetryPolicy
    attempt_timeout_seconds: int
    deadline: datetime | None
    snoozes: int
    """Snoozes in a row so far: the k of H16."""
    losses: int
    solo: bool
    """True: a suspected poison job (H14). The worker must claim nothing else while it runs."""
    spent: Usage
    """What earlier runs of this round spent (budgets)."""
    pos: int


class AckKind(StrEnum):
    COMPLETE = "complete"
    FAIL = "fail"
    """Permanent: no further attempt whatever is left."""
    RETRY = "retry"
    """Charged. SQL decides whether it was the last attempt (H22)."""
    SNOOZE = "snooze"
    """Refunded: rate limit, model outage, our own session store."""
    RELEASE = "release"
    """Refunded: drain, suspend. After five drains the next is charged (H16)."""
    CANCEL = "cancel"
    """The run was stopped because it was asked to (cancel, deadline)."""
    ASK = "ask"
    """Refunded: a tool's questions wait for a person, and the job with them."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a run says about one model; breakers decide by it."""

    model: str
    answer: ModelAnswer
    reason: str = ""
    """Of the run's failure."""
    delay_seconds: float = 0.0
    """RATE_LIMITED: how long the provider asks to wait."""


@dataclass(slots=True)  # not frozen: as ClaimedJob
class Ack:
    """How a run ended, matched by (id, token) and the worker's uuid. Not to be changed."""

    id: int
    token: int
    kind: AckKind
    delay_seconds: float = 0.0
    """RETRY and SNOOZE: until the next attempt. Computed by ``retry.backoff`` / ``retry.snooze``."""
    reason: str = ""
    message: str = ""
    result: str | None = None
    """COMPLETE: the final answer, whole; cut at 1 MiB here (H7)."""
    usage: Usage = NO_USAGE
    event_count: int = 0
    log_tail: str = ""
    """The last 64 KiB of the executor's stdout and stderr."""
    session_id: str = ""
    trace_id: str = ""
    models: tuple[ModelReport, ...] = ()
    """RETRY and SNOOZE: where the breaker of a failed model is open, the attempt is refunded and the job waits for it."""
    requests: tuple[InputRequest, ...] = ()
    """ASK: the questions, in their order; at least one."""
    input_deadline_seconds: int | None = None
    """ASK: how long they may wait for answers."""


class AckAnswer(StrEnum):
    OK = "ok"
    ALREADY = "already"
    """This very ack was applied before: its reply was lost (H9)."""
    LOST = "lost"
    """The run no longer owns the job: nothing was changed."""


@dataclass(frozen=True, slots=True)
class StepResult:
    answers: Mapping[int, AckAnswer]
    """By job id, one per ack."""
    jobs: Sequence[ClaimedJob]
    alive: bool
    """False: nothing was claimed, for the last heartbeat is too old (H10). Beat at once: only a beat that says
    so means that the jobs are lost; after an outage of the database they are not (H11)."""
    blocked: frozenset[int] = frozenset()
    """Ids of acked jobs that wait for their model now, refunded, whatever their ack said."""


class Control(StrEnum):
    """What a running job is asked; also their order (H15)."""

    CANCEL = "cancel"
    DEADLINE = "deadline"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class BeatResult:
    alive: bool
    """False: the worker's row is gone; its jobs belong to others."""
    release: int
    """Of the database's functions."""
    controls: Mapping[tuple[int, int], Control]
    """By (job id, token)."""
    disowned: Sequence[tuple[int, int]]
    """(id, token) rows of this worker, older than a beat, that it named neither as held nor as in flight: those that
    it still does not know are for ``disown``."""
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running job is. ``step`` names an author or a tool, never text of the conversation."""

    id: int
    token: int
    step: str
    event_count: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class TickResult:
    """What one tick did; all zero where another process holds the tick at the moment."""

    ticked_elsewhere: bool
    admitted: int = 0
    promoted: int = 0
    expired: int = 0
    """Jobs failed, or asked to stop, by a deadline."""
    rescued: int = 0
    pruned: int = 0
    next_due_seconds: float | None = None
    """Until the next due time that is known; None: none."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One ended run."""

    run: int
    attempt: int
    round: int
    worker: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    """complete, fail, retry, snooze, release, cancel, ask, lost."""
    reason: str
    message: str
    charged: bool
    next_at: datetime | None
    usage: Usage
    event_count: int
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class AnsweredInput:
    """An answer that was taken."""

    tool: str
    approved: bool
    at: datetime
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything that is known of one job: what projection, CLI and dashboard show."""

    id: int
    uid: UUID
    ref: ObjectRef | None
    queue: str
    priority: int
    session: str | None
    state: State
    reason: str
    message: str
    generation: int
    round: int
    run: int
    attempts: int
    max_attempts: int
    created_at: datetime
    accepted_at: datetime
    round_at: datetime
    """When this round began."""
    due_at: datetime
    started_at: datetime | None
    """First start of this round."""
    finished_at: datetime | None
    next_attempt_at: datetime | None
    since: datetime
    """When the present state was entered."""
    suspended_at: datetime | None
    resumed_at: datetime | None
    run_started_at: datetime | None
    """Start of the run that is going on."""
    worker: str
    control: Control | None
    step: str
    event_count: int
    usage: Usage
    """Of the whole round, lost and refunded runs included."""
    result: str | None
    result_truncated: bool
    session_id: str
    trace_id: str
    unaccepted: bool
    input_request: InputRequest | None
    """INPUT_REQUIRED: the present question."""
    input_requests_left: int
    """Questions of the same model answer that come after it."""
    input_deadline: datetime | None
    input_answered: AnsweredInput | None
    """The last answer that the job went on with."""
    imported_status: JsonObject | None
    payload: JsonObject | None
    """None once retention trimmed the job to its tombstone."""
    attempts_log: Sequence[AttemptRecord] = ()
    """Ended runs, oldest first (the projection asks for the last few)."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A job whose object shows a stale status, at the version that ``job`` was read at."""

    version: int
    marked_at: datetime
    posted_run: int
    """Events of runs up to this one are already posted."""
    job: JobView


@dataclass(frozen=True, slots=True)
class QueueState:
    name: str
    paused: bool
    paused_at: datetime | None
    paused_by: str
    paused_reason: str
    max_running: int | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live process. ``queues`` is empty for an operator, which beats only to be allowed to rescue (H11)."""

    id: UUID
    name: str
    queues: Mapping[str, int]
    """Slots by queue."""
    version: str
    pool: str = "default"
