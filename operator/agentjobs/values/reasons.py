"""Every reason that a status, a condition, an attempt or a row of the database can carry, each with its
meaning.

Code imports the constants. docs/reference.md is generated from their descriptions, and a test compares the
SQL with them. Clients must tolerate other reasons, since a newer operator may write one.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from __future__ import annotations

from enum import StrEnum


class Follows(StrEnum):
    """The consequences of reasons for their job or schedule."""

    WAITS = "it waits, no attempt is charged"
    RETRIES = "a charged attempt: it is tried again after the backoff while attempts are left"
    REFUNDS = "the attempt is refunded: it is tried again later"
    ENDS = "final"
    CURABLE = "it waits until the cause is gone, and is taken up then"
    NOTHING = "nothing: it informs"


class Reason(StrEnum):
    """Reasons of ``status.reason``, of conditions and of ``status.recentAttempts``."""

    follows: Follows
    """The consequence for the job or schedule."""
    set_by: str
    """The part that sets it: queue, agents, worker or operator."""
    doc: str
    """Its meaning for people, and what to do about it."""

    def __new__(cls, value: str, follows: Follows, set_by: str, doc: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.follows = follows
        member.set_by = set_by
        member.doc = doc
        return member

    # why a job waits --------------------------------------------------------------------------------
    SCHEDULED = "Scheduled", Follows.WAITS, "queue", "Not due yet: delaySeconds or scheduledTime."
    BACKOFF = (
        "Backoff",
        Follows.WAITS,
        "queue",
        "The job has started before, was suspended meanwhile, and goes on at status.nextAttemptTime.",
    )
    QUEUED = "Queued", Follows.WAITS, "queue", "Due, and waiting for a free slot."
    BEHIND_SESSION = (
        "BehindSession",
        Follows.WAITS,
        "queue",
        "Another job of the same session has started and has not finished: a session runs one job at a time.",
    )
    QUEUE_PAUSED = (
        "QueuePaused",
        Follows.WAITS,
        "queue",
        "Somebody paused the queue; the message says who and why.",
    )
    QUEUE_FULL = "QueueFull", Follows.WAITS, "queue", "The queue's limit of running jobs is reached."
    NO_WORKERS = (
        "NoWorkers",
        Follows.WAITS,
        "queue",
        "No live worker serves this queue; the message names the queues that are served. Start a worker with "
        "--queue, or correct spec.queue in a new job.",
    )
    QUARANTINED = (
        "Quarantined",
        Follows.WAITS,
        "queue",
        "Three workers were lost while they ran this job: it waits for a worker that has nothing else in hand.",
    )
    SUSPENDED = "Suspended", Follows.WAITS, "queue", "spec.suspend is true; set it to false to go on."
    RESTORED = (
        "Restored",
        Follows.CURABLE,
        "operator",
        "The object came from a backup and the database does not know it: unaccepted, so that a restore does not run "
        "old jobs again. Remove the label, or set spec.suspend to true and back to false, to run it.",
    )

    # accepted or not --------------------------------------------------------------------------------
    ACCEPTED = (
        "Accepted",
        Follows.NOTHING,
        "operator",
        "The operator stored the job, or could read the schedule.",
    )
    INVALID_SPEC = (
        "InvalidSpec",
        Follows.ENDS,
        "operator",
        "The spec can never run, and cannot change; the message names field, value and remedy. Delete the "
        "object and create a corrected one. A schedule can be edited, and creates nothing until then.",
    )
    QUEUE_NOT_ALLOWED = (
        "QueueNotAllowed",
        Follows.CURABLE,
        "operator",
        "The operator's settings do not open this queue, or this priority, to the namespace. The job is taken up "
        "when they change.",
    )
    INPUT_UNAVAILABLE = (
        "InputUnavailable",
        Follows.CURABLE,
        "operator",
        "What spec.messageFrom or spec.inputs names is not there, may not be read, is too large, or is of a job that is not Complete; "
        "the message says which, and "
        "what to do. The operator looks again, at least once a minute, and takes the job up by itself. "
        "Of a job that has begun it is final: the file of an earlier job (artifactRef) is gone.",
    )
    UNPARSEABLE_SCHEDULE = (
        "UnparseableSchedule",
        Follows.CURABLE,
        "operator",
        "spec.schedule is not five cron fields or a macro; correct it in place.",
    )
    UNKNOWN_TIME_ZONE = (
        "UnknownTimeZone",
        Follows.CURABLE,
        "operator",
        "spec.timeZone is no IANA time zone, such as Europe/Berlin; correct it in place.",
    )

    # other reasons of conditions --------------------------------------------------------------------
    RUNNING = "Running", Follows.NOTHING, "operator", "A worker runs an attempt."
    COMPLETED = "Completed", Follows.ENDS, "operator", "The agent gave its final answer: status.result."
    RESUMED = (
        "Resumed",
        Follows.NOTHING,
        "operator",
        "The job or schedule was suspended before and is not now.",
    )
    RETRY_REQUESTED = (
        "RetryRequested",
        Follows.NOTHING,
        "operator",
        "Somebody asked for a new round of a finished job: status.round.",
    )
    ONE_SHOT_FIRED = (
        "OneShotFired",
        Follows.ENDS,
        "operator",
        "A schedule with scheduledTime has created its one job, and that has ended.",
    )
    ONE_SHOT_MISSED = (
        "OneShotMissed",
        Follows.ENDS,
        "operator",
        "A schedule with scheduledTime created no job: its time was over by startingDeadlineSeconds or "
        "missedRunPolicy. Set a later scheduledTime to run it.",
    )

    # the pool's lists -------------------------------------------------------------------------------
    MODULE_NOT_ALLOWED = (
        "ModuleNotAllowed",
        Follows.ENDS,
        "agents",
        "The worker pool does not allow agent.module, or what its root_agent.yaml names; the message names the pool, its list and the "
        "setting.",
    )
    MODEL_NOT_ALLOWED = (
        "ModelNotAllowed",
        Follows.ENDS,
        "agents",
        "The worker pool does not allow the model of this inline agent; the message names the pool, its list and the setting.",
    )

    # the model --------------------------------------------------------------------------------------
    MODEL_RATE_LIMITED = (
        "ModelRateLimited",
        Follows.REFUNDS,
        "agents",
        "429, or a spent quota: the pool's jobs of that model wait as long as the provider asked. Then they go on, at "
        "first half as many at once.",
    )
    MODEL_UNAVAILABLE = (
        "ModelUnavailable",
        Follows.REFUNDS,
        "agents",
        "The provider is overloaded and said when to come back (503, 529). Or it is down: five jobs in a row failed, and "
        "the model's jobs wait; one at a time probes until the provider answers again.",
    )
    MODEL_AUTH_FAILED = (
        "ModelAuthFailed",
        Follows.REFUNDS,
        "agents",
        "The provider refused the key (401, 403), or the pool has none: the model's jobs wait. Correct the pool's secret and "
        "restart its workers; they go on by themselves.",
    )
    MODEL_SERVER_ERROR = (
        "ModelServerError",
        Follows.RETRIES,
        "agents",
        "The provider answered with a 5xx (also 409, 425, 499).",
    )
    MODEL_TIMEOUT = (
        "ModelTimeout",
        Follows.RETRIES,
        "agents",
        "The provider did not answer in time (also 408, 504).",
    )
    MODEL_UNREACHABLE = (
        "ModelUnreachable",
        Follows.RETRIES,
        "agents",
        "No connection to the provider: refused, reset, TLS or name resolution.",
    )
    MODEL_RESPONSE_INVALID = (
        "ModelResponseInvalid",
        Follows.RETRIES,
        "agents",
        "The answer could not be read: malformed JSON, or a malformed call of a tool.",
    )
    MODEL_OUTPUT_TRUNCATED = (
        "ModelOutputTruncated",
        Follows.ENDS,
        "agents",
        "The answer was cut at the model's output limit: raise generateContentConfig.maxOutputTokens or ask for "
        "less.",
    )
    MODEL_REQUEST_INVALID = (
        "ModelRequestInvalid",
        Follows.ENDS,
        "agents",
        "The provider, or its client before sending, refused the request (400 and other 4xx): too long, or an option "
        "that the model does not know.",
    )
    MODEL_NOT_FOUND = (
        "ModelNotFound",
        Follows.ENDS,
        "agents",
        "There is no such model at the provider, or in ADK's registry.",
    )
    MODEL_SAFETY_BLOCKED = (
        "ModelSafetyBlocked",
        Follows.ENDS,
        "agents",
        "The provider blocked prompt or answer (safety, prohibited content, recitation, blocklist); the message "
        "has its code.",
    )
    MODEL_ERROR = (
        "ModelError",
        Follows.RETRIES,
        "agents",
        "Another error event from the model; the message has its code.",
    )
    EMPTY_ANSWER = (
        "EmptyAnswer",
        Follows.RETRIES,
        "agents",
        "The run ended without a final answer, or with an empty one.",
    )

    # the agent --------------------------------------------------------------------------------------
    AGENT_NOT_FOUND = (
        "AgentNotFound",
        Follows.ENDS,
        "agents",
        "agent.module names no module, or no app, root_agent, agent(), attribute or root_agent.yaml in it, in this "
        "worker's image.",
    )
    AGENT_INVALID = (
        "AgentInvalid",
        Follows.ENDS,
        "agents",
        "What agent.module names is no ADK agent or app, failed at import, its factory failed, or its root_agent.yaml is wrong; or "
        "agent.inline is not acceptable to ADK.",
    )
    AGENT_FAILED = (
        "AgentFailed",
        Follows.RETRIES,
        "agents",
        "The agent's own code raised an error, or an agent reported one; the message names it.",
    )
    TOOL_FAILED = (
        "ToolFailed",
        Follows.RETRIES,
        "agents",
        "A tool raised an error, or a toolset (such as an MCP server) did not load; the message names it.",
    )
    INPUT_REQUIRED = (
        "InputRequired",
        Follows.WAITS,
        "agents",
        "A tool asks a person before it is called, or waits for its result, or a node wants an input: "
        "status.inputRequest. Answer with kubectl agentjobs approve or reject, or with answer --payload.",
    )
    INPUT_APPROVED = "InputApproved", Follows.NOTHING, "operator", "A person approved the tool's call."
    INPUT_REJECTED = (
        "InputRejected",
        Follows.NOTHING,
        "operator",
        "A person rejected the tool's call; the agent was told so and went on.",
    )
    INPUT_ANSWERED = (
        "InputAnswered",
        Follows.NOTHING,
        "operator",
        "The result of a long-running tool was given, or the input that was asked for.",
    )
    INPUT_DEADLINE_EXCEEDED = (
        "InputDeadlineExceeded",
        Follows.ENDS,
        "queue",
        "Nobody answered within inputDeadlineSeconds. A retry asks again.",
    )
    INPUT_UNSUPPORTED = (
        "InputUnsupported",
        Follows.ENDS,
        "agents",
        "A question from where ADK cannot go on later (a loop, parallel agents, an agent used as a tool, a session in "
        "memory), or one for credentials: the tool was not begun, and the message says why.",
    )
    BUDGET_EXCEEDED = (
        "BudgetExceeded",
        Follows.ENDS,
        "agents",
        "The next model call would exceed spec.budget; raise it in a new job.",
    )
    LLM_CALLS_EXCEEDED = (
        "LLMCallsExceeded",
        Follows.ENDS,
        "agents",
        "One run made more model calls than ADK's own limit (500): mostly an agent that loops.",
    )
    UNKNOWN_ERROR = (
        "UnknownError",
        Follows.RETRIES,
        "agents",
        "An error of a kind that no rule knows; the message names its class.",
    )

    # sessions ---------------------------------------------------------------------------------------
    SESSION_CONFLICT = (
        "SessionConflict",
        Follows.RETRIES,
        "agents",
        "Something else wrote to the session during the run.",
    )
    ARTIFACT_REFUSED = (
        "ArtifactRefused",
        Follows.ENDS,
        "agents",
        "A file that the agent saves is over a limit of the worker pool; the message names file, size, limit and setting.",
    )
    SESSION_STORE_UNAVAILABLE = (
        "SessionStoreUnavailable",
        Follows.REFUNDS,
        "agents",
        "The session store could not be reached: not the job's fault.",
    )
    ARTIFACT_SERVICE_UNAVAILABLE = (
        "ArtifactServiceUnavailable",
        Follows.REFUNDS,
        "agents",
        "The pool's artifact service, set by URI, could not be reached or denied access: not the job's fault.",
    )
    MEMORY_SERVICE_UNAVAILABLE = (
        "MemoryServiceUnavailable",
        Follows.REFUNDS,
        "agents",
        "The pool's memory service, set by URI, could not be reached or denied access: not the job's fault.",
    )
    SESSION_FENCED = (
        "SessionFenced",
        Follows.REFUNDS,
        "agents",
        "A later run has taken the session: this one was too late and wrote nothing more.",
    )

    # the run's process and its worker ---------------------------------------------------------------
    ATTEMPT_TIMEOUT = (
        "AttemptTimeout",
        Follows.RETRIES,
        "worker",
        "The attempt took longer than attemptTimeoutSeconds and was stopped.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        Follows.RETRIES,
        "worker",
        "The run took more memory than the pool gives to one job.",
    )
    EXECUTOR_CRASHED = (
        "ExecutorCrashed",
        Follows.RETRIES,
        "worker",
        "The run's process ended without a result (a signal, or an exit in a tool); the message says how.",
    )
    PAYLOAD_UNSUPPORTED = (
        "PayloadUnsupported",
        Follows.REFUNDS,
        "worker",
        "The job was written by a newer version than that worker's: a newer worker takes it.",
    )
    LEASE_EXPIRED = (
        "LeaseExpired",
        Follows.REFUNDS,
        "worker",
        "The worker could not reach the database for longer than its lease and the grace after it, so the run ended by "
        "itself; the next one continues. Check the network between that worker and the database.",
    )
    WORKER_LOST = (
        "WorkerLost",
        Follows.REFUNDS,
        "queue",
        "The worker's heartbeat stopped during the run. The second loss waits, the third and fourth are quarantined, "
        "the fifth is final.",
    )
    DRAINED = (
        "Drained",
        Follows.REFUNDS,
        "worker",
        "The worker was shutting down and the run did not end in time. From the sixth drain on the attempt is charged.",
    )
    CLAIM_LOST = "ClaimLost", Follows.REFUNDS, "queue", "The worker never learned of its claim: nothing ran."

    # why a job ended --------------------------------------------------------------------------------
    ATTEMPTS_EXHAUSTED = (
        "AttemptsExhausted",
        Follows.ENDS,
        "queue",
        "Only of the conditions Failed and Finished: maxAttempts are used up. status.reason and status.message have the last "
        "error, status.recentAttempts the last three.",
    )
    WAIT_EXCEEDED = (
        "WaitExceeded",
        Follows.ENDS,
        "queue",
        "The job waited for longer than retryPolicy.maxWaitSeconds in a row without a charged attempt.",
    )
    DEADLINE_EXCEEDED = (
        "DeadlineExceeded",
        Follows.ENDS,
        "queue",
        "The job did not finish within activeDeadlineSeconds after its first start.",
    )
    STARTING_DEADLINE_EXCEEDED = (
        "StartingDeadlineExceeded",
        Follows.ENDS,
        "queue",
        "The job did not start within startingDeadlineSeconds after it was due.",
    )
    CANCELLED = "Cancelled", Follows.ENDS, "queue", "spec.cancel, a delete, or a command asked for it."
    RESULT_UNSTORABLE = (
        "ResultUnstorable",
        Follows.ENDS,
        "queue",
        "The agent answered, but the database refused the text.",
    )


def reason_named(name: str) -> Reason | None:
    """The reason of this name. None: it is none of ours, such as one of a newer version."""
    return next((known for known in Reason if known.value == name), None)
