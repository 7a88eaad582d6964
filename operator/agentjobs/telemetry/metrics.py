"""The metrics: name, kind, help and labels of each, defined once. A test compares docs/metrics.md with them.

Label values are bounded. Queues are those of the worker, or the 200 most important ones for the operator;
reasons, outcomes and states are constants; models are the first 20 that a worker sees. All values beyond are
``_other``, which no queue can be called.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

OTHER = "_other"
"""The label value that stands for all beyond the bound."""
MOST_QUEUES = 200
MOST_MODELS = 20

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_CLAIM_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES = tuple(float(mib * 2**20) for mib in (64, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192))
_QUEUE = {"queue": ""}


class Kind(StrEnum):
    """The kind of a metric, as Prometheus knows it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(StrEnum):
    """A metric: its name, with what scrapers and people read about it."""

    kind: Kind
    help: str
    labels: Mapping[str, str]
    """By label name, the values in words; empty where the name says it."""
    buckets: tuple[float, ...]
    """The upper bounds of a histogram's buckets."""

    def __new__(
        cls,
        value: str,
        kind: Kind,
        help_: str,
        labels: Mapping[str, str] | None = None,
        buckets: tuple[float, ...] = (),
    ) -> Metric:
        member = str.__new__(cls, value)
        member._value_ = value
        member.kind, member.help = kind, help_
        member.labels, member.buckets = dict(labels or {}), buckets
        return member

    __hash__ = str.__hash__  # an enumeration's own hash is slow, and differs from the equal string's

    @property
    def of_worker(self) -> bool:
        """True: a worker's metric. False: the operator's."""
        return self.startswith("agentjobs_worker_")

    # the queue, as the operator that leads sees it
    QUEUE_DEPTH = (
        "agentjobs_queue_depth",
        Kind.GAUGE,
        "Unfinished jobs that do not run.",
        {"queue": "", "state": "`Queued`, `Scheduled`, `Retrying`, `InputRequired` or `Suspended`"},
    )
    QUEUE_READY = (
        "agentjobs_queue_ready",
        Kind.GAUGE,
        "Those of the queued jobs that a free slot could take: not behind their session, in no paused queue.",
        _QUEUE,
    )
    QUEUE_OLDEST = (
        "agentjobs_queue_oldest_wait_seconds",
        Kind.GAUGE,
        "How long the oldest job that is ready to be claimed has been so; 0 where none is.",
        _QUEUE,
    )
    QUEUE_RUNNING = ("agentjobs_queue_running", Kind.GAUGE, "Jobs that run.", _QUEUE)
    QUEUE_WANTED_SLOTS = (
        "agentjobs_queue_wanted_slots",
        Kind.GAUGE,
        "Slots that the queue could use now, by which pools are scaled: its running jobs and its ready ones, as far as its limit goes.",
        _QUEUE,
    )
    QUEUE_SLOTS = ("agentjobs_queue_slots", Kind.GAUGE, "Slots of all live workers.", _QUEUE)
    QUEUE_PAUSED = ("agentjobs_queue_paused", Kind.GAUGE, "1 while the queue is paused.", _QUEUE)
    WORKERS = ("agentjobs_workers", Kind.GAUGE, "Live workers: those whose heartbeat is young.", {"pool": ""})
    MODEL_BREAKER_OPEN = (
        "agentjobs_model_breaker_open",
        Kind.GAUGE,
        "1 while the pool claims no job of the model but probes and the ramp; absent while the model answers.",
        {"pool": "", "model": "", "reason": "`ModelUnavailable`, `ModelAuthFailed` or `ModelRateLimited`"},
    )
    MODEL_JOBS_HELD = (
        "agentjobs_model_jobs_held",
        Kind.GAUGE,
        "Jobs that wait for the model; another pool that reaches it takes them.",
        {"pool": "", "model": ""},
    )
    OUTBOX_DEPTH = ("agentjobs_outbox_depth", Kind.GAUGE, "Objects whose status is stale.")
    OUTBOX_LAG = (
        "agentjobs_outbox_lag_seconds",
        Kind.GAUGE,
        "How long the oldest of them has been so; 0 where none is.",
    )

    # the operator itself
    DATABASE_UP = (
        "agentjobs_operator_database_up",
        Kind.GAUGE,
        "1 where the database answered; at 0 the series above are absent.",
    )
    LEADING = (
        "agentjobs_operator_leading",
        Kind.GAUGE,
        "1 on the operator that works, 0 on those that stand by.",
    )
    API_REQUESTS = (
        "agentjobs_operator_api_requests_total",
        Kind.COUNTER,
        "Requests to the API server.",
        {"verb": "", "resource": "", "result": "HTTP status, or `unavailable`"},
    )
    EVENTS_SEEN = (
        "agentjobs_operator_events_seen_total",
        Kind.COUNTER,
        "Events of watched objects.",
        {"taken": "`yes`, or `no` for a change of status alone"},
    )
    EVENTS_DROPPED = (
        "agentjobs_operator_events_dropped_total",
        Kind.COUNTER,
        "Kubernetes Events that were never posted, because the API server refused too many for too long.",
        {"reason": "`full` or `old`"},
    )
    CHANGES_APPLIED = (
        "agentjobs_operator_changes_applied_total",
        Kind.COUNTER,
        "Changes of objects that were told to the queue.",
        {"outcome": "the queue's answer"},
    )
    STATUS_SKIPPED = (
        "agentjobs_operator_status_writes_skipped_total",
        Kind.COUNTER,
        "Statuses that were not written.",
        {"reason": "`unchanged` or `gone`"},
    )
    STATUS_REDUCED = (
        "agentjobs_operator_status_writes_reduced_total",
        Kind.COUNTER,
        "Statuses of which only a part was written, because the API server does not take the whole one.",
    )
    WATCH_UP = (
        "agentjobs_operator_watch_up",
        Kind.GAUGE,
        "1 where the leader watches this kind in this namespace, 0 where it cannot.",
        {"resource": "", "namespace": "empty: all"},
    )
    SWEEP_FOUND = (
        "agentjobs_operator_sweep_found_total",
        Kind.COUNTER,
        "What sweeps found.",
        {"kind": "`vanished`, `unknown`, `behind`, `contradicted`, `status` or `stopped`"},
    )
    MANAGED_ELSEWHERE = (
        "agentjobs_operator_managed_elsewhere_total",
        Kind.COUNTER,
        "Objects that were found to belong to another installation.",
        {"kind": "`AgentJob` or `ScheduledAgentJob`"},
    )
    LOOP_FAILING = (
        "agentjobs_operator_loop_failing_seconds",
        Kind.GAUGE,
        "For how long a loop of the operator has failed without one success, as `/readyz` tells it; absent while it succeeds.",
        {"loop": ""},
    )
    TASK_FAILURES = (
        "agentjobs_operator_task_failures_total",
        Kind.COUNTER,
        "Restarts of a part of the operator after an error.",
        {"part": ""},
    )

    SCHEDULE_TICKS = (
        "agentjobs_operator_schedule_ticks_total",
        Kind.COUNTER,
        "Ticks of schedules.",
        {"outcome": "`created`, `held`, `missed` or `refused`"},
    )
    RUNS_API_STATE = (
        "agentjobs_operator_runs_api_state",
        Kind.GAUGE,
        "1 for the state in which the leader has the runs API, 0 for the others; absent where it is switched off.",
        {
            "state": "`serving`, `unreachable`, `no_endpoint`, `no_certificate`, `withdrawn`, `elsewhere` or `leaving`"
        },
    )
    RUNS_API_WITHDRAWALS = (
        "agentjobs_operator_runs_api_withdrawals_total",
        Kind.COUNTER,
        "How often the APIService of the runs API went away.",
        {"reason": "`unreachable`, `leaving`, or `deleted` by somebody else"},
    )
    RUNS_API_CERTIFICATE_SECONDS = (
        "agentjobs_operator_runs_api_certificate_seconds",
        Kind.GAUGE,
        "Until the certificate of the runs API expires; a third of its life is left when it is renewed.",
    )

    # a worker
    SLOTS = ("agentjobs_worker_slots", Kind.GAUGE, "Jobs that may run here at once.", _QUEUE)
    SLOTS_BUSY = ("agentjobs_worker_slots_busy", Kind.GAUGE, "Jobs that run here.", _QUEUE)
    UNACKED = (
        "agentjobs_worker_unacked",
        Kind.GAUGE,
        "Runs that ended and that the queue has not confirmed yet.",
    )
    READY = ("agentjobs_worker_ready", Kind.GAUGE, "1 while /readyz says so.")
    DRAINING = ("agentjobs_worker_draining", Kind.GAUGE, "1 after the first SIGTERM.")
    HEARTBEAT_AGE = (
        "agentjobs_worker_heartbeat_age_seconds",
        Kind.GAUGE,
        "Since the last heartbeat that the database answered; absent before the first.",
    )
    TEMPLATES = (
        "agentjobs_worker_templates_total",
        Kind.COUNTER,
        "Template processes started; more than one means that one died or had a module to leave out.",
    )
    CLAIMS = ("agentjobs_worker_claims_total", Kind.COUNTER, "Jobs claimed.", _QUEUE)
    CLAIM_SECONDS = (
        "agentjobs_worker_claim_seconds",
        Kind.HISTOGRAM,
        "Round trips to the database that asked for jobs.",
        None,
        _CLAIM_SECONDS,
    )
    RUNS = (
        "agentjobs_worker_runs_total",
        Kind.COUNTER,
        "Runs that ended.",
        {
            "queue": "",
            "outcome": "`complete`, `retry` (charged), `snooze` (refunded), `discard`, `cancel` or `lost`",
            "reason": "of [reference.md](reference.md); empty where lost",
        },
    )
    RUN_SECONDS = (
        "agentjobs_worker_run_duration_seconds",
        Kind.HISTOGRAM,
        "Runs that ended, from the hand-over to an executor to the end.",
        _QUEUE,
        _SECONDS,
    )
    EXECUTOR_MEMORY = (
        "agentjobs_worker_executor_memory_bytes",
        Kind.HISTOGRAM,
        "Highest resident size of an executor, at its end; about 120 MB of it are shared with the template.",
        None,
        _BYTES,
    )
    EXECUTOR_CPU = (
        "agentjobs_worker_executor_cpu_seconds_total",
        Kind.COUNTER,
        "CPU time of executors that ended.",
        _QUEUE,
    )
    LLM_CALLS = (
        "agentjobs_worker_llm_calls_total",
        Kind.COUNTER,
        "Answers of models that reported tokens.",
        {"model": "as the provider names its version"},
    )
    LLM_TOKENS = (
        "agentjobs_worker_llm_tokens_total",
        Kind.COUNTER,
        "Tokens that providers reported.",
        {"model": "as the provider names its version", "kind": "`prompt` or `output` (thoughts included)"},
    )
