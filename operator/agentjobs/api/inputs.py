"""``spec.inputs`` and ``spec.messageFrom``: files, and the message, from ConfigMaps, Secrets and earlier jobs of the job's namespace.

They are data for the agent: nothing of them is imported or executed (invariant 12).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentjobs.api.agentjob_status import ARTIFACT_NAME_MAX_LENGTH
from agentjobs.api.meta import ApiModel, refuse, rule, validations
from agentjobs.values.names import DNS_LABEL_PATTERN

INPUTS_MAX_ITEMS = 16
INPUT_BYTES = 700 << 10
"""The most bytes of all inputs of a job together: they travel with it through the queue."""
NAME_MAX_LENGTH = 128
KEY_MAX_LENGTH = 253
_NAME = "[A-Za-z0-9_][A-Za-z0-9._-]*"
NAME_PATTERN = re.compile(f"(?={_NAME}$).{{1,{NAME_MAX_LENGTH}}}")
"""Names of files that a job may be given."""
NAME_WANTED = f"letters, digits, '.', '_' and '-', at most {NAME_MAX_LENGTH}, not beginning with '.' or '-'"
"""What such a name is, for people."""
MIME_TYPE_MAX_LENGTH = 127
_MIME_TYPE = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
MIME_TYPE_PATTERN = re.compile(f"(?={_MIME_TYPE}$).{{3,{MIME_TYPE_MAX_LENGTH}}}")
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=rf"^{DNS_LABEL_PATTERN}(\.{DNS_LABEL_PATTERN})*$")
]

EXACTLY_ONE_SOURCE = "set exactly one of configMapKeyRef and secretKeyRef"
EXACTLY_ONE_OF_THREE = "set exactly one of configMapKeyRef, secretKeyRef and artifactRef"
NAMES_TWICE = "has the same name twice: give each input a name of its own"


class KeyRef(ApiModel):
    """A key of a ConfigMap or of a Secret in the job's namespace."""

    name: ObjectName = Field(description="name of the object, in the job's namespace.")
    key: Annotated[str, Field(min_length=1, max_length=KEY_MAX_LENGTH, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="key of the object's data. Of a ConfigMap, data and binaryData are looked at."
    )


class Source(ApiModel):
    """The place of a value: a key of a ConfigMap or of a Secret."""

    config_map_key_ref: KeyRef | None = Field(
        default=None,
        description="configMapKeyRef is the name of a ConfigMap in the job's namespace, and a key of it. Absent means: "
        "secretKeyRef is set.",
    )
    secret_key_ref: KeyRef | None = Field(
        default=None,
        description="secretKeyRef is the name of a Secret in the job's namespace, and a key of it; the operator reads Secrets "
        "only where the installation allows it (operator.inputs.secrets of the chart). Absent means: configMapKeyRef is set.",
    )

    @property
    def kind(self) -> Literal["ConfigMap", "Secret", "AgentJob"]:
        """The kind of the object that has the value."""
        return "ConfigMap" if self.config_map_key_ref is not None else "Secret"

    @property
    def object_name(self) -> str:
        """The name of that object."""
        return self.key_ref.name

    @property
    def key_ref(self) -> KeyRef:
        """The key of a ConfigMap or Secret."""
        found = self.config_map_key_ref or self.secret_key_ref
        assert found is not None
        return found


class MessageSource(Source):
    """The key that has the message's text."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.configMapKeyRef) != has(self.secretKeyRef)",
                EXACTLY_ONE_SOURCE,
                field="",
                got="(has(self.configMapKeyRef) ? 'both' : 'neither')",
            )
        )
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.config_map_key_ref is None) == (self.secret_key_ref is None):
            got = "neither" if self.config_map_key_ref is None else "both"
            raise refuse(f"{EXACTLY_ONE_SOURCE}: got {got}")
        return self


class ArtifactRef(ApiModel):
    """A file that another job of the namespace has saved."""

    job: ObjectName = Field(
        description="job is the name of an AgentJob in the job's namespace, which is waited for until it is Complete."
    )
    name: Annotated[str, Field(min_length=1, max_length=ARTIFACT_NAME_MAX_LENGTH)] = Field(
        description="name of the file, as status.artifacts of that job has it. Its newest version is given."
    )


_SOURCES = "[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.artifactRef)].filter(x, x).size()"


class Input(Source):
    """A file that the agent is given with its message."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                f"{_SOURCES} == 1",
                EXACTLY_ONE_OF_THREE,
                field="",
                got=f"({_SOURCES} == 0 ? 'none' : 'several')",
            )
        )
    )

    artifact_ref: ArtifactRef | None = Field(
        default=None,
        description="artifactRef is a file that an earlier AgentJob of the namespace has saved (status.artifacts). The job waits until "
        "that one is Complete. Absent means: configMapKeyRef or secretKeyRef is set.",
    )
    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX_LENGTH, pattern=f"^{_NAME}$")] = Field(
        description=f"name of the file, such as data.csv: {NAME_WANTED}. Unique in the list.",
    )
    mime_type: (
        Annotated[
            str,
            Field(min_length=3, max_length=MIME_TYPE_MAX_LENGTH, pattern=f"^{_MIME_TYPE}$"),
        ]
        | None
    ) = Field(
        default=None,
        description="mimeType of the file, such as text/csv. Absent means: by the name's suffix; without one that is known, "
        "text/plain for UTF-8, else application/octet-stream.",
    )
    attach: Literal["Message", "Artifact"] = Field(
        default="Message",
        description="attach says how the agent gets the file: Message, with the message, as a part that the model reads, and as an "
        "artifact of the session; Artifact, only as an artifact, for what tools read and the model need not. Default: "
        "Message.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [
            one
            for one in (self.config_map_key_ref, self.secret_key_ref, self.artifact_ref)
            if one is not None
        ]
        if len(given) != 1:
            raise refuse(f"{EXACTLY_ONE_OF_THREE}: got {'several' if given else 'none'}")
        return self

    @property
    def kind(self) -> Literal["ConfigMap", "Secret", "AgentJob"]:
        return "AgentJob" if self.artifact_ref is not None else super().kind

    @property
    def object_name(self) -> str:
        return self.artifact_ref.job if self.artifact_ref is not None else super().object_name


def _unique(inputs: list[Input]) -> list[Input]:
    names = [one.name for one in inputs]
    if len(set(names)) < len(names):
        raise refuse(NAMES_TWICE)
    return inputs


Inputs = Annotated[
    list[Input],
    Field(
        max_length=INPUTS_MAX_ITEMS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
    AfterValidator(_unique),
]
