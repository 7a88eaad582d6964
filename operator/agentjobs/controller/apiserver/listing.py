"""LIST of all objects of a kind, metadata only, in pages."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from agentjobs.controller.apiserver.client import METADATA_LIST, ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import Resource
from agentjobs.values.json import JsonObject

CHUNK = 500
"""Objects in a page."""


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
    api: ApiServer, resource: Resource, namespace: str | None, chunk: int = CHUNK
) -> dict[UUID, Listed]:
    """By uid; of this namespace, or of all. Raises ApiUnavailable: nothing may be concluded then from what is
    missing."""
    listed: dict[UUID, Listed] = {}
    params = {"limit": str(chunk)}
    path = resource.collection(namespace)
    while True:
        reply = await api.request("GET", path, resource=resource.plural, accept=METADATA_LIST, params=params)
        if not reply.ok:  # 410 too: the list was too old to go on with; the next one starts anew
            raise ApiUnavailable(
                f"LIST {path}: {reply.words}", reply.retry_after_seconds, status=reply.status
            )
        try:
            for item in reply.body["items"] or ():  # an empty list of metadata may be null
                found = _listed(item)
                listed[found.uid] = found
        except (KeyError, ValueError, TypeError) as error:
            raise ApiUnavailable(f"LIST {path}: the answer cannot be read: {error!r}") from error
        token = reply.body["metadata"].get("continue")
        if not token:
            return listed
        params = {"limit": str(chunk), "continue": token}


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
