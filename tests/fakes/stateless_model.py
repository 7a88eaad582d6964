"""A model without a memory: it calls each tool that it is given once, with arguments made from the schema, and then answers.

What it says follows from the request alone, so two runners that ask the same hear the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gemini import Answer, Recorded, call, calls, text

LAST = ("finish_task", "set_model_response", "exit_loop")
"""Tools that end something: called when there is no other one left."""
TOGETHER = "together"
"""An agent of this name hears all its calls in one answer."""


def answer(asked: Recorded) -> Answer:
    """What the model says to a request."""
    heard = set(_called(asked))
    left = {name: schema for name, schema in _declared(asked) if name not in heard}
    ending = {name: left.pop(name) for name in LAST if name in left}
    if left and asked.agent == TOGETHER:
        named = [(name, made(schema)) for name, schema in left.items()]
        return calls(*named, named[0])
    for name, schema in (left or ending).items():
        return call(name, made(schema))
    config = asked.body.get("generationConfig", {})
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema:
        return text(json.dumps(made(schema)))
    return text(f"{asked.agent or 'the model'} has {len(asked.tool_results)} results")


def _declared(asked: Recorded) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tool in asked.body.get("tools", []):
        for function in tool.get("functionDeclarations", []):
            keys = ("parametersJsonSchema", "parameters_json_schema", "parameters")
            yield (
                function["name"],
                next((function[key] for key in keys if function.get(key)), {"type": "object"}),
            )


def _called(asked: Recorded) -> Iterator[str]:
    for content in asked.contents:
        for part in content.get("parts", []):
            if "functionCall" in part:
                yield part["functionCall"]["name"]
            # another agent's call, as ADK tells of it
            yield from re.findall(r"called tool `(\w+)`", part.get("text", ""))


def made(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Any:
    """A value that fits a schema of Gemini's, or a JSON Schema."""
    definitions = definitions or schema.get("$defs", {})
    if "$ref" in schema:
        return made(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return made(schema[choices][0], definitions)
    kind = schema.get("type", "string")
    kind = (kind if isinstance(kind, str) else kind[0]).lower()
    if kind == "object":
        return {name: made(one, definitions) for name, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [made(schema.get("items", {}), definitions)]
    return {"integer": 2, "number": 1.5, "boolean": True, "null": None}.get(kind, "x")
