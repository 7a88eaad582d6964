"""What a job is given with its spec: the files of ``spec.inputs`` and the message of ``spec.messageFrom``, once they are read.

Pure: who reads ConfigMaps and Secrets hands them in. No text here repeats a value, since a Secret may hold it.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentjobs.api.inputs import INPUT_BYTES, ArtifactRef, Input, Source
from agentjobs.api.job_spec import DEFAULT_APP, DEFAULT_USER, MESSAGE_MAX_LENGTH, JobSpec
from agentjobs.values.input_file import ArtifactPlace, InputFile
from agentjobs.values.names import own_session
from agentjobs.values.text import clean

_MOST_PROBLEMS = 5
# Python's own table alone: that of a machine would make a file's type differ between two workers
_TYPES = mimetypes.MimeTypes(filenames=())

Objects = Mapping[tuple[str, str], "Mapping[str, Any] | str"]
"""ConfigMaps, Secrets and AgentJobs by kind and name; a text says why one cannot be had, and what to do."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was read for a job."""

    message: str | None = field(default=None, repr=False)
    """Of ``messageFrom``. None: the spec has the message."""
    files: Sequence[InputFile] = ()


NOTHING = Given()


class InputProblem(Exception):
    """What a job is to be given is not there, or cannot be taken: which fields, why, and what to do."""


def sources_of(spec: JobSpec) -> list[tuple[str, Source]]:
    """Each source that a job refers to, with the path of its field."""
    found: list[tuple[str, Source]] = (
        [("spec.messageFrom", spec.message_from)] if spec.message_from is not None else []
    )
    return found + [(f"spec.inputs[{place}]", one) for place, one in enumerate(spec.inputs or ())]


def given_of(spec: JobSpec, objects: Objects) -> Given:
    """What the job is given.

    :raises InputProblem: something is missing or too large.
    """
    problems: list[str] = []
    values: dict[str, bytes | ArtifactPlace] = {}
    for path, source in sources_of(spec):
        try:
            found = objects[(source.kind, source.object_name)]
            if isinstance(found, str):
                raise InputProblem(f"{source.kind} {source.object_name}: {found}")
            reference = source.artifact_ref if isinstance(source, Input) else None
            values[path] = _value(source, found) if reference is None else _place(reference, found)
        except InputProblem as problem:
            problems.append(f"{path}: {problem}")
    message = values.get("spec.messageFrom")
    text = None
    if isinstance(message, bytes) and spec.message_from is not None:
        try:
            text = _message(message)
        except InputProblem as problem:
            problems.append(f"spec.messageFrom: {_shown(spec.message_from)} {problem}")
    if problems:
        more = f" (and {len(problems) - _MOST_PROBLEMS} more)" if len(problems) > _MOST_PROBLEMS else ""
        raise InputProblem("; ".join(problems[:_MOST_PROBLEMS]) + more)
    files = [_file(one, values[f"spec.inputs[{place}]"]) for place, one in enumerate(spec.inputs or ())]
    for told in too_large(files, "spec.inputs"):
        raise InputProblem(told)
    return Given(text, tuple(files))


def _file(one: Input, value: bytes | ArtifactPlace) -> InputFile:
    if isinstance(value, ArtifactPlace):
        return InputFile(one.name, one.mime_type or "", b"", one.attach, value)
    return InputFile(one.name, one.mime_type or mime_type_of(one.name, value), value, one.attach)


def mime_type_of(name: str, data: bytes) -> str:
    """The type of a file by its name's suffix; without one that is known, by whether it is a text."""
    guessed, encoding = _TYPES.guess_type(name)
    if guessed and not encoding:
        return guessed
    try:
        data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"


def too_large(files: Sequence[InputFile], field: str) -> Iterator[str]:
    """What is wrong with the size of the files: nothing, or one text."""
    size = sum(len(file.data) for file in files)
    if size > INPUT_BYTES:
        largest = max(files, key=lambda file: len(file.data))
        yield (
            f"{field}: wants at most {INPUT_BYTES} bytes together, got {size}, of which {largest.name} has "
            f"{len(largest.data)}: make the files smaller, or keep them elsewhere and name their place in the message"
        )


def _value(source: Source, found: Mapping[str, Any]) -> bytes:
    key = source.key_ref.key
    data = found.get("data") or {}
    if source.kind == "ConfigMap" and isinstance(text := data.get(key), str):
        return text.encode(errors="replace")
    encoded = ((found.get("binaryData") or {}) if source.kind == "ConfigMap" else data).get(key)
    if encoded is None:
        names = sorted({*data, *(found.get("binaryData") or {})})
        has = f"has {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "has none"
        raise InputProblem(f"{_shown(source)} does not exist; it {has}: add the key")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InputProblem(f"{_shown(source)} is no base64: write the object anew") from None


def _place(reference: ArtifactRef, job: Mapping[str, Any]) -> ArtifactPlace:
    """Where the file of an AgentJob is."""
    spec, status, metadata = job.get("spec") or {}, job.get("status") or {}, job["metadata"]
    this, state = f"AgentJob {reference.job}", status.get("state")
    if state != "Complete":
        ended = state in ("Failed", "Cancelled", "Rejected")
        then = "retry it, or submit this job with another input" if ended else "it is waited for"
        raise InputProblem(f"{this} is {state or 'not taken up yet'}, and not Complete: {then}")
    files = {one.get("name"): one for one in status.get("artifacts") or ()}
    if reference.name not in files and not status.get("artifactCount"):
        has = f"has saved {', '.join(sorted(files)[:8])}" if files else "has saved none"
        raise InputProblem(
            f"{this}: file {reference.name} does not exist; it {has}: name one of these in a new job"
        )
    return ArtifactPlace(
        f"{metadata['namespace']}/{spec.get('appName') or DEFAULT_APP}",
        str(spec.get("userID") or DEFAULT_USER),
        str(spec.get("sessionID") or own_session(metadata["uid"])),
        reference.name,
        (files.get(reference.name) or {}).get("version"),
    )


def _message(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InputProblem("is no UTF-8: put a text there, and files into spec.inputs") from None
    if not 1 <= len(text) <= MESSAGE_MAX_LENGTH:
        raise InputProblem(f"wants 1 to {MESSAGE_MAX_LENGTH} characters, got {len(text)}")
    if clean(text) != text:
        raise InputProblem("has characters that no message may have, such as NUL: take them out")
    return text


def _shown(source: Source) -> str:
    return f"{source.kind} {source.object_name}: key {source.key_ref.key}"
