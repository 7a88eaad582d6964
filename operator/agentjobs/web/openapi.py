"""OpenAPI v2 and v3 of the API, in the shape of Kubernetes' own, so that ``kubectl explain agentrun.status`` explains.

Made from the pydantic models of the routes. Definitions have names of our own, since kube-apiserver merges the v2
documents of all APIs.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
from pydantic.json_schema import models_json_schema

from agentjobs.values.json import JsonObject
from agentjobs.web.names import GROUP, ROOT, VERSION
from agentjobs.web.objects.meta import KubeObject
from agentjobs.web.routes import RESOURCES, Resource

PREFIX = "dev.agentjobs.runs.v1alpha1."
V2, V3 = "#/definitions/", "#/components/schemas/"
GVK = "x-kubernetes-group-version-kind"
ACTIONS = {"get": "get", "list": "list", "watch": "watchlist", "create": "post"}


@lru_cache(maxsize=1)
def v2() -> bytes:
    """/openapi/v2"""
    definitions = _schemas(V2)
    return orjson.dumps(
        {
            "swagger": "2.0",
            "info": {"title": GROUP, "version": VERSION},
            "paths": dict(_paths(V2)),
            "definitions": definitions,
        }
    )


@lru_cache(maxsize=1)
def v3() -> bytes:
    """/openapi/v3/apis/GROUP/VERSION"""
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": GROUP, "version": VERSION},
            "paths": dict(_paths(V3)),
            "components": {"schemas": _schemas(V3)},
        }
    )


def v3_root() -> bytes:
    """/openapi/v3: where the documents of the versions are, with a hash by which clients keep them."""
    digest = hashlib.sha512(v3()).hexdigest().upper()
    path = ROOT.removeprefix("/")
    return orjson.dumps({"paths": {path: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash={digest}"}}})


def _models(resources: Sequence[Resource] = RESOURCES) -> list[type[KubeObject]]:
    return list(dict.fromkeys(resource.model for resource in resources if resource.model is not None))


def _schemas(reference: str) -> dict[str, Any]:
    _, whole = models_json_schema(
        [(model, "validation") for model in _models()],
        by_alias=True,
        ref_template=reference + PREFIX + "{model}",
    )
    found: dict[str, Any] = {}
    for name, schema in whole["$defs"].items():
        if name != "JsonValue":
            found[PREFIX + name] = _plain(schema)
    for model in _models():
        schema = found[PREFIX + model.__name__]
        schema[GVK] = [{"group": GROUP, "version": VERSION, "kind": model.__name__}]
    return found


def _plain(node: Any) -> Any:
    """One node of pydantic's schema as Kubernetes' dialect: no null, no title, no const, JSON of any shape marked."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    node = copy.copy(node)
    if str(node.get("$ref", "")).endswith("JsonValue"):
        del node["$ref"]
        node["x-kubernetes-preserve-unknown-fields"] = True
    if "anyOf" in node:
        choices = [choice for choice in node.pop("anyOf") if choice.get("type") != "null"]
        node = {**choices[0], **node}
    if "$ref" in node and "description" in node:
        # a reference may have nothing beside it but in allOf
        node = {"description": node["description"], "allOf": [{"$ref": node["$ref"]}]}
    node.pop("title", None)
    node.pop("default", None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "properties" in node:
        node["properties"] = {name: _plain(inner) for name, inner in node["properties"].items()}
    for key in ("items", "additionalProperties", "allOf"):
        if isinstance(node.get(key), dict | list):
            node[key] = _plain(node[key])
    return node


def _paths(reference: str) -> Iterator[tuple[str, JsonObject]]:
    for resource in RESOURCES:
        yield from _paths_of(resource, reference)


def _paths_of(resource: Resource, reference: str) -> Iterator[tuple[str, JsonObject]]:
    base = f"{ROOT}/namespaces/{{namespace}}" if resource.namespaced else ROOT
    in_path = ["namespace"] if resource.namespaced else []
    if "get" in resource.verbs:
        tail = f"/{resource.subresource}" if resource.subresource else ""
        path = f"{base}/{resource.plural}/{{name}}{tail}"
        yield path, _item(resource, {"get": "get"}, [*in_path, "name"], reference)
    methods = {
        method: verb for method, verb in (("get", "list"), ("post", "create")) if verb in resource.verbs
    }
    if methods:
        yield f"{base}/{resource.plural}", _item(resource, methods, in_path, reference)


def _item(resource: Resource, methods: dict[str, str], in_path: list[str], reference: str) -> JsonObject:
    def parameter(name: str, where: str) -> JsonObject:
        plain = {"name": name, "in": where, "required": where == "path"}
        return plain | ({"type": "string"} if reference == V2 else {"schema": {"type": "string"}})

    item: JsonObject = {"parameters": [parameter(name, "path") for name in in_path]}
    for method, verb in methods.items():
        operation: JsonObject = {
            "operationId": f"{verb}{VERSION.title()}{resource.name.title().replace('/', '')}",
            "x-kubernetes-action": ACTIONS[verb],
            GVK: {"group": GROUP, "version": VERSION, "kind": resource.kind},
            "responses": {"200": {"description": "OK"}},
        }
        if verb == "create":
            operation["parameters"] = [
                parameter(name, "query") for name in ("dryRun", "fieldManager", "fieldValidation")
            ]
        if verb == "create" and resource.model is not None:
            schema = {"$ref": reference + PREFIX + resource.model.__name__}
            if reference == V2:
                operation["parameters"].append(
                    {"name": "body", "in": "body", "required": True, "schema": schema}
                )
            else:
                operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        item[method] = operation
    return item
