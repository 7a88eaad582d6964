"""Writes to objects: statuses and deletes, and what the API server's answers to them mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from agentjobs.controller.apiserver.client import (
    JSON_PATCH,
    MERGE_PATCH,
    METADATA_ONLY,
    ApiServer,
    Reply,
)
from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource
from agentjobs.queue.records import ObjectRef
from agentjobs.values.json import JsonObject


class Written(Enum):
    """The outcome of a status write."""

    DONE = "done"
    GONE = "gone"
    """The object is not there, or another one has its name: there is nothing to write to (H2)."""
    OLDER = "older"
    """The object shows a newer revision: a newer leader was here (H3)."""
    LATER = "later"
    """The API server is busy, RBAC does not allow it, or the CRD is missing: everything is kept."""
    INVALID = "invalid"
    """The installed CRD does not accept this status: the CRD is older than this operator, or this is a
    bug."""


@dataclass(frozen=True, slots=True)
class Result:
    written: Written
    reply: Reply


async def write_status(
    api: ApiServer, ref: ObjectRef, uid: UUID, status: JsonObject, resource: Resource = AGENT_JOBS
) -> Result:
    """Replaces the whole status of exactly this object.

    A merge patch ignores the uid and leaves old keys behind; JSON Patch does neither. Only metadata comes
    back: the answer would carry the whole spec. Raises ApiUnavailable.
    """
    reply = await api.request(
        "PATCH",
        resource.object(ref.namespace, ref.name, "status"),
        resource=f"{resource.plural}/status",
        body=[
            {"op": "test", "path": "/metadata/uid", "value": str(uid)},
            {"op": "add", "path": "/status", "value": status},
        ],
        content_type=JSON_PATCH,
        accept=METADATA_ONLY,
    )
    return Result(meaning_of(reply), reply)


def meaning_of(reply: Reply) -> Written:
    """The outcome of a status write by the server's answer."""
    if reply.ok:
        return Written.DONE
    if reply.object_missing:
        return Written.GONE
    if reply.status == 422:
        causes = (reply.body.get("details") or {}).get("causes") or []
        fields = {str(cause.get("field", "")) for cause in causes}
        if "status.revision" in fields:
            return Written.OLDER
        if not fields:
            # a failed test has no causes: "the server rejected our request due to an error in our request"
            return Written.GONE
        return Written.INVALID
    return Written.LATER


async def get_object(
    api: ApiServer, namespace: str, name: str, *, metadata_only: bool = False, resource: Resource = AGENT_JOBS
) -> Reply:
    """One object. Raises ApiUnavailable."""
    return await api.request(
        "GET",
        resource.object(namespace, name),
        resource=resource.plural,
        accept=METADATA_ONLY if metadata_only else "application/json",
    )


async def remove_status(api: ApiServer, obj: JsonObject, resource: Resource = AGENT_JOBS) -> bool:
    """Removes the status of exactly this object, where it still shows this revision: the one way back from a revision
    that is too high to be followed by another (H3). False: it does not. Raises ApiUnavailable."""
    meta = obj["metadata"]
    reply = await api.request(
        "PATCH",
        resource.object(meta["namespace"], meta["name"], "status"),
        resource=f"{resource.plural}/status",
        body=[
            {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
            {"op": "test", "path": "/status/revision", "value": obj["status"]["revision"]},
            {"op": "remove", "path": "/status"},
        ],
        content_type=JSON_PATCH,
        accept=METADATA_ONLY,
    )
    if reply.busy:
        raise reply.unavailable
    return reply.ok


async def annotate(
    api: ApiServer, obj: JsonObject, annotations: Mapping[str, str], resource: Resource
) -> Reply:
    """Adds annotations to exactly this object in exactly this version, else 409; answers with the whole object.
    Raises ApiUnavailable."""
    meta = obj["metadata"]
    fence = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    return await api.request(
        "PATCH",
        resource.object(meta["namespace"], meta["name"]),
        resource=resource.plural,
        body={"metadata": {**fence, "annotations": dict(annotations)}},
        content_type=MERGE_PATCH,
    )


class Deletion(Enum):
    """The outcome of a delete."""

    GONE = "gone"
    """The object is not there any more, whoever deleted it; another one may have its name."""
    CHANGED = "changed"
    """It is no more what was to be deleted, or changed between the two requests: its watch event is on the
    way."""
    REFUSED = "refused"
    """RBAC, say, does not allow it."""


@dataclass(frozen=True, slots=True)
class DeleteResult:
    deletion: Deletion
    reply: Reply


async def delete_if_unchanged(
    api: ApiServer,
    namespace: str,
    name: str,
    uid: str,
    still_wanted: Callable[[JsonObject], bool],
    resource: Resource = AGENT_JOBS,
) -> DeleteResult:
    """Looks once more, then deletes exactly what it saw: a retry may have begun since. Raises
    ApiUnavailable."""
    found = await get_object(api, namespace, name, resource=resource)
    if found.busy:
        raise found.unavailable
    if found.object_missing or (found.ok and found.body["metadata"]["uid"] != uid):
        return DeleteResult(Deletion.GONE, found)
    if not found.ok:
        return DeleteResult(Deletion.REFUSED, found)
    if not still_wanted(found.body):
        return DeleteResult(Deletion.CHANGED, found)
    version = found.body["metadata"]["resourceVersion"]
    reply = await delete_object(api, namespace, name, uid, version, resource)
    if reply.busy:
        raise reply.unavailable
    if reply.ok or reply.object_missing:
        return DeleteResult(Deletion.GONE, reply)
    return DeleteResult(Deletion.CHANGED if reply.status == 409 else Deletion.REFUSED, reply)


async def delete_object(
    api: ApiServer,
    namespace: str,
    name: str,
    uid: str,
    resource_version: str,
    resource: Resource = AGENT_JOBS,
) -> Reply:
    """Deletes exactly this object in exactly this version. Raises ApiUnavailable."""
    return await api.request(
        "DELETE",
        resource.object(namespace, name),
        resource=resource.plural,
        body={
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
            "propagationPolicy": "Background",
        },
        accept=METADATA_ONLY,
    )
