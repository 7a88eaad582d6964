"""CRDs from the models. ``python -m agentjobs.api.crd [DIR]`` writes ``crds/*.yaml``.

An API server refuses pydantic's JSON schema as it is. So each reference is replaced by its target, optional
fields lose their null, and integers get a format.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agentjobs.api import agentjob, scheduledagentjob
from agentjobs.api.agentjob import AgentJob
from agentjobs.api.meta import GROUP, VERSION, Schema, rule
from agentjobs.api.scheduledagentjob import ScheduledAgentJob

HEADER = "# Generated from operator/agentjobs/api by `make crds`; do not edit.\n"
INT32_MAX = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``. Only ``-o wide`` shows the wide ones."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def as_json(self) -> Schema:
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            **({"priority": 1} if self.wide else {}),
        }


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind's CRD, apart from the schema of its model."""

    model: type[AgentJob] | type[ScheduledAgentJob]
    short_name: str
    name_max_length: int
    name_message: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return f"{self.model.PLURAL}.yaml"


ACCEPTED = '.status.conditions[?(@.type=="Accepted")].{}'
"""Path of a part of the condition that says whether the operator can use the object. Its column is named after it, as the
Gateway API's: READY would promise that something serves, and is a state of jobs here."""

# Columns with a time to come are strings: kubectl prints <invalid> for such a time in a column of type date.
RESOURCES = (
    Resource(
        AgentJob,
        "aj",
        agentjob.NAME_MAX_LENGTH,
        f"name must be at most {agentjob.NAME_MAX_LENGTH} characters",
        (
            Column("Queue", ".spec.queue"),
            Column("Status", ".status.state"),
            Column("Reason", ".status.reason"),
            Column("Attempts", ".status.attempts", "integer"),
            Column("Duration", ".status.duration"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Priority", ".spec.priority", "integer", wide=True),
            Column("Max", ".spec.maxAttempts", "integer", wide=True),
            Column("Worker", ".status.worker", wide=True),
            Column("Session", ".status.sessionID", wide=True),
            Column("Tokens", ".status.usage.totalTokens", "integer", wide=True),
            Column("Next", ".status.nextAttemptTime", wide=True),
            Column("Message", ".status.message", wide=True),
        ),
        (".spec.queue", ".status.state", ".status.reason"),
    ),
    Resource(
        ScheduledAgentJob,
        "saj",
        scheduledagentjob.NAME_MAX_LENGTH,
        f"name must be at most {scheduledagentjob.NAME_MAX_LENGTH} characters: a time is appended to name the AgentJobs",
        (
            Column("Schedule", ".spec.schedule"),
            Column("TimeZone", ".spec.timeZone"),
            Column("Suspend", ".spec.suspend", "boolean"),
            Column("Accepted", ACCEPTED.format("status")),
            Column("Reason", ACCEPTED.format("reason")),
            Column("Active", ".status.activeCount", "integer"),
            Column("Last", ".status.lastScheduleTime", "date"),
            Column("Next", ".status.nextScheduleTime"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Last-Result", ".status.lastResult", wide=True),
            Column("Missed", ".status.missedRuns", "integer", wide=True),
        ),
    ),
)


def crds() -> list[dict[str, Any]]:
    """The CRDs of both kinds, as the API server takes them."""
    return [crd_of(resource) for resource in RESOURCES]


def crd_of(resource: Resource) -> dict[str, Any]:
    """The CRD of one kind."""
    model = resource.model
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema_of(resource)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_json() for column in resource.columns],
    }
    if resource.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": model.KIND,
                "listKind": f"{model.KIND}List",
                "plural": model.PLURAL,
                "singular": model.KIND.lower(),
                "shortNames": [resource.short_name],
                "categories": ["agents"],
            },
            "versions": [version],
        },
    }


def schema_of(resource: Resource) -> Schema:
    """The structural schema of one kind."""
    raw = resource.model.model_json_schema(by_alias=True, mode="validation")
    parts = {name: _structural(raw["properties"][name], raw["$defs"]) for name in ("spec", "status")}
    _drop_defaults(parts["status"])
    return {
        "type": "object",
        "description": raw["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": "apiVersion is the schema's group and version: agentjobs.dev/v1alpha1.",
            },
            "kind": {"type": "string", "description": f"kind of the object: {resource.model.KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            **parts,
        },
        "x-kubernetes-validations": [
            rule(
                f"self.metadata.name.size() <= {resource.name_max_length}",
                resource.name_message,
                field="metadata.name",
            )
        ],
    }


def _structural(node: Schema, definitions: Schema) -> Schema:
    """One node of pydantic's schema as a structural schema.

    Keys beside a reference override those of its target.
    """
    node = dict(node)
    if "$ref" in node:
        node = _merged(definitions[node.pop("$ref").rsplit("/", 1)[1]], node)
        return _structural(node, definitions)
    if "anyOf" in node:
        (wanted,) = (choice for choice in node.pop("anyOf") if choice.get("type") != "null")
        return _structural(_merged(wanted, node), definitions)
    node.pop("title", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if node.get("default", ...) is None:
        del node["default"]
    if node["type"] == "integer":
        node.setdefault("format", "int32" if node.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64")
    if node.get("additionalProperties") is True:
        del node["additionalProperties"]
        node["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in node:
        node["properties"] = {name: _structural(p, definitions) for name, p in node["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(node.get(inner), dict):
            node[inner] = _structural(node[inner], definitions)
    return _ordered(node)


def _merged(target: Schema, beside: Schema) -> Schema:
    rules = [*target.get("x-kubernetes-validations", ()), *beside.get("x-kubernetes-validations", ())]
    return {**target, **beside, **({"x-kubernetes-validations": rules} if rules else {})}


_FIRST = ("type", "format", "description", "default", "enum")
_LAST = ("required", "properties", "items", "additionalProperties", "x-kubernetes-validations")


def _ordered(node: Schema) -> Schema:
    """The node with type and description first and the long parts last, for people who read the file."""
    keys = [*_FIRST, *(key for key in node if key not in _FIRST + _LAST), *_LAST]
    return {key: node[key] for key in keys if key in node}


def _drop_defaults(node: Schema) -> None:
    """Removes defaults below a status: the API server must not add values that the operator has not
    written."""
    node.pop("default", None)
    for inner in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else ())):
        _drop_defaults(inner)


class _Dumper(yaml.SafeDumper):
    """A dumper that indents lists below their key and writes no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(value: dict[str, Any]) -> str:
    """One CRD as the text of its file."""
    return HEADER + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def write(directory: Path) -> list[Path]:
    """Writes one file per CRD into ``directory``. Returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / resource.file_name for resource in RESOURCES]
    for path, value in zip(paths, crds(), strict=True):
        path.write_text(as_yaml(value), encoding="utf-8")
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "crds")):
        sys.stdout.write(f"{written}\n")
