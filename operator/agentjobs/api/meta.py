"""The parts that both kinds share: group and version, annotations, the base models, times, conditions.

The models are strict about types, as the API server is: "3" is not 3. They ignore unknown fields, since an
operator may be older than the installed CRD and must not refuse an object that the API server accepted.
``validation.problems_of`` reports unknown fields where a person waits for the answer.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from agentjobs.api.names import API_VERSION as API_VERSION
from agentjobs.api.names import GROUP as GROUP
from agentjobs.api.names import INSTALLATION_LABEL as INSTALLATION_LABEL
from agentjobs.api.names import MANAGED_BY as MANAGED_BY
from agentjobs.api.names import RETRY_REQUESTED_AT as RETRY_REQUESTED_AT
from agentjobs.api.names import RUN_REQUESTED_AT as RUN_REQUESTED_AT
from agentjobs.api.names import SCHEDULE_LABEL as SCHEDULE_LABEL
from agentjobs.api.names import SCHEDULED_TIME as SCHEDULED_TIME
from agentjobs.api.names import VERSION as VERSION
from agentjobs.api.names import WATCHED_NAMESPACES as WATCHED_NAMESPACES

TRACEPARENT = f"{GROUP}/traceparent"
"""Annotation on a new AgentJob: the W3C traceparent of the job's spans."""

Schema = dict[str, Any]


def serialized_name(name: str) -> str:
    """The API's name of a field: ``session_id`` → ``sessionID``, ``max_llm_calls`` → ``maxLLMCalls``.

    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#naming-conventions
    """
    return re.sub(r"(Id|Llm)(?=[A-Z]|$)", lambda m: m[0].upper(), to_camel(name))


def rule(cel: str, message: str, field: str = "", reason: str = "FieldValueInvalid", got: str = "") -> Schema:
    """One ``x-kubernetes-validations`` entry.

    :param field: serialized name of the field that the server's error names.
    :param got: CEL expression of the value for the message: the server shows only the type of a value that
        CEL refuses.
    """
    path = {"fieldPath": f".{field}"} if field else {}
    found = {"messageExpression": f"{json.dumps(message + ': got ')} + {got}"} if got else {}
    return {"rule": cel, "message": message, **found, **path, "reason": reason}


OUTSIDE_OF_ASCII = (
    " (with characters outside of ASCII, such as a no-break space or a long dash: type it anew)"
)


def quoted(text: str) -> str:
    """The CEL expression of a text for a message: in quotes, without a line break, which a message may not have.

    A no-break space is written as its number; of other characters that look like those of a keyboard, a hint
    tells.

    :param text: the CEL expression of the text.
    """
    visible = f"strings.quote({text}).replace('\\u00a0', '\\\\u00a0')"
    return f"{visible} + ({text}.matches('[^\\\\x00-\\\\x7f]') ? {json.dumps(OUTSIDE_OF_ASCII)} : '')"


def refuse(message: str, field: str = "") -> PydanticCustomError:
    """The error that a model's validator raises for the same rule as a CEL rule.

    :param field: serialized name of the field at fault.
    """
    return PydanticCustomError("rule", "{message}", {"message": message, "field": field})


def validations(*rules: Schema) -> Schema:
    """The ``json_schema_extra`` with these rules."""
    return {"x-kubernetes-validations": list(rules)}


class ApiModel(BaseModel):
    """Base of all models of the API: immutable, strict about types, with camelCase names outside of
    Python."""

    model_config = ConfigDict(
        strict=True, frozen=True, alias_generator=serialized_name, populate_by_name=True
    )

    def as_json(self) -> dict[str, Any]:
        """The object as the API server stores it: serialized names, defaults filled in, nothing null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-9]{2})"
)


def parse_time(text: str) -> datetime:
    """An RFC 3339 time as an aware datetime. Fractions below a microsecond are cut.

    :raises ValueError: the text is another, or has no offset.
    """
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("wants an RFC 3339 time with an offset, such as 2026-12-01T09:00:00Z")


def format_time(moment: datetime) -> str:
    """An aware datetime as Kubernetes writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _text_of_time(value: object) -> object:
    """The text of a time, which a YAML loader for Python has turned into a datetime where it was unquoted."""
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value


def _checked_time(text: str) -> str:
    try:
        parse_time(text)
    except ValueError as error:
        raise refuse(str(error)) from None
    return text


Timestamp = Annotated[
    str,
    BeforeValidator(_text_of_time),
    AfterValidator(_checked_time),
    Field(json_schema_extra={"format": "date-time"}),
]
"""An RFC 3339 time, kept as text so that it is written back as it was read. ``parse_time`` gives the
datetime."""


def _due_year(text: str) -> str:
    if not _FIRST_DUE <= parse_time(text) < _AFTER_LAST_DUE:
        raise refuse(DUE_YEARS)
    return text


_FIRST_DUE, _AFTER_LAST_DUE = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
DUE_YEARS = "wants a year from 1970 to 2999, in UTC"
DueTime = Annotated[
    Timestamp,
    AfterValidator(_due_year),
    Field(
        json_schema_extra={
            "pattern": f"^{_RFC3339.pattern}$",
            **validations(rule("self.getFullYear() >= 1970 && self.getFullYear() <= 2999", DUE_YEARS)),
        }
    ),
]
"""A time that users choose, in years with which each calendar and database can do arithmetic."""


class OwnerReference(ApiModel):
    """An owner of an object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(ApiModel):
    """The parts of an object's metadata that agentjobs reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)

    def controller(self, kind: str) -> OwnerReference | None:
        """The owner of this kind that manages the object."""
        return next(
            (owner for owner in self.owner_references if owner.controller and owner.kind == kind), None
        )


CONDITION_MESSAGE_MAX_LENGTH = 4096
REASON_MAX_LENGTH = 128


class Condition(ApiModel):
    """One observation about the object: its type, its status, since when and why."""

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="type of the condition in CamelCase, such as Finished; unique in the list."
    )
    status: Annotated[str, Field(min_length=1, max_length=16)] = Field(
        description="status of the condition: True, False or Unknown."
    )
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="observedGeneration is the metadata.generation for which the condition was set. Absent means: not "
        "known.",
        json_schema_extra={"format": "int64"},
    )
    last_transition_time: Timestamp = Field(
        description="lastTransitionTime is when the status of this condition last changed, by the database's clock."
    )
    reason: Annotated[str, Field(min_length=1, max_length=REASON_MAX_LENGTH)] = Field(
        description="reason in CamelCase for the last change, one of the documented constants; clients must tolerate "
        "unknown ones."
    )
    message: Annotated[str, Field(max_length=CONDITION_MESSAGE_MAX_LENGTH)] = Field(
        description="message for people: what happened and what to do. May be empty."
    )
