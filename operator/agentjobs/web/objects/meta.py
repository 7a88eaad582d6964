"""The metadata of the runs API's objects, and the base models of objects and lists."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from agentjobs.api.meta import ApiModel, format_time
from agentjobs.web.names import API_VERSION

Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Metadata(ApiModel):
    """The metadata of one object. Nothing but a job has labels of its own; those are at its AgentJob."""

    name: str = Field(description="name of the object; of a job without an AgentJob, its uid.")
    namespace: str | None = Field(
        default=None,
        description="namespace of the object; - for jobs without an AgentJob. Absent means: all namespaces together.",
    )
    uid: str | None = Field(default=None, description="uid of the job. Absent means: not of a job.")
    creation_timestamp: Time | None = Field(
        default=None, description="creationTimestamp at which it was asked for. Absent means: not known."
    )
    resource_version: str | None = Field(
        default=None, description="resourceVersion changes with the object; opaque."
    )


class ListMetadata(ApiModel):
    """The metadata of one page of a list."""

    resource_version: str = Field(
        default="", description="resourceVersion from which a watch goes on; opaque."
    )
    continue_: str | None = Field(
        default=None,
        alias="continue",
        description="continue is sent back as the query parameter continue for the next page. Absent means: the last page.",
    )


class KubeObject(ApiModel):
    """An object of the runs API, or a list of them. Each subclass names its ``kind``."""

    api_version: str = Field(
        default=API_VERSION, description=f"apiVersion is the schema's group and version: {API_VERSION}."
    )
    kind: str = Field(default="", description="kind of the object.")


def time_text(moment: datetime | None) -> str | None:
    """The time as Kubernetes writes it; None: there is none."""
    return None if moment is None else format_time(moment)
