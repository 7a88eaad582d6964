"""ConfigMaps and Secrets of a local run: what jobs refer to is looked for in the documents beside them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentjobs.api.given import Given, given_of, sources_of
from agentjobs.api.inputs import NAME_PATTERN, NAME_WANTED
from agentjobs.api.job_spec import JobSpec
from agentjobs.cli.errors import BadInput
from agentjobs.values.json import JsonObject

SOURCE_KINDS = ("ConfigMap", "Secret")
DEFAULT_NAMESPACE = "default"
OF_THE_COMMAND = "files-of-the-command"

Sources = Mapping[tuple[str, str, str], JsonObject]
"""By namespace, kind and name."""


def is_source(content: object) -> bool:
    """Whether a document is a ConfigMap or a Secret."""
    return isinstance(content, dict) and content.get("kind") in SOURCE_KINDS


def problems_of_source(content: Mapping[str, Any]) -> Iterator[str]:
    """What an API server would refuse of it, as far as a local run reads it."""
    if content.get("apiVersion") != "v1":
        yield f"apiVersion: wants v1 of a {content['kind']}, got {content.get('apiVersion')!r:.80}"
    metadata = content.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        yield "metadata.name: is required"
    for field in ("data", "binaryData", "stringData"):
        values = content.get(field) or {}
        if not isinstance(values, dict):
            yield f"{field}: wants an object, got {type(values).__name__}"
            continue
        for key, value in values.items():
            if not isinstance(value, str):
                yield f"{field}.{key}: wants a text, got {type(value).__name__}: put the value into quotes"


def sources_in(documents: Sequence[object]) -> Sources:
    """The ConfigMaps and Secrets among these documents, as an API server has them."""
    found: dict[tuple[str, str, str], JsonObject] = {}
    for content in documents:
        if isinstance(content, dict) and is_source(content):
            metadata = content["metadata"]
            key = (metadata.get("namespace") or DEFAULT_NAMESPACE, content["kind"], metadata["name"])
            found[key] = {**content, "data": {**(content.get("data") or {}), **_encoded(content)}}
    return found


def given_to(spec: JobSpec, namespace: str, sources: Sources) -> Given:
    """What a job is given.

    :raises InputProblem: something is in no document, or too large.
    """
    nowhere = "is in none of the files: add it as a document to what -f names"
    earlier = (
        "a local run finds no files of earlier jobs: save that one's with --save, and give it as a ConfigMap in a document"
        " (kubectl create configmap NAME --from-file=FILE --dry-run=client -o yaml) with configMapKeyRef"
    )
    wanted = {(source.kind, source.object_name) for _, source in sources_of(spec)}
    said = {"AgentJob": earlier}
    return given_of(spec, {key: sources.get((namespace, *key), said.get(key[0], nowhere)) for key in wanted})


def of_the_command(paths: Sequence[Path]) -> tuple[Sources, list[JsonObject]]:
    """The files of ``--input``, as a ConfigMap that holds them, and ``spec.inputs`` that names them.

    :raises BadInput: one cannot be read, or its name is none that an input may have.
    """
    held: dict[str, str] = {}
    for path in paths:
        if not NAME_PATTERN.fullmatch(path.name):
            raise BadInput(
                f"--input {path}: the name {path.name!r} wants {NAME_WANTED}: copy the file to such a name."
            )
        if path.name in held:
            raise BadInput(
                f"--input {path}: there is another file {path.name}: copy one of them to another name."
            )
        try:
            held[path.name] = base64.b64encode(path.read_bytes()).decode()
        except OSError as error:
            raise BadInput(f"--input {path}: cannot be read: {error.strerror}.") from None
    source = {"kind": "ConfigMap", "metadata": {"name": OF_THE_COMMAND}, "binaryData": held}
    inputs: list[JsonObject] = [
        {"name": name, "configMapKeyRef": {"name": OF_THE_COMMAND, "key": name}} for name in held
    ]
    return {(DEFAULT_NAMESPACE, "ConfigMap", OF_THE_COMMAND): source}, inputs


def _encoded(content: Mapping[str, Any]) -> dict[str, str]:
    """A Secret's ``stringData`` as its ``data``."""
    texts = (content.get("stringData") or {}) if content["kind"] == "Secret" else {}
    return {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
