"""RunSeries: what has ended, by time, for charts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Metadata, Time


class SeriesPoint(ApiModel):
    """What has ended in one step of time, with one outcome."""

    time: Time = Field(description="time at which the step begins.")
    outcome: str = Field(description="outcome: Complete, Failed, Cancelled or Rejected.")
    count: Count = Field(description="count of the rounds of jobs that have ended.")
    total_tokens: Count = Field(default=0, description="totalTokens of all their runs.")
    seconds: float = Field(default=0.0, description="seconds that their last runs took, added up.")


class RunSeries(KubeObject):
    """RunSeries is what has ended of one key, such as a queue, step by step. Steps in which nothing ended have no point."""

    kind: Literal["RunSeries"] = Field(default="RunSeries", description="kind: RunSeries.")
    metadata: Metadata = Field(description="metadata: the name is the key's, as a DNS name.")
    key: str = Field(description="key: the queue, namespace, agent, model or reason. Empty means: not known.")
    step_seconds: int = Field(description="stepSeconds of a point.")
    points: list[SeriesPoint] = Field(description="points: by time, then by outcome.")

    def ended(self, outcome: str | None = None) -> int:
        """How many have ended, of one outcome or of all."""
        return sum(point.count for point in self.points if outcome in (None, point.outcome))


class RunSeriesList(KubeObject):
    """The series of all keys, those with the most first."""

    kind: Literal["RunSeriesList"] = Field(default="RunSeriesList", description="kind: RunSeriesList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the list.")
    since: Time = Field(description="since: where the first step begins.")
    until: Time = Field(description="until: before which all of it ended.")
    items: list[RunSeries] = Field(description="items: a series for each key.")
