"""LIST of all objects of a kind, metadata only, in pages."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from uuid import UUID

from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.values.json import JsonObject

CHUNK = 500
"""Objects in a page."""


class ListFailed(Exception):
    """The LIST or a page of it failed: nothing may be concluded from what is missing in it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a metadata-only LIST showed it."""

    uid: UUID
    namespace: str
    name: str
    generation: int
    deleting: bool
    version: int = 0
    """resourceVersion; 0 where it is no number."""


async def list_objects(
    api: ApiServer, resource: Resource, namespaces: Set[str], chunk: int = CHUNK
) -> dict[UUID, Listed]:
    """By uid; of these namespaces, or of all where none is named. Raises ApiUnavailable, ListFailed."""
    listed: dict[UUID, Listed] = {}
    for namespace in sorted(namespaces) or (None,):
        params = {"limit": str(chunk)}
        while True:
            reply = await api.request(
                "GET",
                resource.collection(namespace),
                resource=resource.plural,
                accept=METADATA_LIST,
                params=params,
            )
            if not reply.ok:  # 410 too: the list was too old to go on with; the next sweep starts anew
                raise ListFailed(f"LIST {resource.plural}: {reply.status} {reply.message}")
            for item in reply.body.get("items") or ():
                found = _listed(item)
                listed[found.uid] = found
            token = (reply.body.get("metadata") or {}).get("continue")
            if not token:
                break
            params = {"limit": str(chunk), "continue": token}
    return listed


def _listed(item: JsonObject) -> Listed:
    meta = item["metadata"]
    return Listed(
        UUID(meta["uid"]),
        meta["namespace"],
        meta["name"],
        int(meta.get("generation", 1)),
        bool(meta.get("deletionTimestamp")),
        version_of(meta),
    )


def version_of(meta: JsonObject) -> int:
    """The resourceVersion; 0 where it is no number. Newer is larger (Kubernetes promises so since 1.35, and etcd's
    revisions always were)."""
    version = str(meta.get("resourceVersion", ""))
    return int(version) if version.isdecimal() else 0
