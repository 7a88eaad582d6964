"""AgentJobs to submit: from files, from flags, from a schedule's template. Pure but for reading the files."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agentjobs.api.names import API_VERSION
from agentjobs.cli.errors import BadInput

KIND = "AgentJob"
GENERATED_CHARACTERS = 57
"""Longest begin of a generated name: the API server appends 5 characters, and 63 are the most."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags that describe one job, or change those of a file or schedule. None: as it is."""

    name: str | None = None
    module: str | None = None
    inline: str | None = None
    """The model of an inline agent."""
    instruction: str | None = None
    message: str | None = None
    queue: str | None = None
    priority: int | None = None
    session: str | None = None
    user: str | None = None
    max_attempts: int | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def why(error: OSError | ValueError) -> str:
    """Why a file cannot be read, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def text_of(value: str | None, flag: str) -> str | None:
    """A flag's text; of ``@file`` the file's, of ``@-`` that of standard input.

    :raises BadInput: the file cannot be read.
    """
    if value is None or not value.startswith("@"):
        return value
    try:
        return sys.stdin.read() if value == "@-" else Path(value[1:]).read_text()
    except (OSError, ValueError) as error:
        raise BadInput(f"{flag}: {value[1:]} cannot be read: {why(error)}.") from None


def labels_of(given: Iterable[str] | None) -> dict[str, str]:
    """The labels of ``--label KEY=VALUE``.

    :raises BadInput: one has no equals sign.
    """
    found = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput(f"--label: wants KEY=VALUE, got {text[:60]!r}.")
        found[key] = value
    return found


def job_of(flags: Flags) -> dict[str, Any]:
    """The AgentJob that the flags describe.

    :raises BadInput: something is missing.
    """
    if (flags.module is None) == (flags.inline is None):
        raise BadInput(
            "What shall run? -f FILE, --from SCHEDULE, --module pkg.mod, or --inline MODEL with --instruction."
        )
    if flags.message is None:
        raise BadInput(
            "--message is missing: the text that the agent is given, or @FILE, or @- for standard input."
        )
    if flags.inline is not None and flags.instruction is None:
        raise BadInput("--inline wants --instruction: the agent's system prompt, or @FILE.")
    return changed({"apiVersion": API_VERSION, "kind": KIND, "metadata": {}, "spec": {}}, flags)


def changed(job: Mapping[str, Any], flags: Flags) -> dict[str, Any]:
    """The job with what the flags say."""
    spec = dict(job.get("spec") or {})
    if flags.module is not None:
        spec["agent"] = {"module": flags.module}
    elif flags.inline is not None:
        spec["agent"] = {
            "inline": {"name": "assistant", "model": flags.inline, "instruction": flags.instruction or ""}
        }
    given = {
        "message": flags.message, "queue": flags.queue, "priority": flags.priority, "sessionID": flags.session,
        "userID": flags.user, "maxAttempts": flags.max_attempts,
    }  # fmt: skip
    spec |= {key: value for key, value in given.items() if value is not None}
    if flags.message is not None:
        spec.pop("messageFrom", None)
    if flags.state:
        spec["state"] = {**(spec.get("state") or {}), **flags.state}
    metadata = dict(job.get("metadata") or {})
    if flags.labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **flags.labels}
    if flags.name is not None:
        metadata.pop("generateName", None)
        metadata["name"] = flags.name
    elif not metadata.get("name") and not metadata.get("generateName"):
        metadata["generateName"] = f"{_begin(spec.get('agent') or {})}-"
    return {**job, "metadata": metadata, "spec": spec}


def _begin(agent: Mapping[str, Any]) -> str:
    """The begin of a generated name: the last part of the module, or the inline agent's name."""
    inline = agent.get("inline") or {}
    module = str(agent.get("module") or inline.get("name") or "job")
    word = _NOT_IN_NAMES.sub("-", module.partition(":")[0].rpartition(".")[2].lower()).strip("-")
    return word[:GENERATED_CHARACTERS].strip("-") or "job"


def from_schedule(schedule: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """An AgentJob as the schedule would create it now; its message has the present time, and the schedule does not
    own it."""
    from agentjobs.schedule.cron import UnknownTimeZone, zone_of
    from agentjobs.schedule.expand import expand

    spec = schedule.get("spec") or {}
    template = spec.get("jobTemplate") or {}
    inner = dict(template.get("spec") or {})
    last = (schedule.get("status") or {}).get("lastSuccessfulTime")
    try:
        zone = zone_of(str(spec.get("timeZone") or "UTC"))
    except UnknownTimeZone as error:
        raise BadInput(f"scheduledagentjob {schedule['metadata']['name']}: {error}.") from None
    if "message" in inner:
        inner["message"] = expand(
            str(inner["message"]), zone, now, datetime.fromisoformat(last) if last else None
        )
    metadata: dict[str, Any] = {
        key: dict(value) for key, value in (template.get("metadata") or {}).items() if value
    }
    metadata["generateName"] = f"{schedule['metadata']['name'][:GENERATED_CHARACTERS]}-"
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": inner}


def from_files(paths: Iterable[str]) -> list[dict[str, Any]]:
    """The AgentJobs of files, of the files of folders, of URLs, or of standard input (``-``), in their order.

    :raises BadInput: a file cannot be read, or holds something else.
    """
    from agentjobs.cli.manifest_url import (
        fetch,
        is_url,
    )  # the plugin starts fast: it rarely needs an HTTP client

    found: list[dict[str, Any]] = []
    for path in paths:
        if path == "-":
            found += _documents(sys.stdin.read(), "standard input")
            continue
        if is_url(path):
            found += _documents(fetch(path), path)
            continue
        given = Path(path)
        files = (
            sorted(f for f in given.iterdir() if f.suffix in (".yaml", ".yml", ".json"))
            if given.is_dir()
            else [given]
        )
        if not files:
            raise BadInput(f"-f {path}: no .yaml, .yml or .json file is there.")
        for file in files:
            try:
                text = file.read_text()
            except (OSError, ValueError) as error:
                raise BadInput(f"-f {file}: cannot be read: {why(error)}.") from None
            found += _documents(text, str(file))
    if not found:
        raise BadInput("-f: no AgentJob is there.")
    return found


def _documents(text: str, source: str) -> list[dict[str, Any]]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=_without_times(loader)))
    except yaml.YAMLError as error:
        raise BadInput(f"-f {source}: {' '.join(str(error).split())}.") from None
    found: list[dict[str, Any]] = []
    for document in documents:
        if document is None:
            continue
        listed = (
            document.get("items")
            if isinstance(document, dict) and document.get("kind") == "List"
            else [document]
        )
        for one in listed or ():
            if not isinstance(one, dict) or one.get("kind") != KIND:
                kind = one.get("kind") if isinstance(one, dict) else type(one).__name__
                raise BadInput(
                    f"-f {source}: wants AgentJobs, got {kind!r}; other objects: kubectl apply -f {source}"
                )
            found.append(one)
    return found


def _without_times(loader: Any) -> Any:
    """The loader, with times kept as text, as kubectl does."""

    class Loader(loader):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in loader.yaml_implicit_resolvers.items()
    }
    return Loader
