"""The spec of a job: the fields that an AgentJob and a schedule's template share."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from agentjobs.api.agent import Agent
from agentjobs.api.inputs import INPUT_BYTES, INPUTS_MAX_ITEMS, Inputs, MessageSource
from agentjobs.api.meta import ApiModel, Schema, quoted, refuse, rule, validations
from agentjobs.api.state import STATE_BYTES, STATE_MAX_KEYS, USER_KEYS_WANT_A_USER, State, has_user_keys
from agentjobs.values.names import DNS_LABEL_PATTERN, OWN_SESSION_PREFIX

MESSAGE_MAX_LENGTH = 65_536
IDENTITY_MAX_LENGTH = 63
DEFAULT_USER = "system"
DEFAULT_APP = "agentjobs"
YEAR_SECONDS = 31_536_000
WEEK_SECONDS = 604_800

# No white space, no control or format characters: two ids that look the same are the same.
Identity = Annotated[
    str, Field(min_length=1, max_length=IDENTITY_MAX_LENGTH, pattern=r"^[^\p{Z}\p{Cc}\p{Cf}]+$")
]
OWN_SESSIONS = (
    f"may not begin with {OWN_SESSION_PREFIX}, which names the sessions of jobs without a sessionID"
)


def _shared_session(session_id: str) -> str:
    if session_id.startswith(OWN_SESSION_PREFIX):
        raise refuse(OWN_SESSIONS)
    return session_id


MESSAGE_OR_SOURCE = "set exactly one of message and messageFrom"
ONE_MESSAGE: Schema = rule(
    "has(self.message) != has(self.messageFrom)",
    MESSAGE_OR_SOURCE,
    field="message",
    got="(has(self.message) ? 'both' : 'neither')",
)


QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{DNS_LABEL_PATTERN}$")]
Priority = Annotated[int, Field(ge=0, le=9)]

QUEUE_DESCRIPTION = (
    "queue in which the job waits, a DNS label of at most 63 characters. Workers serve queues with a number of slots "
    "each; the operator may open a queue to some namespaces only. Default: {}."
)
PRIORITY_DESCRIPTION = (
    "priority among the queue's waiting jobs, from 0 (first) to 9 (last): the reverse of a pod's priority. It never "
    "stops a running job. Default: {}."
)


class RetryPolicy(ApiModel):
    """The wait between attempts: min(maxDelaySeconds, initialDelaySeconds × factor^(attempt − 1)), ±10 %."""

    initial_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=15,
        description="initialDelaySeconds is the wait after the first failed attempt, in seconds. Default: 15.",
    )
    factor: Annotated[int, Field(ge=1, le=100)] = Field(
        default=2,
        description="factor by which each wait is longer than the one before, a whole number; 1 keeps the wait constant. "
        "Default: 2.",
    )
    max_delay_seconds: Annotated[int, Field(ge=0, le=WEEK_SECONDS)] = Field(
        default=3600,
        description="maxDelaySeconds is the longest wait between two attempts, in seconds. Default: 3600.",
    )
    max_wait_seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS)] = Field(
        default=86_400,
        description="maxWaitSeconds is how long the job may wait in a row for rate limits and outages, which charge no "
        "attempt, in seconds; then it fails with WaitExceeded. Default: 86400.",
    )


class Budget(ApiModel):
    """The most that all runs of one round together may spend. A run ends before the call that would exceed
    it."""

    max_tokens: Annotated[int, Field(ge=1, le=1_000_000_000_000)] | None = Field(
        default=None,
        description="maxTokens is the most tokens, of prompts and answers together. Absent means: no limit.",
    )
    max_llm_calls: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="maxLLMCalls is the most calls of a model. Absent means: no limit of the job's own; ADK stops one "
        "run at 500.",
    )


class JobSpec(ApiModel):
    """The fields that an AgentJob and a schedule's template share. Defaults of queue and priority differ."""

    agent: Agent = Field(description="agent to run: exactly one of module and inline.")
    message: Annotated[str, Field(min_length=1, max_length=MESSAGE_MAX_LENGTH)] | None = Field(
        default=None,
        description="message that the agent is given, 1 to 65536 characters. Absent means: messageFrom is set.",
    )
    message_from: MessageSource | None = Field(
        default=None,
        description="messageFrom is the key of a ConfigMap or of a Secret that has the message, UTF-8 of 1 to 65536 characters, as "
        "it is when the operator takes the job in. Absent means: message is set.",
    )
    inputs: Inputs | None = Field(
        default=None,
        description=f"inputs are files that the agent is given with the message, once, at most {INPUTS_MAX_ITEMS} and {INPUT_BYTES} "
        "bytes together, as they are when the operator takes the job in. While one is missing, the job waits with "
        "InputUnavailable. Absent means: none.",
    )
    state: State | None = Field(
        default=None,
        description="state that the session's state gets with the message, once: a JSON object of at most "
        f"{STATE_BYTES} bytes and {STATE_MAX_KEYS} keys, such as customer: Ada, which {{customer}} in an instruction "
        "becomes. No retry, rescue or further round puts it back over what tools changed. Keys do not begin with app:, "
        "temp:, _ or agentjobs; those that begin with user: want a userID. Absent means: none.",
    )
    user_id: Identity = Field(
        default=DEFAULT_USER,
        description="userID in whose name the agent runs; part of the session's identity. At most 63 characters, no "
        "white space. Default: system.",
    )
    app_name: Identity = Field(
        default=DEFAULT_APP,
        description="appName under which sessions are kept; part of the session's identity, always with the namespace. At "
        "most 63 characters, no white space. Default: agentjobs.",
    )
    session_id: Annotated[Identity, AfterValidator(_shared_session)] | None = Field(
        default=None,
        description="sessionID of the conversation to continue; jobs of one session run one at a time, in the order "
        "in which they become due. At most 63 characters, no white space, not beginning with job-. Absent means: a "
        "session of the job's own.",
        json_schema_extra=validations(
            rule(
                f"!self.startsWith('{OWN_SESSION_PREFIX}')",
                OWN_SESSIONS,
                got=quoted("self"),
            )
        ),
    )
    queue: QueueName = Field(default="agents", description=QUEUE_DESCRIPTION.format("agents"))
    priority: Priority = Field(default=2, description=PRIORITY_DESCRIPTION.format(2))
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3,
        description="maxAttempts is how many charged attempts the job has. Rate limits, outages and drains charge none; "
        "a permanent error ends the job at once. Lowered below the attempts used, maxAttempts allows no further one and "
        "stops none. Default: 3.",
    )
    retry_policy: RetryPolicy = Field(
        default_factory=RetryPolicy,
        description="retryPolicy says how long to wait between attempts. Default: 15 s, doubled up to 1 h, with ±10 % "
        "of jitter. An error that names its own delay overrides it.",
        json_schema_extra={"default": {}},
    )
    attempt_timeout_seconds: Annotated[int, Field(ge=1, le=WEEK_SECONDS)] = Field(
        default=1800,
        description="attemptTimeoutSeconds is how long one attempt may run before it is stopped and charged, in "
        "seconds. Default: 1800.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="startingDeadlineSeconds is how long after it became due the job may start, in seconds; then it "
        "fails with StartingDeadlineExceeded. It stands still while suspended or while the queue is paused. Absent "
        "means: no deadline.",
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="activeDeadlineSeconds is how long after its first start the job may take with all its attempts "
        "and waits, in seconds; then it fails with DeadlineExceeded. It starts over on resume. Absent means: no "
        "deadline.",
    )
    input_deadline_seconds: Annotated[int, Field(ge=1, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="inputDeadlineSeconds is how long a tool's question may wait for a person's answer, in seconds; "
        "then the job fails with InputDeadlineExceeded. It starts over on resume. Absent means: as long as "
        "activeDeadlineSeconds allows.",
    )
    budget: Budget | None = Field(
        default=None,
        description="budget that all runs of one round share, refunded and lost ones included. Absent means: none.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=YEAR_SECONDS)] | None = Field(
        default=None,
        description="ttlSecondsAfterFinished is how long after the job's end the object is deleted, in seconds; 0 deletes "
        "it at once. The job's rows in the database stay for the retention. Absent means: the operator's default.",
    )

    @model_validator(mode="after")
    def _one_message(self) -> Self:
        if self.message is None and self.message_from is None:
            raise refuse("is required", "message")
        if self.message is not None and self.message_from is not None:
            raise refuse(f"{MESSAGE_OR_SOURCE}: got both", "message")
        return self

    @model_validator(mode="after")
    def _a_user_for_its_state(self) -> Self:
        if self.user_id == DEFAULT_USER and has_user_keys(self.state):
            raise refuse(USER_KEYS_WANT_A_USER, "state")
        return self
