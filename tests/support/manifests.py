"""Tables of good and bad manifests (``tests/api/*_manifests.yaml``): each case changes a good manifest a little."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).parents[1] / "api"
BASES: Mapping[str, dict[str, Any]] = {
    "job": {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {"name": "case"},
        "spec": {"agent": {"module": "pkg.mod"}, "message": "hello"},
    },
    "schedule": {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "ScheduledAgentJob",
        "metadata": {"name": "case"},
        "spec": {
            "schedule": "*/5 * * * *",
            "jobTemplate": {"spec": {"agent": {"module": "pkg.mod"}, "message": "hello"}},
        },
    },
}


@dataclass(frozen=True)
class Case:
    """One line of a table."""

    resource: str
    verb: str
    title: str
    set: Mapping[str, Any]
    stored: Mapping[str, Any] = default(default_factory=dict)
    field: str = ""
    says: str = ""

    def manifest(self) -> dict[str, Any]:
        """The manifest that the case is about."""
        return changed(BASES[self.resource], self.set)

    def before(self) -> dict[str, Any]:
        """Of an update: the object as it was created."""
        return changed(BASES[self.resource], self.stored)


def table(file: str, verb: str) -> list[Case]:
    """The cases of one verb, of both resources."""
    return list(_cases(yaml.safe_load((TABLES / file).read_text()), verb))


def name_of(case: Case) -> str:
    """For ``pytest.mark.parametrize(ids=…)``."""
    return f"{case.resource}: {case.title}"


def changed(manifest: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with some fields set, by dotted path below ``metadata`` and ``spec``; None takes a field out."""
    result = copy.deepcopy(dict(manifest))
    for path, value in changes.items():
        *parents, last = path.split(".")
        inner = result
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = _spelled_out(value)
    return result


def at(manifest: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None."""
    value: Any = manifest
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _cases(tables: Mapping[str, Mapping[str, list[dict[str, Any]]]], verb: str) -> Iterator[Case]:
    for resource, verbs in tables.items():
        for line in verbs.get(verb, []):
            yield Case(resource, verb, **{**line, "says": str(line.get("says", ""))})


def _spelled_out(value: Any) -> Any:
    match value:
        case {"repeat": text, "times": times}:
            return text * times
        case {"items": item, "times": times}:
            return [item] * times
        case {"keys": count}:
            return {f"key-{n}": "value" for n in range(count)}
        case dict():
            return {key: _spelled_out(inner) for key, inner in value.items()}
        case _:
            return value
