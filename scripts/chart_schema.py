"""The part of the chart's values.schema.json that is Kubernetes': `python scripts/chart_schema.py` writes it anew.

Values such as `env`, `volumes` and `affinity` go into pods as they are. The schema refers to their types as
`#/$defs/k8s.EnvVar`; this script puts these definitions in, from the API's own schema of the oldest Kubernetes that the chart
supports, with what that schema does not say and the API server checks (STRICTER). All else in the file is written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate

ROOT = Path(__file__).parents[1]
FILE = ROOT / "charts" / "agentjobs" / "values.schema.json"
KUBERNETES = "1.32"
PREFIX = "k8s."
Schema = dict[str, Any]

LABEL_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]"
QUALIFIED_NAME = f"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{LABEL_NAME}$"
LABEL_VALUE = f"^({LABEL_NAME})?$"
DNS_LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEY = "^[-._A-Za-z0-9]+$"
CIDR = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$"
QUANTITY = r"^\+?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
ONE_OF_THEM = {"minProperties": 1, "maxProperties": 1}


def field(**rules: Any) -> Schema:
    """Rules for one field of a definition."""
    return rules


def _needs(kind: str, part: str) -> Schema:
    """A metric of a type has the part of that type."""
    return {"if": {"properties": {"type": {"const": kind}}}, "then": {"required": [part]}}


NAMED = {"name": field(type="string", pattern=SUBDOMAIN)}
STRICTER: dict[str, Schema] = {
    "EnvVar": {"properties": {"name": field(pattern="^[-._a-zA-Z][-._a-zA-Z0-9]*$")}},
    "EnvVarSource": ONE_OF_THEM,
    "EnvFromSource": {"anyOf": [{"required": ["configMapRef"]}, {"required": ["secretRef"]}]},
    "SecretKeySelector": {"properties": {**NAMED, "key": field(pattern=KEY)}, "required": ["name", "key"]},
    "ConfigMapKeySelector": {"properties": {**NAMED, "key": field(pattern=KEY)}, "required": ["name", "key"]},
    "SecretEnvSource": {"properties": NAMED, "required": ["name"]},
    "ConfigMapEnvSource": {"properties": NAMED, "required": ["name"]},
    "Quantity": {"oneOf": None, "type": ["string", "number"], "pattern": QUANTITY, "minimum": 0},
    "Volume": {"properties": {"name": field(pattern=DNS_LABEL)}, "minProperties": 2, "maxProperties": 2},
    "VolumeMount": {"properties": {"mountPath": field(minLength=1, pattern="^[^:]*$"), "subPath": field(pattern=r"^([^/.]|\.[^.]|\.\.[^/]).*$")}},
    "ConfigMapVolumeSource": {"properties": NAMED, "required": ["name"]},
    "SecretVolumeSource": {"properties": {"secretName": field(type="string", pattern=SUBDOMAIN)}, "required": ["secretName"]},
    "PersistentVolumeClaimVolumeSource": {"properties": {"claimName": field(pattern=SUBDOMAIN)}},
    "HostPathVolumeSource": {"properties": {"path": field(minLength=1)}},
    "Toleration": {
        "properties": {
            "operator": field(enum=["Exists", "Equal", "", None]),
            "effect": field(enum=["NoSchedule", "PreferNoSchedule", "NoExecute", "", None]),
        }
    },
    "NodeSelector": {"properties": {"nodeSelectorTerms": field(minItems=1)}},
    "NodeSelectorRequirement": {
        "properties": {
            "key": field(pattern=QUALIFIED_NAME),
            "operator": field(enum=["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
        }
    },
    "LabelSelectorRequirement": {
        "properties": {"key": field(pattern=QUALIFIED_NAME), "operator": field(enum=["In", "NotIn", "Exists", "DoesNotExist"])}
    },
    "PodAffinityTerm": {"properties": {"topologyKey": field(pattern=QUALIFIED_NAME)}},
    "WeightedPodAffinityTerm": {"properties": {"weight": field(minimum=1, maximum=100)}},
    "PreferredSchedulingTerm": {"properties": {"weight": field(minimum=1, maximum=100)}},
    "TopologySpreadConstraint": {
        "properties": {
            "maxSkew": field(minimum=1),
            "minDomains": field(minimum=1),
            "topologyKey": field(pattern=QUALIFIED_NAME),
            "whenUnsatisfiable": field(enum=["DoNotSchedule", "ScheduleAnyway"]),
        }
    },
    "SeccompProfile": {"properties": {"type": field(enum=["RuntimeDefault", "Localhost", "Unconfined"])}},
    "PodSecurityContext": {"properties": {"fsGroupChangePolicy": field(enum=["OnRootMismatch", "Always", None])}},
    "HPAScalingRules": {
        "properties": {
            "stabilizationWindowSeconds": field(minimum=0, maximum=3600),
            "selectPolicy": field(enum=["Max", "Min", "Disabled", None]),
            "policies": field(minItems=1),
        }
    },
    "HPAScalingPolicy": {
        "properties": {
            "type": field(enum=["Pods", "Percent"]),
            "value": field(minimum=1),
            "periodSeconds": field(minimum=1, maximum=1800),
        }
    },
    "MetricSpec": {
        "properties": {"type": field(enum=["ContainerResource", "External", "Object", "Pods", "Resource"])},
        "allOf": [
            _needs("ContainerResource", "containerResource"), _needs("External", "external"), _needs("Object", "object"),
            _needs("Pods", "pods"), _needs("Resource", "resource"),
        ],
    },
    "MetricTarget": {"properties": {"type": field(enum=["Utilization", "Value", "AverageValue"])}},
    "MetricIdentifier": {"properties": {"name": field(pattern="^[^/%]+$")}},
    "IPBlock": {"properties": {"cidr": field(pattern=CIDR), "except": field(items={"type": "string", "pattern": CIDR})}},
    "NetworkPolicyPort": {"properties": {"protocol": field(enum=["TCP", "UDP", "SCTP", None])}},
    "NetworkPolicyPeer": {
        "minProperties": 1,
        "if": {"required": ["ipBlock"]},
        "then": ONE_OF_THEM,
    },
}  # fmt: skip


def _definitions() -> dict[str, Schema]:
    """All types of the API, by their short names."""
    folder = (
        Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
    )
    found: dict[str, Schema] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    wanted = re.compile(r"io\.k8s\.(api\.(core\.v1|autoscaling\.v2|networking\.v1)|apimachinery\..*)\.(\w+)$")
    return {match[3]: node for name, node in found.items() if (match := wanted.match(name))}


def _plain(node: Any) -> Any:
    """A node without prose, with references to short names."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    plain = {
        key: _plain(value) for key, value in node.items() if key == "properties" or not _prose(key, value)
    }
    if isinstance(reference := node.get("$ref"), str):
        plain["$ref"] = f"#/$defs/{PREFIX}{reference.rsplit('.', 1)[1]}"
    return plain


def _prose(key: str, value: Any) -> bool:
    return (isinstance(value, str) and key in ("description", "format", "default")) or key.startswith("x-")


def _laid_over(node: Schema, rules: Schema) -> Schema:
    """A definition with the rules of STRICTER; None takes a key out."""
    result = dict(node)
    for key, value in rules.items():
        if value is None:
            del result[key]
        elif key == "properties":
            result[key] = {
                **node[key],
                **{name: {**node[key][name], **added} for name, added in value.items()},
            }
        else:
            result[key] = value
    return result


def _references(node: Any) -> set[str]:
    return set(re.findall(rf'"#/\$defs/{re.escape(PREFIX)}(\w+)"', json.dumps(node)))


def completed(schema: Schema) -> Schema:
    """The schema with each definition of Kubernetes' that it refers to, and no other."""
    types = _definitions()
    by_hand = {name: node for name, node in schema["$defs"].items() if not name.startswith(PREFIX)}
    found: dict[str, Schema] = {}
    wanted = _references({**schema, "$defs": by_hand})
    while wanted:
        name = wanted.pop()
        found[name] = _laid_over(_plain(types[name]), STRICTER.get(name, {}))
        wanted |= _references(found[name]) - found.keys()
    if unused := STRICTER.keys() - found.keys():
        raise LookupError(f"STRICTER has rules for types that the schema does not use: {sorted(unused)}")
    return {**schema, "$defs": {**by_hand, **{f"{PREFIX}{name}": found[name] for name in sorted(found)}}}


def as_text(schema: Schema) -> str:
    """The schema as the text of its file: a line for each of Kubernetes' definitions."""
    definitions = schema["$defs"]
    lines = {name: json.dumps(node) for name, node in definitions.items() if name.startswith(PREFIX)}
    text = json.dumps({**schema, "$defs": {**definitions, **{name: name for name in lines}}}, indent=2)
    for name, line in lines.items():
        text = text.replace(f'"{name}": "{name}"', f'"{name}": {line}')
    return text + "\n"


if __name__ == "__main__":
    FILE.write_text(as_text(completed(json.loads(FILE.read_text()))))
    print(FILE.relative_to(ROOT))
