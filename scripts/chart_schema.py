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
PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
QUALIFIED_NAME = rf"^({PART}(\.{PART})*/)?{LABEL_NAME}$"
LABEL_VALUE = f"^({LABEL_NAME})?$"
DNS_LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEY = "^[-._A-Za-z0-9]+$"
OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
CIDR = (
    rf"^({OCTET}(\.{OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])"
    "|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$"
)
COMPONENT = r"([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+|\.)"
RELATIVE = f"^{COMPONENT}(/{COMPONENT})*/?$"
"""A relative path without ``..``."""
QUANTITY = r"^\+?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
ONE_OF_THEM = {"minProperties": 1, "maxProperties": 1}


def field(**rules: Any) -> Schema:
    """Rules for one field of a definition."""
    return rules


def where(name: str, values: list[Any], **then: Any) -> Schema:
    """Rules for a definition where a field has one of these values."""
    return {"if": {"properties": {name: {"enum": values}}, "required": [name]}, "then": then}


def _needs(kind: str, part: str) -> Schema:
    """The rule that a definition of a type has the part of that type."""
    return where("type", [kind], required=[part])


def _selector_values(*single: str) -> list[Schema]:
    """The rules about which operators of a selector take values. ``single``: those that take one."""
    some = {"values": {"type": "array", "minItems": 1}}
    return [
        where("operator", ["In", "NotIn"], required=["values"], properties=some),
        where("operator", ["Exists", "DoesNotExist"], properties={"values": {"maxItems": 0}}),
        *(
            where(
                "operator", [one], required=["values"], properties={"values": {"minItems": 1, "maxItems": 1}}
            )
            for one in single
        ),
    ]


ID = field(minimum=0, maximum=2147483647)
MODE = field(minimum=0, maximum=511)
ENV_NAME = "^[-._a-zA-Z][-._a-zA-Z0-9]*$"
POSITIVE = {"$ref": None, "allOf": [{"$ref": "#/$defs/k8s.Quantity"}, {"not": {"enum": [0, "0"]}}]}
LABELS = {
    "additionalProperties": False,
    "patternProperties": {QUALIFIED_NAME: {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}},
}
IDS = {"runAsUser": ID, "runAsGroup": ID, "windowsOptions": None}
NAMED = {"name": field(type="string", pattern=SUBDOMAIN)}
SYSCTL = "^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$"
FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['.+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
)
STRICTER: dict[str, Schema] = {
    # variables
    "EnvVar": {"properties": {"name": field(pattern=ENV_NAME)}},
    "EnvVarSource": ONE_OF_THEM,
    "EnvFromSource": {
        "properties": {"prefix": field(pattern="^([-._a-zA-Z][-._a-zA-Z0-9]*)?$")},
        "oneOf": [{"required": ["configMapRef"]}, {"required": ["secretRef"]}],
    },
    "SecretKeySelector": {"properties": {**NAMED, "key": field(pattern=KEY)}, "required": ["name", "key"]},
    "ConfigMapKeySelector": {"properties": {**NAMED, "key": field(pattern=KEY)}, "required": ["name", "key"]},
    "SecretEnvSource": {"properties": NAMED, "required": ["name"]},
    "ConfigMapEnvSource": {"properties": NAMED, "required": ["name"]},
    "ObjectFieldSelector": {"properties": {"fieldPath": field(pattern=FIELD_PATH)}},
    "ResourceFieldSelector": {
        "properties": {"resource": field(pattern=r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$")}
    },
    "Quantity": {"oneOf": None, "type": ["string", "number"], "pattern": QUANTITY, "minimum": 0},
    # volumes
    "Volume": {"properties": {"name": field(pattern=DNS_LABEL)}, "minProperties": 2, "maxProperties": 2},
    "VolumeMount": {
        "properties": {
            "mountPath": field(minLength=1, pattern="^[^:]*$"),
            "subPath": field(pattern=RELATIVE),
            "mountPropagation": field(enum=["None", "HostToContainer", None]),
            "recursiveReadOnly": field(enum=["Disabled", "IfPossible", "Enabled", None]),
        },
        "not": {"required": ["subPath", "subPathExpr"]},
        "allOf": [where("recursiveReadOnly", ["IfPossible", "Enabled"], required=["readOnly"], properties={"readOnly": {"const": True}})],
    },
    "KeyToPath": {"properties": {"key": field(pattern=KEY), "path": field(pattern=RELATIVE), "mode": MODE}},
    "ConfigMapVolumeSource": {"properties": {**NAMED, "defaultMode": MODE}, "required": ["name"]},
    "SecretVolumeSource": {
        "properties": {"secretName": field(type="string", pattern=SUBDOMAIN), "defaultMode": MODE},
        "required": ["secretName"],
    },
    "ConfigMapProjection": {"properties": NAMED, "required": ["name"]},
    "SecretProjection": {"properties": NAMED, "required": ["name"]},
    "DownwardAPIVolumeSource": {"properties": {"defaultMode": MODE}},
    "DownwardAPIVolumeFile": {
        "properties": {"path": field(pattern=RELATIVE), "mode": MODE},
        "oneOf": [{"required": ["fieldRef"]}, {"required": ["resourceFieldRef"]}],
    },
    "ProjectedVolumeSource": {"properties": {"defaultMode": MODE}},
    "ServiceAccountTokenProjection": {
        "properties": {"path": field(pattern=RELATIVE), "expirationSeconds": field(minimum=600, maximum=4294967296)}
    },
    "PersistentVolumeClaimVolumeSource": {"properties": {"claimName": field(pattern=SUBDOMAIN)}},
    "PersistentVolumeClaimSpec": {"required": ["accessModes", "resources"]},
    "VolumeResourceRequirements": {"required": ["requests"], "properties": {"requests": field(required=["storage"])}},
    "CSIVolumeSource": {"properties": {"driver": field(maxLength=63, pattern=SUBDOMAIN)}},
    "NFSVolumeSource": {"properties": {"server": field(minLength=1), "path": field(pattern="^/")}},
    "HostPathVolumeSource": {
        "properties": {
            "path": field(minLength=1),
            "type": field(
                enum=["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice", None]
            ),
        }
    },
    # scheduling
    "Toleration": {
        "properties": {
            "operator": field(enum=["Exists", "Equal", "", None]),
            "effect": field(enum=["NoSchedule", "PreferNoSchedule", "NoExecute", "", None]),
            "key": field(pattern=f"^$|{QUALIFIED_NAME}"),
            "value": field(pattern=LABEL_VALUE),
        },
        "allOf": [
            where("operator", ["Exists"], properties={"value": {"enum": ["", None]}}),
            {
                "if": {"properties": {"key": {"enum": ["", None]}}},
                "then": {"required": ["operator"], "properties": {"operator": {"const": "Exists"}}},
            },
            {
                "if": {"required": ["tolerationSeconds"]},
                "then": {"required": ["effect"], "properties": {"effect": {"const": "NoExecute"}}},
            },
        ],
    },
    "NodeSelector": {"properties": {"nodeSelectorTerms": field(minItems=1)}},
    "NodeSelectorRequirement": {
        "properties": {
            "key": field(pattern=QUALIFIED_NAME),
            "operator": field(enum=["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]),
        },
        "allOf": _selector_values("Gt", "Lt"),
    },
    "LabelSelector": {"properties": {"matchLabels": LABELS}},
    "LabelSelectorRequirement": {
        "properties": {
            "key": field(pattern=QUALIFIED_NAME),
            "operator": field(enum=["In", "NotIn", "Exists", "DoesNotExist"]),
        },
        "allOf": _selector_values(),
    },
    "PodAffinityTerm": {
        "properties": {
            "topologyKey": field(pattern=QUALIFIED_NAME),
            "namespaces": field(items={"type": "string", "pattern": DNS_LABEL}),
        }
    },
    "WeightedPodAffinityTerm": {"properties": {"weight": field(minimum=1, maximum=100)}},
    "PreferredSchedulingTerm": {"properties": {"weight": field(minimum=1, maximum=100)}},
    "TopologySpreadConstraint": {
        "properties": {
            "maxSkew": field(minimum=1),
            "minDomains": field(minimum=1),
            "topologyKey": field(pattern=QUALIFIED_NAME),
            "whenUnsatisfiable": field(enum=["DoNotSchedule", "ScheduleAnyway"]),
            "nodeAffinityPolicy": field(enum=["Honor", "Ignore", None]),
            "nodeTaintsPolicy": field(enum=["Honor", "Ignore", None]),
        },
        "dependencies": {"matchLabelKeys": ["labelSelector"]},
        "if": {"required": ["minDomains"]},
        "then": {"properties": {"whenUnsatisfiable": {"const": "DoNotSchedule"}}},
    },
    # security contexts; the images are Linux'
    "SeccompProfile": {
        "properties": {"type": field(enum=["RuntimeDefault", "Localhost", "Unconfined"])},
        "allOf": [_needs("Localhost", "localhostProfile")],
    },
    "AppArmorProfile": {
        "properties": {"type": field(enum=["RuntimeDefault", "Localhost", "Unconfined"])},
        "allOf": [_needs("Localhost", "localhostProfile")],
    },
    "Sysctl": {"properties": {"name": field(maxLength=253, pattern=SYSCTL)}},
    "SecurityContext": {"properties": {**IDS, "procMount": field(enum=["Default", "Unmasked", None])}},
    "PodSecurityContext": {
        "properties": {
            **IDS,
            "fsGroup": ID,
            "fsGroupChangePolicy": field(enum=["OnRootMismatch", "Always", None]),
            "supplementalGroups": field(items={"type": "integer", **ID}),
            "supplementalGroupsPolicy": field(enum=["Merge", "Strict", None]),
        }
    },
    # autoscaling
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
    "MetricTarget": {
        "properties": {
            "type": field(enum=["Utilization", "Value", "AverageValue"]),
            "averageUtilization": field(minimum=1),
            "value": POSITIVE,
            "averageValue": POSITIVE,
        },
        "allOf": [_needs("Utilization", "averageUtilization"), _needs("Value", "value"), _needs("AverageValue", "averageValue")],
    },
    "ResourceMetricSource": {
        "allOf": [{"properties": {"target": {"properties": {"type": {"enum": ["Utilization", "AverageValue"]}}}}}]
    },
    "MetricIdentifier": {"properties": {"name": field(pattern="^[^/%]+$")}},
    # networks
    "IPBlock": {"properties": {"cidr": field(pattern=CIDR), "except": field(items={"type": "string", "pattern": CIDR})}},
    "NetworkPolicyPort": {
        "properties": {
            "protocol": field(enum=["TCP", "UDP", "SCTP", None]),
            "port": {
                "$ref": None, "type": ["integer", "string"], "minimum": 1, "maximum": 65535, "maxLength": 15,
                "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
            },
            "endPort": field(minimum=1, maximum=65535),
        },
        "dependencies": {"endPort": ["port"]},
    },
    "NetworkPolicyPeer": {"minProperties": 1, "if": {"required": ["ipBlock"]}, "then": ONE_OF_THEM},
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


def _laid_over(node: Schema, stricter: Schema) -> Schema:
    """A definition with the rules of STRICTER; None takes a key out."""
    result = dict(node)
    for key, value in stricter.items():
        if value is None:
            del result[key]
        elif key == "properties":
            changed = {name: rules and _laid_over(node[key][name], rules) for name, rules in value.items()}
            result[key] = {
                name: inner for name, inner in {**node[key], **changed}.items() if inner is not None
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
