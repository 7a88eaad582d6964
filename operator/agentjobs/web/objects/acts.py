"""RunAudit, RunAction, QueueAction, Erasure: what was done, and what is to be done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Metadata

ShortText = Annotated[str, Field(max_length=253)]
Words = Annotated[str, Field(max_length=1024)]


class Asked(ApiModel):
    """The base of what a user sends: unknown fields are refused, since a misspelt filter would act on more."""

    model_config = ConfigDict(extra="forbid")


class RunAudit(KubeObject):
    """RunAudit is one act: who did what to which target, and why."""

    kind: Literal["RunAudit"] = Field(default="RunAudit", description="kind: RunAudit.")
    metadata: Metadata = Field(description="metadata: the name is the row's number.")
    actor: str | None = Field(default=None, description="actor: who did it. Absent means: not said.")
    verb: str = Field(description="verb: what was done.")
    target: str | None = Field(default=None, description="target: name of the job, queue or user.")
    uid: str | None = Field(default=None, description="uid of the job.")
    queue: str | None = Field(default=None, description="queue of the act.")
    reason: str | None = Field(default=None, description="reason that the actor gave.")
    before: str | None = Field(default=None, description="before: what was, as JSON.")
    after: str | None = Field(default=None, description="after: what is, as JSON.")
    source: str | None = Field(default=None, description="source: through what it was done.")


class RunAuditList(KubeObject):
    """One page of acts, the newest first."""

    kind: Literal["RunAuditList"] = Field(default="RunAuditList", description="kind: RunAuditList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the page.")
    items: list[RunAudit] = Field(description="items: the acts, the newest first.")


class ActionFilter(Asked):
    """Which jobs: all of the given conditions hold. The same words as the query parameters of a list."""

    state: Annotated[list[ShortText], Field(max_length=10)] = Field(
        default_factory=list, description="state: one of these."
    )
    uid: ShortText | None = Field(default=None, description="uid of one job.")
    reason: ShortText | None = Field(default=None, description="reason of the state.")
    queue: ShortText | None = Field(default=None, description="queue that they are in.")
    agent: ShortText | None = Field(default=None, description="agent that runs them.")
    model: ShortText | None = Field(default=None, description="model of the agent.")
    user: ShortText | None = Field(default=None, description="user of their session.")
    session: ShortText | None = Field(default=None, description="session as the user wrote it.")
    since: ShortText | None = Field(
        default=None, description="since: created or ended after this time or in this duration, such as 2h."
    )


class RunActionSpec(Asked):
    """What is to be done to which jobs."""

    verb: Literal["retry", "cancel", "suspend", "resume"] = Field(description="verb: what is to be done.")
    filter: ActionFilter = Field(description="filter: to which jobs. Empty: all of the namespace.")
    reason: Words = Field(default="", description="reason for the audit.")
    spread_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=0, description="spreadSeconds over which retried jobs become due. Absent means: 0, at once."
    )


class RunActionStatus(ApiModel):
    """What was done."""

    matched: Count = Field(description="matched: how many jobs the filter found.")
    changed: Count = Field(default=0, description="changed: how many were changed. 0 with dryRun=All.")


class RunAction(KubeObject):
    """RunAction acts on all jobs of a filter. With dryRun=All it only counts them, exactly."""

    kind: Literal["RunAction"] = Field(default="RunAction", description="kind: RunAction.")
    metadata: Metadata | None = Field(default=None, description="metadata: not needed.")
    spec: RunActionSpec = Field(description="spec says what is to be done.")
    status: RunActionStatus | None = Field(default=None, description="status says what was done.")


class QueueActionSpec(Asked):
    """What is to be done to which queue or model."""

    verb: Literal["pause", "resume", "limit", "reset"] = Field(
        description="verb: pause, resume or limit a queue; reset a model."
    )
    queue: ShortText | None = Field(default=None, description="queue to pause, resume or limit.")
    max_running: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="maxRunning of limit. Absent means: no limit."
    )
    pool: ShortText | None = Field(default=None, description="pool whose breaker is reset.")
    model: ShortText | None = Field(default=None, description="model whose breaker is reset.")
    reason: Words = Field(default="", description="reason for the audit.")


class QueueActionStatus(ApiModel):
    """What was done."""

    changed: bool = Field(description="changed: false where there was nothing to change.")


class QueueAction(KubeObject):
    """QueueAction pauses, resumes or limits a queue, or resets a model's breaker."""

    kind: Literal["QueueAction"] = Field(default="QueueAction", description="kind: QueueAction.")
    metadata: Metadata | None = Field(default=None, description="metadata: not needed.")
    spec: QueueActionSpec = Field(description="spec says what is to be done.")
    status: QueueActionStatus | None = Field(default=None, description="status says what was done.")


class ErasureSpec(Asked):
    """Whose data is erased."""

    user: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="user whose data is erased."
    )
    reason: Words = Field(default="", description="reason for the audit.")


class ErasureStatus(ApiModel):
    """What was erased."""

    erased: dict[str, int] = Field(default_factory=dict, description="erased: how much, by what it was.")


class Erasure(KubeObject):
    """Erasure removes one person's payloads, transcripts, results and outputs in a namespace; counts stay."""

    kind: Literal["Erasure"] = Field(default="Erasure", description="kind: Erasure.")
    metadata: Metadata | None = Field(default=None, description="metadata: not needed.")
    spec: ErasureSpec = Field(description="spec says whose data.")
    status: ErasureStatus | None = Field(default=None, description="status says what was erased.")
