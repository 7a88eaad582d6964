"""A job as a program describes it: the fields of an AgentJob's spec, checked as a manifest's are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, TypedDict, Unpack
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from pydantic import BaseModel

from agentjobs.api.agent import Agent, GenerateContentConfig, InlineAgent
from agentjobs.api.agentjob import AgentJob, AgentJobSpec
from agentjobs.api.given import Given, mime_type_of, too_large
from agentjobs.api.inputs import INPUTS_MAX_ITEMS, MIME_TYPE_PATTERN, NAME_PATTERN, NAME_WANTED
from agentjobs.api.job_spec import Budget, RetryPolicy
from agentjobs.api.meta import API_VERSION, ObjectMeta
from agentjobs.api.payload import payload_of, session_of
from agentjobs.api.validation import DATA, problems_of, without_nulls
from agentjobs.client.errors import InvalidJob
from agentjobs.queue import records
from agentjobs.values.input_file import ARTIFACT, MESSAGE, InputFile
from agentjobs.values.names import is_dns_label

_UNIQUE = uuid5(NAMESPACE_URL, "https://agentjobs.dev/unique")
_MODELS: tuple[type[BaseModel], ...] = (
    AgentJobSpec,
    RetryPolicy,
    Budget,
    Agent,
    InlineAgent,
    GenerateContentConfig,
)
_SERIALIZED = {
    name: field.alias or name for model in _MODELS for name, field in model.model_fields.items()
} | {"run_at": "scheduledTime"}
"""Python's names, and those of manifests."""
_OF_OBJECTS = {"message_from", "ttl_seconds_after_finished", "cancel", "suspend", "scheduled_time"}
"""Fields that say something of an object in Kubernetes, or have another name here."""
_SAME = (
    "queue",
    "priority",
    "max_attempts",
    "attempt_timeout_seconds",
    "starting_deadline_seconds",
    "active_deadline_seconds",
)
"""Fields that the queue knows by the spec's own names."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file of ``inputs`` of which more than its content is said."""

    data: bytes
    mime_type: str | None = None
    """None: by the name's suffix; without one that is known, text/plain for UTF-8, else application/octet-stream."""
    attach: Literal["Message", "Artifact"] = "Message"
    """Message: the model reads it with the message, and it is an artifact of the session. Artifact: that alone, for tools."""


class Options(TypedDict, total=False):
    """The optional fields of a job: those of an AgentJob's spec (docs/reference.md), with Python's names."""

    state: Mapping[str, Any] | None
    """What the session's state gets with the message, once."""
    inputs: Mapping[str, bytes | Input] | None
    """Files that the agent is given with the message, once, by their names, such as data.csv: contents, or ``Input``."""
    user_id: str
    app_name: str
    session_id: str | None
    queue: str
    priority: int
    max_attempts: int
    retry_policy: Mapping[str, int]
    """initial_delay_seconds, factor, max_delay_seconds, max_wait_seconds."""
    attempt_timeout_seconds: int
    starting_deadline_seconds: int | None
    active_deadline_seconds: int | None
    input_deadline_seconds: int | None
    budget: Mapping[str, int] | None
    """max_tokens, max_llm_calls."""
    run_at: datetime | None
    """When it is due, with a zone. None: at once."""
    delay_seconds: int | None
    """How long after it is enqueued it is due."""
    namespace: str
    """Part of the session's identity, as an object's namespace is. Absent: default."""
    name: str
    """What logs and traces call it. Absent: its uid."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of an agent, to be enqueued; each enqueue makes another one."""

    spec: AgentJobSpec
    namespace: str = "default"
    name: str = ""
    files: tuple[InputFile, ...] = ()
    """Of ``inputs``."""

    @classmethod
    def module(cls, module: str, message: str = "", **options: Unpack[Options]) -> Self:
        """A job for an agent in the worker's image: ``pkg.mod`` or ``pkg.mod:attr``. Raises InvalidJob."""
        return cls._checked({"module": module}, message, options)

    @classmethod
    def inline(cls, agent: Mapping[str, Any], message: str = "", **options: Unpack[Options]) -> Self:
        """A job for an agent as data, the fields of ``spec.agent.inline``: name, model, instruction … Raises InvalidJob."""
        return cls._checked({"inline": agent}, message, options)

    @classmethod
    def _checked(cls, agent: Mapping[str, Any], message: str, options: Options) -> Self:
        given: dict[str, Any] = {**options, "agent": agent} | ({"message": message} if message else {})
        namespace, name = given.pop("namespace", "default"), given.pop("name", "")
        problems = list(_own_problems(given, namespace))
        files: tuple[InputFile, ...] = ()
        if told := list(_problems_of_inputs(inputs := given.pop("inputs", None) or {})):
            problems += told
        else:
            files = tuple(_file(file, value) for file, value in inputs.items())
            problems += too_large(files, "inputs")
        spec = without_nulls(_serialized(given))
        manifest = {
            "apiVersion": API_VERSION,
            "kind": AgentJob.KIND,
            "metadata": {"name": name or "job"},
            "spec": spec,
        }
        problems += [_in_python(str(problem)) for problem in problems_of(manifest)]
        if problems:
            raise InvalidJob(problems)
        return cls(AgentJobSpec.model_validate(spec), namespace, name, files)

    def to_enqueue(self, unique: str | None) -> records.NewJob:
        """The job as the queue takes it."""
        uid = uuid4() if unique is None else unique_uid(self.namespace, unique)
        metadata = ObjectMeta(namespace=self.namespace, name=self.name or str(uid))
        job = AgentJob(metadata=metadata, spec=self.spec)
        return records.NewJob(
            uid=uid,
            payload=payload_of(job, Given(files=self.files)),
            session=session_of(job),
            run_at=self.spec.due_at(datetime.now(UTC)),
            retry=records.RetryPolicy(**self.spec.retry_policy.model_dump()),
            **{field: getattr(self.spec, field) for field in _SAME},
        )


def unique_uid(namespace: str, key: str) -> UUID:
    """The uid of the job with this key: the same in each program, so that the database keeps one of them."""
    return uuid5(_UNIQUE, f"{namespace}/{key}")


def _own_problems(given: dict[str, Any], namespace: object) -> Iterator[str]:
    """What a manifest's checks cannot know; takes out of ``given`` what they would tell again."""
    if not isinstance(namespace, str) or not is_dns_label(namespace):
        yield f"namespace: wants a DNS label: a-z, 0-9 and '-', at most 63 characters, got {namespace!r:.80}"
    for field in _OF_OBJECTS & given.keys():
        del given[field]
        instead = "use run_at" if field == "scheduled_time" else "it is for objects in Kubernetes alone"
        yield f"{field}: unknown field; {instead}"
    due = given.get("run_at")
    if isinstance(due, datetime):
        if due.tzinfo is None:
            del given["run_at"]
            yield f"run_at: wants a time with a zone, such as datetime.now(UTC), got {due!r}"
        else:
            given["run_at"] = due.astimezone(UTC).isoformat()


def _problems_of_inputs(inputs: object) -> Iterator[str]:
    if not isinstance(inputs, Mapping):
        yield f"inputs: wants contents by names, such as {{'data.csv': b'…'}}, got {type(inputs).__name__}"
        return
    if len(inputs) > INPUTS_MAX_ITEMS:
        yield f"inputs: wants at most {INPUTS_MAX_ITEMS} files, got {len(inputs)}"
    for name, value in inputs.items():
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
            yield f"inputs: wants names of {NAME_WANTED}, got {name!r:.80}"
        field, one = f"inputs[{name!r:.80}]", _input(value)
        if not isinstance(one.data, bytes):
            yield f"{field}: wants bytes, or agentjobs.Input with bytes, got {type(one.data).__name__}"
        if one.attach not in (MESSAGE, ARTIFACT):
            yield f"{field}.attach: wants {MESSAGE} or {ARTIFACT}, got {one.attach!r:.80}"
        mime_type = one.mime_type
        if mime_type is not None and not (
            isinstance(mime_type, str) and MIME_TYPE_PATTERN.fullmatch(mime_type)
        ):
            yield f"{field}.mime_type: wants a MIME type such as text/csv, got {mime_type!r:.80}"


def _input(value: bytes | Input) -> Input:
    return value if isinstance(value, Input) else Input(value)


def _file(name: str, value: bytes | Input) -> InputFile:
    one = _input(value)
    return InputFile(name, one.mime_type or mime_type_of(name, one.data), one.data, one.attach)


def _serialized(value: Any) -> Any:
    """With the names of manifests."""
    if isinstance(value, Mapping):
        return {
            _SERIALIZED.get(key, key): inner if key in DATA else _serialized(inner)
            for key, inner in value.items()
        }
    if isinstance(value, tuple):
        return list(value)
    return value


_NAMES = {alias: name for name, alias in _SERIALIZED.items() if alias != name and name != "scheduled_time"}
_ALIASES = re.compile(rf"\b({'|'.join(sorted(_NAMES, key=len, reverse=True))})\b")


def _in_python(problem: str) -> str:
    """A problem with Python's names, without the path to what is given here directly."""
    path, colon, told = problem.removeprefix("spec.").removeprefix("metadata.").partition(": ")
    # the value that a field got may contain any word: names are looked for before it
    wanted, got, value = told.partition(", got ")
    return _ALIASES.sub(lambda found: _NAMES[found[1]], path + colon + wanted) + got + value
