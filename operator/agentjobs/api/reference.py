"""The page docs/reference.md, generated from the models.

``python -m agentjobs.api.reference [FILE]`` writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agentjobs.api import meta, names
from agentjobs.api.conditions import ConditionType
from agentjobs.api.crd import RESOURCES, Resource, schema_of
from agentjobs.api.meta import Schema
from agentjobs.api.schedule_check import MACROS
from agentjobs.values.reasons import Follows, Reason

HEAD = """\
<!-- Generated from operator/agentjobs/api by `make crds`; do not edit. -->

# Reference

```
kubectl explain agentjob.spec
kubectl get agentjobs -o wide
kubectl get agentjobs --field-selector status.state=Failed
kubectl wait --timeout=5m --for=condition=Finished agentjob/NAME
```

Group `agentjobs.dev`, version `v1alpha1`, both kinds namespaced; Kubernetes 1.32 or newer. A field without a default
that is not required may be left out; its description says what that means. The API server refuses an unknown field for
clients that ask for that, as `kubectl` does; for others it drops the field with a warning.

Four fields may have fractions: `temperature`, `topP`, `presencePenalty` and `frequencyPenalty`, such as
`temperature: 0.2`. They are those of the Gemini API and go to the provider as they are. All other numbers are whole.
"""

ANNOTATIONS = {
    meta.RETRY_REQUESTED_AT: "on a failed or cancelled AgentJob: each new value (a time, by custom) starts one new round.",
    meta.RUN_REQUESTED_AT: "on a ScheduledAgentJob: each new value creates one AgentJob now.",
    meta.SCHEDULED_TIME: "on an AgentJob of a schedule, set by the operator: its tick.",
    names.INPUT_RESPONSE: "on an AgentJob that waits for input: the answer (approval.md).",
    names.MANAGED_BY: "set by the operator: the installation that the object belongs to, and the object's uid (operator.md).",
    names.ACT: "who made the change that it came with, and why, for the audit (audit.md).",
    meta.TRACEPARENT: "on a new AgentJob: a W3C traceparent; the job's spans become its children (telemetry.md).",
}


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for resource in RESOURCES:
        parts += _resource(resource)
    parts += ["## Schedules\n", *_schedule_lines(), "## Annotations\n"]
    parts += [_table(("Annotation", "Meaning"), ((f"`{k}`", v) for k, v in ANNOTATIONS.items()))]
    parts += [
        "## Conditions\n",
        _table(("Type", "Meaning"), ((f"`{c.value}`", c.doc) for c in ConditionType)),
    ]
    parts += [
        "## Reasons\n",
        "Reasons of `status.reason`, of conditions and of `status.recentAttempts`. Clients must tolerate others, since a "
        "newer operator may know more.\n",
        *_reason_tables(),
    ]
    return "\n".join(parts)


def _resource(resource: Resource) -> Iterator[str]:
    model = resource.model
    schema = schema_of(resource)
    yield f"## {model.KIND} (`{resource.short_name}`)\n"
    yield f"{schema['description']} Its name has at most {resource.name_max_length} characters.\n"
    for part in ("spec", "status"):
        yield f"### {model.KIND} {part}\n"
        yield _fields(schema["properties"][part])
    rules = list(_rules(schema["properties"]["spec"], "spec"))
    yield f"### {model.KIND} rules\n"
    yield _table(("Field", "Refused with"), rules)
    yield f"### {model.KIND} columns\n"
    columns = ((c.name.upper(), f"`{c.path}`", "`-o wide`" if c.wide else "") for c in resource.columns)
    yield _table(("Column", "Shows", "With"), columns)
    if resource.selectable:
        yield (
            "Field selectors: "
            + ", ".join(f"`{path.removeprefix('.')}`" for path in resource.selectable)
            + ".\n"
        )


def _fields(schema: Schema) -> str:
    rows = (
        (f"`{path}`", _type(node, required), _text(node["description"]))
        for path, node, required in _walk(schema)
    )
    return _table(("Field", "Type", "Meaning"), rows)


def _walk(schema: Schema, prefix: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Each field below a node: its path, its schema, whether it is required."""
    required = schema.get("required", ())
    for name, node in schema.get("properties", {}).items():
        yield f"{prefix}{name}", node, name in required
        if node["type"] == "array":
            yield from _walk(node["items"], f"{prefix}{name}[].")
        else:
            yield from _walk(node, f"{prefix}{name}.")


def _rules(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    for found in schema.get("x-kubernetes-validations", ()):
        yield f"`{path}{found.get('fieldPath', '')}`", _text(found["message"])
    for name, node in schema.get("properties", {}).items():
        yield from _rules(node, f"{path}.{name}")


def _type(node: Schema, required: bool) -> str:
    limits = [_limits(node)]
    if node["type"] == "array":
        limits.append("each " + (_limits(node["items"]) or node["items"]["type"]))
    if "default" in node and not isinstance(node["default"], dict):
        limits.append(
            f"default `{str(node['default']).lower() if isinstance(node['default'], bool) else node['default']}`"
        )
    if required:
        limits.append("required")
    return ", ".join([_type_name(node), *filter(None, limits)])


def _type_name(node: Schema) -> str:
    if node.get("format") == "date-time":
        return "time"
    return {"object": "map" if "additionalProperties" in node else "object", "array": "list"}.get(
        node["type"], str(node["type"])
    )


def _limits(node: Schema) -> str:
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "minimum" in node and "maximum" in node:
        return f"{node['minimum']:g} to {node['maximum']:,}" if node["type"] == "number" else _range(node)
    for key, unit in (("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "keys")):
        if key in node:
            return f"≤ {node[key]:,} {unit}"
    return ""


def _range(node: Schema) -> str:
    return (
        f"≥ {node['minimum']:,}"
        if node["maximum"] == 2_147_483_647
        else f"{node['minimum']:,} to {node['maximum']:,}"
    )


def _schedule_lines() -> Iterator[str]:
    yield (
        "`spec.schedule` has five fields: minute (0–59), hour (0–23), day of month (1–31), month (1–12 or JAN–DEC), day "
        "of week (0–6 or SUN–SAT). Each is `*` (or `?`), a number, a range such as `1-5`, one of these with a step such "
        "as `*/15`, or a list of them with commas. Where day of month and day of week are both set, either suffices. "
        "Instead of five fields:\n"
    )
    yield _table(("Macro", "Stands for"), ((f"`{macro}`", f"`{fields}`") for macro, fields in MACROS.items()))


def _reason_tables() -> Iterator[str]:
    titles = {
        Follows.WAITS: "The job waits, and no attempt is charged",
        Follows.REFUNDS: "The attempt is refunded, and the job is tried again later",
        Follows.RETRIES: "The attempt is charged, and the next one follows after the backoff while attempts are left",
        Follows.ENDS: "Final",
        Follows.CURABLE: "Unaccepted until the cause is gone",
        Follows.NOTHING: "For information",
    }
    for follows, title in titles.items():
        yield f"### {title}\n"
        rows = ((f"`{r.value}`", r.set_by, _text(r.doc)) for r in Reason if r.follows is follows)
        yield _table(("Reason", "Set by", "Meaning"), rows)


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference.md")
    path.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{path}\n")
