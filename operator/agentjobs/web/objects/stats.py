"""QueueStat, Worker, Model: what the queues, the processes and the breakers do now."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Metadata, Time


class QueueStatStatus(ApiModel):
    """The numbers of one queue; in a namespace, those of its own jobs."""

    waiting: Count = Field(default=0, description="waiting jobs, in whatever state, that do not run.")
    running: Count = Field(default=0, description="running jobs.")
    by_state: dict[str, int] = Field(
        default_factory=dict, description="byState: the number of unfinished jobs by state."
    )
    slots: Count = Field(default=0, description="slots of all live workers together, in a namespace too.")
    oldest_wait_seconds: Count = Field(
        default=0, description="oldestWaitSeconds of the job that has been ready the longest."
    )
    max_running: Count | None = Field(
        default=None, description="maxRunning: the limit on running jobs. Absent means: no limit."
    )
    paused: bool = Field(default=False, description="paused: no job of the queue begins.")
    paused_time: Time | None = Field(default=None, description="pausedTime since when it is paused.")
    paused_by: str | None = Field(default=None, description="pausedBy: who paused it.")
    paused_reason: str | None = Field(default=None, description="pausedReason: why it is paused.")


class QueueStat(KubeObject):
    """QueueStat is one queue now; its name is the queue's."""

    kind: Literal["QueueStat"] = Field(default="QueueStat", description="kind: QueueStat.")
    metadata: Metadata = Field(description="metadata: the name is the queue's.")
    status: QueueStatStatus = Field(description="status: the numbers.")


class QueueStatList(KubeObject):
    """The queues."""

    kind: Literal["QueueStatList"] = Field(default="QueueStatList", description="kind: QueueStatList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the list.")
    items: list[QueueStat] = Field(description="items: the queues by name.")


class WorkerStatus(ApiModel):
    """One live process."""

    pool: str = Field(description="pool that the worker belongs to.")
    version: str | None = Field(default=None, description="version of agentjobs that it runs.")
    queues: dict[str, int] = Field(
        default_factory=dict, description="queues that it serves, with its slots for each."
    )
    slots: Count = Field(default=0, description="slots of all its queues together.")
    running: Count | None = Field(
        default=None,
        description="running jobs that it has in hand, of all namespaces. Absent in one of them.",
    )
    accepting: bool = Field(
        default=True, description="accepting new jobs; false: it drains, or cannot start runs yet."
    )
    last_beat_time: Time | None = Field(
        default=None, description="lastBeatTime at which the database heard it last."
    )


class Worker(KubeObject):
    """Worker is one live worker process."""

    kind: Literal["Worker"] = Field(default="Worker", description="kind: Worker.")
    metadata: Metadata = Field(description="metadata: the name is the process's.")
    status: WorkerStatus = Field(description="status of the process.")


class WorkerList(KubeObject):
    """The live workers."""

    kind: Literal["WorkerList"] = Field(default="WorkerList", description="kind: WorkerList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the list.")
    items: list[Worker] = Field(description="items: the workers by name.")


class ModelStatus(ApiModel):
    """The breaker of one model in one pool."""

    pool: str = Field(description="pool whose breaker this is.")
    model: str = Field(description="model, or module:NAME where the model is not known.")
    open: bool = Field(description="open: the pool claims no job of the model, but probes.")
    reason: str | None = Field(
        default=None, description="reason: ModelUnavailable, ModelAuthFailed or ModelRateLimited."
    )
    failures: Count = Field(default=0, description="failures in a row.")
    since: Time | None = Field(default=None, description="since when it is open, or counts failures.")
    last_failure: str | None = Field(default=None, description="lastFailure: the reason of the last one.")
    probe_time: Time | None = Field(default=None, description="probeTime of the next try.")
    running: Count | None = Field(
        default=None,
        description="running jobs that the breaker let through, in all namespaces. Absent in one of them.",
    )
    blocked: Count | None = Field(
        default=None,
        description="blocked jobs that wait for the model, in all namespaces. Absent in one of them.",
    )


class Model(KubeObject):
    """Model is one model whose breaker is open or counts failures."""

    kind: Literal["Model"] = Field(default="Model", description="kind: Model.")
    metadata: Metadata = Field(
        description="metadata: the name is <pool>.<model>; with a hash where that is no DNS name."
    )
    status: ModelStatus = Field(description="status of the breaker.")


class ModelList(KubeObject):
    """The models with a breaker; a model that answers has none."""

    kind: Literal["ModelList"] = Field(default="ModelList", description="kind: ModelList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the list.")
    items: list[Model] = Field(description="items: the models by name.")
