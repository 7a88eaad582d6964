"""What ages badly in an API is not in ours.

The rules are those of kube-api-linter, where they fit: https://github.com/kubernetes-sigs/kube-api-linter
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agentjobs.api.crd import RESOURCES, crds

# Handed to the provider as they are, under the Gemini API's own names and as the numbers that it calls them.
NUMBERS = {"temperature", "topP", "presencePenalty", "frequencyPenalty"}
# A map is what labels and annotations are in every object.
MAPS = {"labels", "annotations"}
# For people to read, its units in its text; machines have the two times.
DURATIONS_AS_TEXT = {"duration"}
# Words for spans of time, which need their unit in the name.
SPANS = re.compile(r"delay|timeout|deadline|wait|ttl|interval|period|duration", re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    path: str
    node: dict[str, Any]
    required: bool

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[1].removesuffix("[]")

    @property
    def in_status(self) -> bool:
        return ".status" in self.path

    def __str__(self) -> str:
        return self.path


def fields(node: dict[str, Any], path: str) -> Iterator[Field]:
    for name, inner in node.get("properties", {}).items():
        where = f"{path}.{name}"
        if where.endswith((".metadata", ".apiVersion", ".kind")) and where.count(".") == 1:
            continue
        yield Field(where, inner, name in node.get("required", ()))
        yield from fields(inner.get("items", inner), where + ("[]" if "items" in inner else ""))


FIELDS = [
    field
    for definition in crds()
    for field in fields(
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], definition["spec"]["names"]["kind"]
    )
]


def values(field: Field) -> Iterator[dict[str, Any]]:
    """The schema of the field, and of what a list or map in it holds."""
    yield field.node
    for inner in ("items", "additionalProperties"):
        if isinstance(field.node.get(inner), dict):
            yield field.node[inner]


def test_the_lint_sees_the_deepest_fields_of_both_kinds() -> None:
    seen = {field.path for field in FIELDS}
    assert "AgentJob.status.recentAttempts[].message" in seen
    assert "ScheduledAgentJob.spec.jobTemplate.spec.agent.inline.generateContentConfig.topK" in seen


def test_a_description_begins_with_the_fields_name_and_ends_with_a_stop() -> None:
    for field in FIELDS:
        assert re.match(rf"{field.name}\b.*\.$", field.node.get("description", "")), field.path


def test_a_description_says_the_default_or_what_absent_means() -> None:
    for field in FIELDS:
        described, default = field.node["description"], field.node.get("default")
        if isinstance(default, str | int):
            told = str(default).lower() if isinstance(default, bool) else str(default)
            assert f"Default: {told}" in described, field.path
        elif default is None and not field.required and field.path.count(".") > 1:
            assert "Absent means: " in described, field.path


def test_there_are_no_floats_but_those_of_the_models_providers() -> None:
    for field in FIELDS:
        if any(value["type"] == "number" for value in values(field)):
            assert field.name in NUMBERS, field.path
            assert {"minimum", "maximum"} <= field.node.keys(), field.path


def test_every_text_list_and_map_has_a_maximum() -> None:
    for field in FIELDS:
        for value in values(field):
            if value["type"] == "string" and value.get("format") != "date-time":
                assert value.get("maxLength") or value.get("enum"), field.path
            if value["type"] == "array":
                assert value.get("maxItems"), field.path
                assert value.get("x-kubernetes-list-type") in ("atomic", "map", "set"), field.path
            if "additionalProperties" in value:
                assert value.get("maxProperties"), field.path
                assert field.name in MAPS, field.path


def test_every_integer_has_a_format_and_bounds_that_fit_it() -> None:
    for field in FIELDS:
        for value in values(field):
            if value["type"] == "integer":
                assert value["format"] in ("int32", "int64"), field.path
                assert value["minimum"] is not None, field.path
                assert field.in_status or value["maximum"] <= 2**53, (
                    f"{field.path}: JSON readers keep 53 bits"
                )
                assert value["format"] == "int64" or value["maximum"] < 2**31, field.path


def test_a_span_of_time_has_its_unit_in_its_name() -> None:
    for field in FIELDS:
        if field.node["type"] == "integer" and (
            SPANS.search(field.name) or "in seconds" in field.node["description"]
        ):
            assert re.search(r"Seconds($|After)", field.name), field.path
            assert "in seconds" in field.node["description"], field.path
        if field.node["type"] == "string" and SPANS.search(field.name):
            assert field.name in DURATIONS_AS_TEXT, field.path


def test_a_moment_is_called_time_and_nothing_else_is() -> None:
    for field in FIELDS:
        assert field.name.endswith("Time") is (field.node.get("format") == "date-time"), field.path


def test_a_status_has_neither_enums_nor_defaults_nor_patterns() -> None:
    """An older definition would refuse what a newer operator writes, for ever."""
    for field in FIELDS:
        if field.in_status:
            assert not {"enum", "default", "pattern"} & field.node.keys(), field.path


def test_nothing_is_null_nor_of_two_types() -> None:
    for field in FIELDS:
        for value in values(field):
            assert isinstance(value["type"], str), field.path
            assert not {"nullable", "anyOf", "oneOf", "allOf", "$ref", "title", "const"} & value.keys(), (
                field.path
            )


def test_names_are_camel_case_with_acronyms_in_one_case() -> None:
    for field in FIELDS:
        assert re.fullmatch(r"[a-z]+[A-Za-z]*", field.name), field.path
        assert not re.search(r"Id$|Id[A-Z]|Llm|Ttl|Url", field.name), field.path
        assert field.name != "phase", field.path


def test_a_message_of_a_rule_says_more_than_that_it_failed() -> None:
    for field in FIELDS:
        for rule in field.node.get("x-kubernetes-validations", ()):
            assert len(rule["message"]) >= 20, field.path
            assert rule["reason"] in ("FieldValueInvalid", "FieldValueForbidden"), field.path


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.model.KIND)
def test_columns_and_selectors_show_fields_that_exist(resource: Any) -> None:
    known = {field.path.removeprefix(resource.model.KIND) for field in FIELDS}
    shown = {re.sub(r"\[\?.*?\]", "[]", column.path) for column in resource.columns} | set(
        resource.selectable
    )
    assert shown - known == {".metadata.creationTimestamp"}


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.model.KIND)
def test_a_time_to_come_is_no_date_column(resource: Any) -> None:
    """kubectl prints ``<invalid>`` for a date in the future."""
    dates = {column.path for column in resource.columns if column.type == "date"}
    assert not {path for path in dates if "next" in path.lower()}
