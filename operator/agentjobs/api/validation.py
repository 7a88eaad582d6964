"""Validation of manifests after the API server's, or without one: the problems of an object, field by field.

The CRD's schema and CEL rules refuse most problems earlier. Some remain: those that a CRD cannot express,
such as an unknown time zone or a cron field out of range; those that an older CRD lets pass; and all of them
in ``agentjobs local``, which has no API server.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentjobs.api import agentjob, scheduledagentjob
from agentjobs.api.agentjob import AgentJob
from agentjobs.api.job_spec import MESSAGE_MAX_LENGTH
from agentjobs.api.meta import API_VERSION, OUTSIDE_OF_ASCII
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.values.names import DNS_LABEL_PATTERN
from agentjobs.values.reasons import Reason

KINDS: Mapping[str, type[AgentJob] | type[ScheduledAgentJob]] = {
    AgentJob.KIND: AgentJob,
    ScheduledAgentJob.KIND: ScheduledAgentJob,
}
NAME_MAX_LENGTHS = {
    AgentJob.KIND: agentjob.NAME_MAX_LENGTH,
    ScheduledAgentJob.KIND: scheduledagentjob.NAME_MAX_LENGTH,
}
TEXTS = frozenset({"message", "instruction", "description", "stopSequences", "state"})
"""Fields whose text no problem repeats, since problems go into logs and Events."""

DATA = frozenset({"state"})
"""Fields with JSON of the user's own: nulls and names in it are kept as they are."""
_SUBDOMAIN = re.compile(rf"{DNS_LABEL_PATTERN}(\.{DNS_LABEL_PATTERN})*")
_VALUE_CHARACTERS = 80
# longest text that each $(NAME) in a schedule's message can become
_EXPANDED_LENGTHS = {"$(SCHEDULED_TIME)": 25, "$(SCHEDULED_DATE)": 10, "$(LAST_SUCCESSFUL_TIME)": 25}
_TYPES = {
    "string_type": "text",
    "string_unicode": "text that is valid Unicode",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}


class Problem(NamedTuple):
    """One problem of a manifest: the field's path as users write it, what the field wants, and what it
    got."""

    field: str
    message: str

    @property
    def reason(self) -> Reason:
        """The reason of the condition ``Accepted=False`` for this problem."""
        return {
            "spec.schedule": Reason.UNPARSEABLE_SCHEDULE,
            "spec.timeZone": Reason.UNKNOWN_TIME_ZONE,
        }.get(self.field, Reason.INVALID_SPEC)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def problems_of(manifest: Mapping[str, Any], *, stored: bool = False) -> list[Problem]:
    """The problems of an AgentJob or a ScheduledAgentJob.

    :param stored: the object comes from an API server. A field that this version does not know is then one of
        a newer CRD, and no problem.
    """
    if manifest.get("apiVersion") != API_VERSION:
        return [Problem("apiVersion", f"wants {API_VERSION}, got {_shown(manifest.get('apiVersion'))}")]
    kind = manifest.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return [Problem("kind", f"wants {' or '.join(KINDS)}, got {_shown(kind)}")]
    content = {key: value for key, value in without_nulls(manifest).items() if key != "status"}
    problems = list(_name_problems(content.get("metadata"), NAME_MAX_LENGTHS[model.KIND]))
    if not stored:
        problems += _unknown_fields(model, {key: v for key, v in content.items() if key != "metadata"}, "")
    try:
        model.model_validate(content)
    except ValidationError as error:
        found = [_problem(detail) for detail in error.errors(include_url=False)]
        # the model tells it alone where nothing else is wrong
        problems += [problem for problem in _missing_message(model, content) if problem not in found] + found
    if model is ScheduledAgentJob:
        problems += _schedule_problems(content.get("spec"))
    return problems


def without_nulls(value: Any) -> Any:
    """``value`` without its nulls: to the API server, a field with null is absent."""
    if isinstance(value, Mapping):
        return {
            key: inner if key in DATA else without_nulls(inner)
            for key, inner in value.items()
            if inner is not None
        }
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def _name_problems(metadata: object, max_length: int) -> Iterator[Problem]:
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, Mapping):
        return  # the model refuses its type
    name = metadata.get("name")
    if name is None and not metadata.get("generateName"):
        yield Problem("metadata.name", "is required, or metadata.generateName")
    if isinstance(name, str):
        if len(name) > max_length:
            yield Problem("metadata.name", f"wants at most {max_length} characters, got {len(name)}")
        if not _SUBDOMAIN.fullmatch(name):
            wanted = "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
            yield Problem("metadata.name", f"wants {wanted}, got {_shown(name)}")


def _missing_message(model: type[AgentJob] | type[ScheduledAgentJob], content: object) -> Iterator[Problem]:
    path = ("spec",) if model is AgentJob else ("spec", "jobTemplate", "spec")
    spec = _at(content, *path)
    if isinstance(spec, Mapping) and not spec.keys() & {"message", "messageFrom"}:
        yield Problem(_path((*path, "message")), "is required")


def _schedule_problems(spec: object) -> Iterator[Problem]:
    """Problems of the message once its times are filled in. Wrong types are left to the model."""
    message = _at(spec, "jobTemplate", "spec", "message")
    if not isinstance(message, str) or len(message) > MESSAGE_MAX_LENGTH:
        return
    grown = len(message) + sum(message.count(name) * (n - len(name)) for name, n in _EXPANDED_LENGTHS.items())
    if grown > MESSAGE_MAX_LENGTH:
        yield Problem(
            "spec.jobTemplate.spec.message",
            f"wants at most {MESSAGE_MAX_LENGTH} characters once its times are filled in, can become {grown}",
        )


def _at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


# unknown fields ----------------------------------------------------------------------------------------


def _unknown_fields(model: type[BaseModel], content: object, path: str) -> Iterator[Problem]:
    if not isinstance(content, Mapping):
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for key, value in content.items():
        where = f"{path}{key}"
        if key not in known:
            yield Problem(where, f"unknown field; {_suggestion(str(key), known)}")
        elif inner := _model_in(known[key]):
            for place, one in enumerate(value) if isinstance(value, list) else [(None, value)]:
                path_ = f"{where}." if place is None else f"{where}[{place}]."
                yield from _unknown_fields(inner, one, path_)


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    folded = {name.lower(): name for name in known}
    close = get_close_matches(key.lower().replace("_", ""), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"known are {', '.join(known)}"


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model in a field's annotation, such as ``Budget | None``, or of a list's items. None: it has no model."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin is list:
        return _model_in(typing.get_args(annotation)[0])
    if origin is types.UnionType or origin is typing.Union:
        return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
    return None


# pydantic's errors in our words ------------------------------------------------------------------------


def _problem(detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    field = _path((*detail["loc"], *([context["field"]] if context.get("field") else ())))
    return Problem(field, _message(detail, context))


def _path(parts: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _message(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind, value = detail["type"], detail["input"]
    private = any(part in TEXTS for part in detail["loc"])
    got = _type_name(value) if private else _shown(value)
    match kind:
        case "missing":
            return "is required"
        case "rule":
            message = str(context["message"])
            return message if context["field"] or not isinstance(value, str) else f"{message}: got {got}"
        case "string_too_long" | "too_long":
            return f"wants at most {context['max_length']} {_units(value)}, got {len(value)}"
        case "string_too_short":
            return f"wants at least {context['min_length']} {_units(value)}, got {len(value)}"
        case "string_pattern_mismatch":
            return f"wants text that matches {context['pattern']}, got {got}"
        case "greater_than_equal":
            return f"wants at least {context['ge']}, got {got}"
        case "less_than_equal":
            return f"wants at most {context['le']}, got {got}"
        case "literal_error":
            return f"wants {context['expected']}, got {got}"
        case _ if kind in _TYPES:
            return f"wants {_TYPES[kind]}, got {got}"
        case _:
            return f"{detail['msg']}, got {got}"


def _units(value: object) -> str:
    return "characters" if isinstance(value, str) else "items"


def _type_name(value: object) -> str:
    names = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping | list):
        return _type_name(value)
    text = repr(value)
    text = text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
    return text if not isinstance(value, str) or value.isascii() else f"{text}{OUTSIDE_OF_ASCII}"
