"""What fits the schema of a question, and what is said of what does not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import BaseModel, Field

from agentjobs.values.answer_schema import example, misfit


class Address(BaseModel):
    city: str


class Decision(BaseModel):
    approved: bool
    days: int = Field(default=0, ge=0, le=30)
    why: str | None = None
    address: Address | None = None
    tags: list[str] = []


DECISION = json.dumps(Decision.model_json_schema())


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"approved": True}, ""),
        ({"approved": True, "days": 3, "why": None, "address": {"city": "Bonn"}, "tags": ["a"], "more": 1}, ""),
        ({"approved": "yes"}, 'payload.approved is "yes"; true or false is wanted'),
        ({}, "payload.approved is missing; true or false is wanted"),
        ([1], "payload is [1]; an object is wanted"),
        ({"approved": True, "days": 3.5}, "payload.days is 3.5; a whole number is wanted"),
        ({"approved": True, "days": True}, "payload.days is true; a whole number is wanted"),
        ({"approved": True, "days": 31}, "payload.days is 31; at most 30 is wanted"),
        ({"approved": True, "why": 3}, "payload.why is 3; a text or null is wanted"),
        ({"approved": True, "address": {}}, "payload.address.city is missing; a text is wanted"),
        ({"approved": True, "address": {"city": 1}}, "payload.address.city is 1; a text is wanted"),
        ({"approved": True, "tags": ["a", 2]}, "payload.tags[1] is 2; a text is wanted"),
    ],
)  # fmt: skip
def test_a_misfit_names_field_value_and_remedy(payload: Any, told: str) -> None:
    said = misfit(payload, DECISION)
    assert said.startswith(told)
    assert said.endswith("Mend the payload and answer again" if told else "")


@pytest.mark.parametrize(
    ("payload", "schema", "told"),
    [
        ("b", {"enum": ["a", "c"]}, 'payload is "b"; one of "a", "c" is wanted'),
        (1, {"const": 2}, "payload is 1; 2 is wanted"),
        ({"x": 1}, {"type": "object", "properties": {"a": {}}, "additionalProperties": False}, "payload.x is 1; no such"),
        ({"x": 1}, {"additionalProperties": {"type": "string"}}, "payload.x is 1; a text is wanted"),
        (None, {"type": ["string", "null"]}, ""),
        ("", {"type": "string", "minLength": 1}, 'payload is ""; at least 1 characters is wanted'),
        ("x" * 99, {"type": "integer"}, 'payload is "' + "x" * 39 + "…; a whole number is wanted"),
        (2.0, {"type": "integer"}, ""),
    ],
)  # fmt: skip
def test_the_words_of_json_schema(payload: Any, schema: Any, told: str) -> None:
    said = misfit(payload, json.dumps(schema))
    assert said.startswith(told)
    assert bool(said) is bool(told)


def test_a_message_for_an_event_does_not_quote_the_value() -> None:
    said = misfit({"approved": "key-that-nobody-sees"}, DECISION, quoted=False)
    assert said.startswith("payload.approved is a text; true or false is wanted")


@pytest.mark.parametrize(
    "schema",
    [
        "", "{", "[]", "3", '"x"', "[" * 5000, '{"type": "color"}', '{"type": 3}', '{"$ref": "#"}',
        '{"$ref": "https://example.com/schema"}', '{"properties": 3, "required": "x", "items": [], "enum": 1}',
        '{"pattern": "(a+)+$"}', '{"anyOf": [{"$ref": "#"}]}', '{"minimum": "x"}',
        json.dumps({"$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 9} for n in range(99)}, "$ref": "#/$defs/0"}),
    ],
)  # fmt: skip
def test_a_hostile_schema_refuses_nothing_and_costs_little(schema: str) -> None:
    begun = time.process_time()
    assert misfit({"a": ["a" * 50 + "!"]}, schema) == ""
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        (DECISION, {"approved": True}),
        ("", ""),
        ('{"type": "integer", "minimum": 3}', 3),
        ('{"enum": ["a", "b"]}', "a"),
        ('{"type": "object", "properties": {"a": {"default": 7}}, "required": ["a"]}', {"a": 7}),
        ('{"anyOf": [{"type": "array"}, {"type": "null"}]}', []),
    ],
)
def test_an_example_fits(schema: str, made: Any) -> None:
    assert example(schema) == made
    assert misfit(made, schema) == ""
