"""RunSeries: what ended, by time, for charts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Time


class RunSeriesPoint(ApiModel):
    """What ended in one step with one key and one outcome."""

    time: Time = Field(description="time at which the step begins.")
    key: str = Field(
        description="key: the queue, reason, agent or model, as by says; empty where there is none."
    )
    outcome: str = Field(description="outcome: Complete, Failed, Cancelled or Rejected.")
    count: Count = Field(description="count of rounds that ended.")
    total_tokens: Count = Field(default=0, description="totalTokens of these rounds.")
    seconds: float = Field(default=0.0, description="seconds that their last runs took, added up.")


class RunSeries(KubeObject):
    """RunSeries is what ended in a time, step by step. Steps in which nothing ended have no point."""

    kind: Literal["RunSeries"] = Field(default="RunSeries", description="kind: RunSeries.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the series.")
    since_time: Time = Field(description="sinceTime: the series' begin.")
    until_time: Time = Field(description="untilTime: the series' end.")
    step_seconds: int = Field(default=60, description="stepSeconds of a point.")
    by: Literal["queue", "namespace", "agent", "model", "reason"] = Field(description="by: what a key is.")
    items: list[RunSeriesPoint] = Field(description="items: the points by their time.")
