"""The values that callers pass to the queue and get from it.

A *run* is one claim of a job, an *attempt* is a run that is charged, a *round* is one life of a job from
queued to finished. The fence of a run is (worker, token): an ack that names another pair changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from agentjobs.queue.audit import Act
from agentjobs.values.json import JsonObject
from agentjobs.values.model_answer import ModelAnswer
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.usage import NO_USAGE, Usage


class State(StrEnum):
    """The state of a job, as in ``status.state``."""

    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    RUNNING = "Running"
    RETRYING = "Retrying"
    INPUT_REQUIRED = "InputRequired"
    """A tool's question waits for a person's answer."""
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"

    @property
    def final(self) -> bool:
        """True: the job has ended, and only a retry by hand changes that."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({State.COMPLETE, State.FAILED, State.CANCELLED, State.REJECTED})


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """The Kubernetes object of a job. ``cluster_id`` is the uid of the namespace kube-system."""

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


DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class InputAnswer:
    """An answer to the question ``id``, taken only while the job asks this very question."""

    id: str
    approved: bool | None
    """Whether the call may be made. None: the question wants a payload alone (``InputRequest.kind``)."""
    reason: str = ""
    payload: Any = None
    """JSON: what the person filled in, the result of a long-running tool, or the input that is asked for."""
    by: str = ""
    """The name under which the person answered; nothing proves it."""


@dataclass(frozen=True, slots=True)
class InputResponse:
    """The answer in an object's annotation. The queue handles each value once."""

    value: str
    answer: InputAnswer | None
    problem: str = ""
    """Why the value of the annotation is no answer."""


@dataclass(frozen=True, slots=True)
class AnnotatedAct:
    """Who made a change of an object, as an annotation of the object says. It counts for the change that it came with."""

    key: str
    """Differs from annotation to annotation."""
    act: Act | None
    """None: the annotation cannot be read."""
    at: str = ""
    """When, as it says; for a schedule's run now it is the value that asks for the run."""
    origin: str = ""
    """The object that a new one repeats."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to enqueue.

    The queue stores ``payload``, a JSON object, and reads only ``agent`` in it: the model or module whose
    breaker may block the job (docs/model-health.md).
    """

    uid: UUID
    payload: JsonObject
    queue: str = "agents"
    priority: int = 2
    session: str | None = None
    """The key of a shared session, of which one job runs at a time. None: a session of the job's own."""
    run_at: datetime | None = None
    """When it is due, a time with its zone; None: now."""
    max_attempts: int = 3
    retry: RetryPolicy = DEFAULT_RETRY
    attempt_timeout_seconds: int = 1800
    starting_deadline_seconds: int | None = None
    active_deadline_seconds: int | None = None
    suspend: bool = False
    """True: stored as Suspended."""
    ref: ObjectRef | None = None
    created_at: datetime | None = None
    """When it was asked for, such as an object's creationTimestamp; None: now."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a sweep had read before it read the object: so the object, as it is now, is the truth, also where
    the row knows more (etcd was restored to a snapshot)."""

    listed_at: datetime
    """The begin of the sweep's LIST."""
    row_generation: int | None = None
    """The generation in the job's row. None: the sweep found no row of an object that is there."""


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object as intake saw it. The queue applies it only where it is newer than the job's row (H4).

    Exactly one of these cases describes it:

    * ``gone``: the object was or is being deleted. Of an unknown uid, the queue stores a cancelled tombstone.
    * ``rejected``: (reason, message) of a spec that is never acceptable. Final.
    * ``imported``: the object's status says already how the job ended. Stored, never run (H1).
    * else ``job`` is enqueued, or, where the queue knows it, its control fields are applied.
    """

    uid: UUID
    ref: ObjectRef
    generation: int
    job: NewJob | None = None
    cancel: bool = False
    unaccepted: tuple[Reason, str] | None = None
    """(QueueNotAllowed | Restored | InputUnavailable, message): stored, but not run until a later change has None here. Of a job
    that is accepted, QueueNotAllowed refuses another priority and a new round."""
    retry_requested: str | None = None
    """The value of the annotation that asks for a new round; the queue handles each value once."""
    input_response: InputResponse | None = None
    act: AnnotatedAct | None = None
    gone: bool = False
    created_at: datetime | None = None
    rejected: tuple[str, str] | None = None
    imported: ImportedEnd | None = None
    confirmed: Confirmed | None = None
    """A sweep read the object after the row."""


@dataclass(frozen=True, slots=True)
class ImportedEnd:
    """A final state, read from an object's status, of a job that the database does not know."""

    state: State
    reason: str
    message: str
    finished_at: datetime
    status: JsonObject
    """The whole status as found, so that a projection writes the same again."""


class ChangeOutcome(StrEnum):
    """The effect of one ObjectChange."""

    INSERTED = "inserted"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RETRY_REFUSED = "retry_refused"


@dataclass(slots=True)  # not frozen: that would triple the cost of making one, and one is made per run
class ClaimedJob:
    """One run that a worker has claimed. Not to be changed."""

    id: int
    token: int
    uid: UUID
    queue: str
    priority: int
    run: int
    """Claims of the job so far, in all rounds, this one included; never refunded."""
    attempt: int
    """The number of this attempt in its round, from 1; a refunded run and the next one share a number."""
    max_attempts: int
    round: int
    payload: JsonObject
    retry: RetryPolicy
    attempt_timeout_seconds: int
    deadline: datetime | None
    snoozes: int
    """Refunded waits in a row so far (H16)."""
    losses: int
    solo: bool
    """True: the job is quarantined (H14). The worker must claim nothing else while it runs."""
    spent: Usage
    """Usage of the earlier runs of this round; counts for the budget."""
    pos: int
    claim: int = 0
    """Grows with every claim of the queue, of whatever job: by it the session fence orders runs (H13)."""
    payload_problem: str = ""
    """Why ``payload`` cannot be read; it is {} then. A caller stored it by SQL."""


class AckKind(StrEnum):
    """How a run ended, as the worker tells the queue."""

    COMPLETE = "complete"
    FAIL = "fail"
    """The job ends as Failed, whatever attempts are left."""
    RETRY = "retry"
    """A charged failure. SQL decides whether it was the last attempt (H22)."""
    SNOOZE = "snooze"
    """A refunded wait: a rate limit, a model's outage, our own session store."""
    RELEASE = "release"
    """Given back and refunded. Of those with reason Drained or LeaseExpired the sixth in a row is charged. One
    with another reason and a delay could not begin: it is never charged, and the queue doubles the delay with
    each in a row (H16)."""
    CANCEL = "cancel"
    """Stopped on request: a user's cancel, or a deadline."""
    ASK = "ask"
    """Refunded: the run ended with a tool's questions, and the job waits for answers."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A run's report of how one model answered, by which its breaker decides."""

    model: str
    answer: ModelAnswer
    reason: str = ""
    """The reason of the run's failure."""
    delay_seconds: float = 0.0
    """RATE_LIMITED: the wait that the provider asks for."""


@dataclass(slots=True)  # not frozen: as ClaimedJob
class Ack:
    """The end of a run, which (id, token) and the worker's uuid name. Not to be changed."""

    id: int
    token: int
    kind: AckKind
    delay_seconds: float = 0.0
    """RETRY, SNOOZE, RELEASE: the delay until the job is due again (``retry.backoff``, ``retry.snooze``)."""
    reason: str = ""
    message: str = ""
    result: str | None = None
    """COMPLETE: the final answer; the queue cuts it to 1 MiB (H7)."""
    usage: Usage = NO_USAGE
    event_count: int = 0
    log_tail: str = ""
    """The last 64 KiB of the executor's stdout and stderr."""
    log_skipped: int = 0
    """Lines that it printed before ``log_tail``."""
    session_id: str = ""
    trace_id: str = ""
    models: tuple[ModelReport, ...] = ()
    """How models answered. RETRY and SNOOZE: where the failed model's breaker is open, the attempt is
    refunded and the job is blocked by its model."""
    files: tuple[SavedFile, ...] = ()
    """What the agent has saved and deleted, each name once."""
    requests: tuple[InputRequest, ...] = ()
    """ASK: the tool's questions, at least one, in their order."""
    input_deadline_seconds: int | None = None
    """ASK: how long the questions may wait for answers; None: as long as the job."""


class AckAnswer(StrEnum):
    """The queue's answer to one ack."""

    OK = "ok"
    ALREADY = "already"
    """The queue had applied this very ack before, and its reply was lost (H9)."""
    LOST = "lost"
    """The run no longer has the job; nothing was changed."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The reply to one step: answers to its acks, and the jobs claimed."""

    answers: Mapping[int, AckAnswer]
    """One answer per ack, by job id."""
    jobs: Sequence[ClaimedJob]
    alive: bool
    """False: nothing was claimed, since the worker's last beat is older than the expiry (H10). That alone
    loses no job: after an outage of the database, the next beat may find the worker's row (H11)."""
    blocked: frozenset[int] = frozenset()
    """Ids of acked jobs that are blocked by their model now, refunded whatever their ack said."""
    refused: Mapping[int, Exception] = field(default_factory=dict)
    """Acks without an answer, by job id: the database refuses even a failure of the job. The worker keeps them."""


class Control(StrEnum):
    """A request to a running job, the heaviest first (H15)."""

    CANCEL = "cancel"
    DEADLINE = "deadline"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class BeatResult:
    """The reply to one beat."""

    alive: bool
    """False: the worker's row is gone, and others may have its jobs."""
    release: int
    """The release of the database's functions."""
    controls: Mapping[tuple[int, int], Control]
    """Requests to running jobs, by (job id, token)."""
    disowned: Sequence[tuple[int, int]]
    """Runs (job id, token) that the worker claimed more than a beat ago and named neither as in hand nor as
    in flight. It disowns those that it still does not have."""
    wanted: Mapping[tuple[int, int], bool] = field(default_factory=dict)
    """Whether output is stored, of runs (job id, token) whose output somebody reads."""
    seats: Mapping[str, tuple[int, int]] | None = None
    """By queue for which this worker looks out: how many lookouts with room come before it, and how many there are. None: not told."""
    ready: bool = False
    """A job waits for which the worker has a free slot."""
    workers: int = 0
    """How many workers there are, counted to 100; told to one that looks out for no queue."""
    ticks: bool = True
    """The worker is one of those that tick each second."""
    recovering: bool = False
    """True: the database is being restored (H31). Never set so far."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a running job. ``step`` names an author or a tool, never a text."""

    id: int
    token: int
    step: str
    event_count: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class OutputTail:
    """The end of what a running job has printed, from its worker."""

    id: int
    token: int
    text: str
    """At most 64 KiB count."""
    skipped: int
    """Lines that were printed before ``text``."""


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The end of what a running job has printed, for a reader."""

    run: int
    at: datetime | None
    """It was stored; None: nothing is yet."""
    skipped: int = 0
    """Lines that were printed before ``text``."""
    text: str | None = None
    """None: nothing is stored yet, or the reader has it (``seen``)."""


@dataclass(frozen=True, slots=True)
class TickResult:
    """The effects of one tick; all zero where another process is ticking."""

    ticked_elsewhere: bool
    admitted: int = 0
    promoted: int = 0
    expired: int = 0
    """Jobs that a deadline has failed, or asked to stop."""
    rescued: int = 0
    next_due_seconds: float | None = None
    """The time until the next due time; None: none is known."""
    failed: tuple[str, ...] = ()
    """Stages that failed and were undone alone, each with Postgres' error."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One ended run, as a reader gets it from table ``attempt``."""

    run: int
    attempt: int
    round: int
    worker: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    """Column ``kind``: complete, fail, retry, snooze, release, cancel, ask, or lost."""
    reason: str
    message: str
    charged: bool
    next_at: datetime | None
    usage: Usage
    event_count: int
    log_tail: str = ""
    log_skipped: int = 0
    """Lines that it printed before ``log_tail``."""


@dataclass(frozen=True, slots=True)
class AnsweredInput:
    """A person's answer that the queue has taken."""

    tool: str
    approved: bool | None
    """None: it was the result of a long-running tool, or an input."""
    at: datetime
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """All that the database knows of one job: projection and command line show it."""

    id: int
    uid: UUID
    ref: ObjectRef | None
    queue: str
    priority: int
    session: str | None
    state: State
    reason: str
    """Why it waits, or what went wrong last."""
    message: str
    exhausted: bool
    """FAILED: that went wrong in the last of its attempts."""
    generation: int
    round: int
    run: int
    attempts: int
    max_attempts: int
    created_at: datetime
    accepted_at: datetime
    round_at: datetime
    """The begin of this round."""
    due_at: datetime
    started_at: datetime | None
    """The first start in this round."""
    finished_at: datetime | None
    next_attempt_at: datetime | None
    """When a waiting job is due; of one that is blocked by its model when the model is tried next, as was known when ``reason``
    was told. None: it is due, or does not wait for a time."""
    since: datetime
    """When the job came into its present state."""
    suspended_at: datetime | None
    resumed_at: datetime | None
    run_started_at: datetime | None
    """The start of the present run."""
    worker: str
    control: Control | None
    step: str
    event_count: int
    usage: Usage
    """Usage of the whole round, with lost and refunded runs."""
    result: str | None
    result_truncated: bool
    session_id: str
    trace_id: str
    unaccepted: bool
    """True: Suspended for its queue's access or as a restored object, not by ``spec.suspend``."""
    refused: str
    """Why what the object asks for is not accepted; the job may run, as it was accepted before. Empty: it is."""
    refused_changed_at: datetime
    """When ``refused`` last became empty, or not empty."""
    input_request: InputRequest | None
    """INPUT_REQUIRED: the question that the job asks now."""
    input_requests_left: int
    """INPUT_REQUIRED: how many more questions of the same answer of the model follow."""
    input_deadline: datetime | None
    input_answered: AnsweredInput | None
    """The last answer with which the job went on."""
    imported_status: JsonObject | None
    payload: JsonObject | None
    """None: pruned, only the tombstone is left."""
    files: Sequence[SavedFile] = ()
    """The newest versions of files that its runs have told to have saved: the first 20 by name."""
    file_count: int = 0
    """How many there are in all."""
    attempts_log: Sequence[AttemptRecord] = ()
    """Ended runs, the oldest first; a projection has the last few only."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A job whose object shows a stale status. ``job`` was read at ``version``."""

    version: int
    marked_at: datetime
    posted_run: int
    """The last run whose Events are posted."""
    job: JobView


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue that was ever paused or limited."""

    name: str
    paused: bool
    paused_at: datetime | None
    paused_by: str
    paused_reason: str
    max_running: int | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A live process. An operator has no ``queues``: it beats only so that it may rescue (H11)."""

    id: UUID
    name: str
    queues: Mapping[str, int]
    """Slots by queue."""
    version: str
    pool: str = "default"
