"""values.yaml, its schema, and what people write there by mistake."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import chart_readme
import chart_schema
import pytest
import yaml

from chart_values import ValuesCase, cases, title_of
from charts import CHART, LEAST, Helm, environment, pick

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema's node without references to our own definitions: Kubernetes' types are values as they are."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        return {} if name.startswith(chart_schema.PREFIX) else resolved(SCHEMA["$defs"][name])
    return resolved(node["allOf"][0]) if "allOf" in node else node


def differences(schema: Mapping[str, Any], values: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Keys that only one of the two has."""
    properties = resolved(schema).get("properties")
    if properties is None:
        return
    for key in sorted(set(properties) ^ set(values)):
        yield f"{at}{key}"
    for key in set(properties) & set(values):
        if isinstance(values[key], dict):
            yield from differences(properties[key], values[key], f"{at}{key}.")


def test_the_schema_and_the_values_have_the_same_keys() -> None:
    # `global` is Helm's own
    assert sorted(differences(SCHEMA, VALUES)) == ["global"]


def test_kubernetes_part_of_the_schema_is_what_kubernetes_says() -> None:
    text = chart_schema.FILE.read_text()
    assert chart_schema.as_text(chart_schema.completed(SCHEMA)) == text, "run: make crds"


def test_the_table_of_values_is_that_of_the_values_and_their_comments() -> None:
    page = chart_readme.README.read_text()
    assert page == chart_readme.renewed(page), "run: make crds"
    told = {value.path: value for value in chart_readme.values((CHART / "values.yaml").read_text())}
    assert told["database.keys.url"].told.startswith("postgresql://user:password@host")
    assert told["tests.queue"].default == '""'
    assert {path.partition(".")[0] for path in told} == set(VALUES)


def test_each_value_must_be_there_so_that_null_takes_none_away(helm: Helm) -> None:
    """Helm takes a value that is null out of the defaults; a template would fail at it without a word of the value."""
    for key in VALUES:
        assert f"missing property '{key}'" in helm.refusal({**LEAST, key: None})


@pytest.mark.parametrize("case", cases("refused"), ids=title_of)
def test_what_the_api_server_would_refuse_is_refused_with_field_value_and_way_out(
    helm: Helm, case: ValuesCase
) -> None:
    rendered, message = case.template(helm)
    assert not rendered
    assert [text for text in case.says if text not in message] == [], message


def test_each_top_level_value_is_explained() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for key in VALUES:
        before = lines[next(n for n, line in enumerate(lines) if line.startswith(f"{key}:")) - 1]
        assert before.startswith("#") or key in ("operator", "rbac", "metrics", "securityContext"), key


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"pool": {}}, "additional properties 'pool' not allowed"),
        ({"pools": {"default": {"slots": 3}}}, "'slots' not allowed"),
        ({"pools": {"default": {"queues": {"agents": {"slots": 3}}}}}, "'slots' not allowed"),
        ({"pools": {"default": {"queues": {"agents": {"slotsPerPod": 0}}}}}, "minimum: got 0, want 1"),
        ({"pools": {"Default": {"queues": {"q": {"slotsPerPod": 1}}}}}, 'the name "Default"'),
        ({"operator": {"replica": 1}}, "'replica' not allowed"),
        ({"queues": {"fast": {"namespaces": []}}}, "'namespaces' not allowed"),
        ({"queues": {"fast": {"bestPriority": 10}}}, "maximum: got 10, want 9"),
        ({"migrations": {"mode": "job"}}, "/migrations/mode"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"database": {"url": "postgresql://u:p@h/d"}}, "'url' not allowed"),
    ],
)
def test_a_mistake_is_refused_and_named(helm: Helm, values: dict[str, Any], complaint: str) -> None:
    assert complaint in helm.refusal({**LEAST, **values})


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({}, "set database.existingSecret to a Secret"),
        ({"devPostgres": {"enabled": True}, **LEAST}, "choose one"),
        ({"devPostgres": {"enabled": True}, "cloudnativepg": {"enabled": True}}, "choose one"),
        ({"devPostgres": {"enabled": True}, "migrations": {"mode": "hook"}}, "use init"),
        ({**LEAST, "pools": {"empty": {}}}, "pools.empty.queues is empty"),
        (
            {
                **LEAST,
                "pools": {"default": {"autoscaling": {"type": "keda", "keda": {"trigger": "prometheus"}}}},
            },
            "serverAddress is needed",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_advice(helm: Helm, values: dict[str, Any], advice: str) -> None:
    assert advice in helm.refusal(values)


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    done = helm.run("template", "x", str(CHART), "--kube-version=1.31.9", values=LEAST)
    assert "requires kubeVersion: >=1.32" in done.stderr


def test_zero_false_and_empty_override_the_defaults_of_pools(helm: Helm) -> None:
    objects = helm.render(
        {
            **LEAST,
            "poolDefaults": {"replicas": 3, "models": ["echo", "gemini-*"], "logLevel": "debug"},
            "pools": {
                "default": {"replicas": 0, "standbys": 0, "drainSeconds": 0, "models": ["none"]},
                "quiet": {"queues": {"q": {"slotsPerPod": 1}}, "podDisruptionBudget": {"enabled": False}},
            },
        }
    )
    default = pick(objects, "Deployment", "agentjobs-worker-default")["spec"]
    assert default["replicas"] == 0
    assert default["template"]["spec"]["terminationGracePeriodSeconds"] == 10
    settings = environment(objects, "agentjobs-worker-default")
    assert (settings["AGENTJOBS_STANDBYS"], settings["AGENTJOBS_MODELS"]) == ("0", "none")
    assert pick(objects, "Deployment", "agentjobs-worker-quiet")["spec"]["replicas"] == 3
    budgets = [o["metadata"]["name"] for o in objects if o["kind"] == "PodDisruptionBudget"]
    assert budgets == ["agentjobs-operator", "agentjobs-worker-default", "agentjobs-web"]
