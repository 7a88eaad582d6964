"""RunAudit, RunAction, QueueAction, Erasure: what was done, and what is to be done."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from agentjobs.api.meta import ApiModel
from agentjobs.queue.numbers import MOST_SLOTS
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
    reason: ShortText | None = Field(default=None, description="reason of the state.")
    queue: ShortText | None = Field(default=None, description="queue that they are in.")
    agent: ShortText | None = Field(default=None, description="agent that runs them.")
    model: ShortText | None = Field(default=None, description="model of the agent.")
    user: ShortText | None = Field(default=None, description="user of their session.")
    session: ShortText | None = Field(default=None, description="session as the user wrote it.")
    since: ShortText | None = Field(
        default=None, description="since: created or ended after this time or in this duration, such as 2h."
    )

    uid: ShortText | None = Field(
        default=None, description="uid of one job without an object. Nothing may stand beside it."
    )


class RunActionSpec(Asked):
    """What is to be done to which jobs."""

    verb: Literal["retry", "cancel", "suspend", "resume"] = Field(description="verb: what is to be done.")
    filter: ActionFilter = Field(description="filter: to which jobs. Empty: all of the namespace.")
    reason: Words = Field(default="", description="reason for the audit.")
    spread_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=0, description="spreadSeconds over which retried jobs become due. Absent means: 0, at once."
    )
    continue_: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, alias="continue", description="continue of the answer before: the act goes on there."
    )


class RunActionStatus(ApiModel):
    """What was done."""

    matched: Count = Field(
        description="matched: how many jobs the filter found before the act, exactly; of one that went on after continue, how "
        "many it looked at."
    )
    changed: Count = Field(
        default=0, description="changed: how many took it, those that were so already too. 0 with dryRun=All."
    )
    finished: Count = Field(default=0, description="finished: how many had ended before, or were gone.")
    refused: dict[str, int] = Field(
        default_factory=dict, description="refused: how many refused it, by the reason."
    )
    continue_: str | None = Field(
        default=None,
        alias="continue",
        description="continue is sent in spec.continue for the rest. Absent means: all is done.",
    )


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
    max_running: Annotated[int, Field(ge=0, le=MOST_SLOTS)] | None = Field(
        default=None, description="maxRunning of limit. Absent means: no limit."
    )
    pool: ShortText | None = Field(default=None, description="pool whose breaker is reset.")
    model: ShortText | None = Field(default=None, description="model whose breaker is reset.")
    reason: Words = Field(default="", description="reason for the audit.")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        of_model = self.verb == "reset"
        needs = ("pool", "model") if of_model else ("queue",)
        strange: tuple[str, ...] = ("queue", "maxRunning") if of_model else ("pool", "model")
        if self.verb in ("pause", "resume"):
            strange = (*strange, "maxRunning")
        given = {
            "queue": self.queue, "maxRunning": self.max_running, "pool": self.pool, "model": self.model,
        }  # fmt: skip
        for name in needs:
            if not given[name]:
                raise ValueError(f"{self.verb}: {name} is wanted")
        for name in strange:
            if given[name] is not None:
                raise ValueError(f"{self.verb}: {name} does not belong to it")
        return self


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
    continue_: Annotated[str, Field(max_length=100)] | None = Field(
        default=None,
        alias="continue",
        description="continue of the status of an erasure of the same user by the same person: goes on with it.",
    )


class ErasureStatus(ApiModel):
    """What was erased."""

    id: str = Field(description="id of the erasure: the audit knows it by this number, and names no person.")
    jobs: Count = Field(default=0, description="jobs whose texts were erased, so far.")
    cancelled: Count = Field(default=0, description="cancelled: those of them that waited.")
    running: Count = Field(
        default=0, description="running jobs that were asked to stop: erase again once they have ended."
    )
    sessions: Count | None = Field(
        default=None,
        description="sessions: conversations that were erased. Absent means: none were looked for.",
    )
    objects: list[str] = Field(
        default_factory=list,
        description="objects (namespace/name) of the person that are still in Kubernetes: delete them.",
    )
    problem: str | None = Field(
        default=None, description="problem: what is left to do. Absent means: nothing."
    )
    continue_: str | None = Field(
        default=None,
        alias="continue",
        description="continue: not all is done yet; send it as spec.continue. Absent means: go on with nothing.",
    )


class Erasure(KubeObject):
    """Erasure removes one person's payloads, transcripts, results and outputs in a namespace; counts stay."""

    kind: Literal["Erasure"] = Field(default="Erasure", description="kind: Erasure.")
    metadata: Metadata | None = Field(default=None, description="metadata: not needed.")
    spec: ErasureSpec = Field(description="spec says whose data.")
    status: ErasureStatus | None = Field(default=None, description="status says what was erased.")
