"""crds/ and docs/reference.md are what the models say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from agentjobs.api import crd, reference
from agentjobs.api.agentjob import MUTABLE_FIELDS, AgentJob
from agentjobs.api.crd import RESOURCES, crds
from agentjobs.api.meta import parse_time

ROOT = Path(__file__).parents[3]
JOB, SCHEDULE = (d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for d in crds())
SPEC = JOB["properties"]["spec"]
TEMPLATE = SCHEDULE["properties"]["spec"]["properties"]["jobTemplate"]["properties"]["spec"]


def test_the_committed_definitions_are_those_of_the_models(tmp_path: Path) -> None:
    written = {path.name: path.read_text() for path in crd.write(tmp_path)}
    committed = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert committed == written, "run `make crds` and commit what it wrote"


def test_the_committed_reference_is_that_of_the_models() -> None:
    assert (ROOT / "docs/reference.md").read_text() == reference.reference(), "run `make crds` and commit"


def test_a_written_definition_reads_back_as_it_was(tmp_path: Path) -> None:
    assert [yaml.safe_load(path.read_text()) for path in crd.write(tmp_path)] == crds()


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.model.KIND)
def test_every_field_of_the_models_is_named_in_the_reference(resource: crd.Resource) -> None:
    page = reference.reference()
    spec = resource.model.model_fields["spec"].annotation
    assert isinstance(spec, type)
    assert issubclass(spec, BaseModel)
    names = [f.alias or n for n, f in spec.model_fields.items()]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def transitions(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of a node that compare it with what it was."""
    return [r for r in node.get("x-kubernetes-validations", ()) if "oldSelf" in r["rule"]]


def without_transitions(node: dict[str, Any]) -> dict[str, Any]:
    kept = [r for r in node.get("x-kubernetes-validations", ()) if r not in transitions(node)]
    plain = {key: value for key, value in node.items() if key != "x-kubernetes-validations"}
    return {**plain, **({"x-kubernetes-validations": kept} if kept else {})}


@pytest.mark.parametrize("field", [f for f in SPEC["properties"] if f not in MUTABLE_FIELDS])
def test_a_field_that_is_not_named_as_mutable_is_immutable(field: str) -> None:
    (changed,) = transitions(SPEC["properties"][field])
    assert (changed["rule"], changed["reason"]) == ("self == oldSelf", "FieldValueForbidden")
    assert "create a new AgentJob" in changed["message"]
    always_there = field in SPEC["required"] or "default" in SPEC["properties"][field]
    (_, kept) = transitions(SPEC)
    assert (f"has(self.{field}) == has(oldSelf.{field})" in kept["rule"]) is not always_there


def test_the_fields_that_may_change_are_those_of_the_design() -> None:
    assert set(MUTABLE_FIELDS) == {"suspend", "cancel", "priority", "maxAttempts", "ttlSecondsAfterFinished"}
    assert not [field for field in MUTABLE_FIELDS if transitions(SPEC["properties"][field])]
    assert [rule.get("fieldPath") for rule in transitions(SPEC)] == [".cancel", None]


def test_a_write_of_a_status_has_the_api_server_look_few_fields_up() -> None:
    """For each field that is there and that a rule of an object looks up, the API server goes through all of the
    object's schema. Rules of the spec about each immutable field did so 40 times, a fifth of the CPU of writing a status."""
    plain = {"agent", "message", *(f for f, node in SPEC["properties"].items() if "default" in node)}
    shown = {"spec": plain, "status": {"revision", "state", "conditions"}}
    found = [
        name
        for part, there in shown.items()
        for r in JOB["properties"][part]["x-kubernetes-validations"]
        for name in re.findall(r"(?:self|oldSelf)\.(\w+)", r["rule"])
        if name in there
    ]
    assert len(found) <= 5, found


def test_suspend_and_cancel_have_no_default() -> None:
    """With one, replacing an object by the manifest that made it would take a cancel back, and fail for good."""
    assert "default" not in SPEC["properties"]["suspend"]
    assert "default" not in SPEC["properties"]["cancel"]


def test_a_template_has_the_fields_of_a_job_but_for_its_times_and_its_switches() -> None:
    own = {"cancel", "suspend", "delaySeconds", "scheduledTime"}
    assert set(SPEC["properties"]) - set(TEMPLATE["properties"]) == own
    assert set(TEMPLATE["properties"]) - set(SPEC["properties"]) == set()


def test_a_template_differs_from_a_job_in_the_defaults_of_queue_and_priority_only() -> None:
    jobs, templates = SPEC["properties"], TEMPLATE["properties"]
    differing = {name for name, node in templates.items() if node != without_transitions(jobs[name])}
    assert differing == {"queue", "priority"}
    assert (templates["queue"]["default"], templates["priority"]["default"]) == ("scheduled", 0)
    assert (jobs["queue"]["default"], jobs["priority"]["default"]) == ("agents", 2)


def test_the_due_time_of_a_delay_counts_from_the_objects_creation() -> None:
    created = parse_time("2026-12-01T09:00:00Z")
    spec = {"agent": {"module": "a"}, "message": "m", "delaySeconds": 90}
    due = AgentJob.model_validate({"spec": spec}).spec.due_at(created)
    assert due == parse_time("2026-12-01T09:01:30Z")
