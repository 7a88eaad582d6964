"""Discovery: the API group, its version and resources, in the old and the aggregated form. No database is asked.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from collections.abc import Sequence

from agentjobs.values.json import JsonObject
from agentjobs.web.answers import Media
from agentjobs.web.names import API_VERSION, GROUP, VERSION
from agentjobs.web.routes import RESOURCES, Resource

AGGREGATED = "apidiscovery.k8s.io"
AGGREGATED_VERSIONS = ("v2", "v2beta1")


def group() -> JsonObject:
    """/apis/GROUP"""
    version = {"groupVersion": API_VERSION, "version": VERSION}
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [version],
        "preferredVersion": version,
    }


def groups() -> JsonObject:
    """/apis"""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]}


def resources(served: Sequence[Resource] = RESOURCES) -> JsonObject:
    """/apis/GROUP/VERSION"""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": [
            {
                "name": resource.name,
                "singularName": "" if resource.subresource else singular(resource),
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": sorted(resource.verbs),
                **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
            }
            for resource in served
        ],
    }


def aggregated(version: str, served: Sequence[Resource] = RESOURCES) -> JsonObject:
    """/apis for a client that accepts an APIGroupDiscoveryList of ``version``."""
    tops = [resource for resource in served if not resource.subresource]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{AGGREGATED}/{version}",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": GROUP, "creationTimestamp": None},
                "versions": [
                    {
                        "version": VERSION,
                        "freshness": "Current",
                        "resources": [_discovered(resource, served) for resource in tops],
                    }
                ],
            }
        ],
    }


def aggregated_version(accept: Sequence[Media]) -> str | None:
    """The version of aggregated discovery that the client wants before the old form. None: the old form."""
    for media in accept:
        if media.parameters.get("as") == "APIGroupDiscoveryList" and media.parameters.get("g") == AGGREGATED:
            if media.type == "application/json" and media.parameters.get("v") in AGGREGATED_VERSIONS:
                return media.parameters["v"]
        elif media.is_json:
            return None
    return None


def singular(resource: Resource) -> str:
    """The singular of its name, under which ``kubectl`` knows it too."""
    return resource.kind.lower()


def _discovered(resource: Resource, served: Sequence[Resource]) -> JsonObject:
    below = [other for other in served if other.subresource and other.plural == resource.name]
    return {
        "resource": resource.name,
        "responseKind": _kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": singular(resource),
        "verbs": sorted(resource.verbs),
        **({"shortNames": list(resource.short_names)} if resource.short_names else {}),
        **(
            {
                "subresources": [
                    {
                        "subresource": other.subresource,
                        "responseKind": _kind(other),
                        "verbs": sorted(other.verbs),
                    }
                    for other in below
                ]
            }
            if below
            else {}
        ),
    }


def _kind(resource: Resource) -> JsonObject:
    return {"group": GROUP, "version": VERSION, "kind": resource.kind}
