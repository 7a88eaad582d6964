"""Writes to objects: statuses and deletes; whatever the API server's answer leaves open, a GET decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from uuid import UUID

from agentjobs.controller.apiserver.client import JSON_PATCH, MERGE_PATCH, METADATA_ONLY, ApiServer
from agentjobs.controller.apiserver.refusals import FRESH, Act, Call, History, decide
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, Resource
from agentjobs.queue.records import ObjectRef
from agentjobs.values.json import JsonObject


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """What came of a status write."""

    act: Act
    """DONE, GONE (the object, or it has another uid: H2), OLDER (H3) or RETRY."""
    reply: Reply
    reduced: Reply | None = None
    """Why only a part of the status was written; None: it was not reduced."""


async def write_status(
    api: ApiServer,
    ref: ObjectRef,
    uid: UUID,
    status: JsonObject,
    less: Callable[[JsonObject], JsonObject],
    resource: Resource = AGENT_JOBS,
    history: History = FRESH,
) -> StatusWrite:
    """Replaces the whole status of exactly this object; where that can never be, by ``less`` of it.

    Raises ApiUnavailable: nothing is known to be written.
    """
    reduced: Reply | None = None
    while True:
        reply = await _patch_status(api, ref, uid, status, resource)
        known = replace(history, reduced=reduced is not None)
        act = decide(Call.STATUS, reply, known).act
        if act is Act.CONFIRM:
            if await is_gone(api, ref.namespace, ref.name, str(uid), resource):
                return StatusWrite(Act.GONE, reply)
            act = decide(Call.STATUS, reply, replace(known, confirmed=True)).act
        if act is not Act.REDUCE:
            return StatusWrite(act, reply, reduced)
        reduced, status = reply, less(status)


async def _patch_status(
    api: ApiServer, ref: ObjectRef, uid: UUID, status: JsonObject, resource: Resource
) -> Reply:
    """A merge patch ignores the uid and leaves old keys behind; JSON Patch does neither. Only metadata comes
    back: the answer would carry the whole spec."""
    return await api.request(
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


async def get_object(
    api: ApiServer,
    namespace: str | None,
    name: str,
    *,
    metadata_only: bool = False,
    resource: Resource = AGENT_JOBS,
) -> Reply:
    """One object, or that there is none. Raises ApiUnavailable: neither is known."""
    reply = await api.request(
        "GET",
        resource.object(namespace, name),
        resource=resource.plural,
        accept=METADATA_ONLY if metadata_only else "application/json",
    )
    if decide(Call.GET, reply).act is Act.RETRY:
        raise reply.unavailable
    return reply


async def is_gone(
    api: ApiServer, namespace: str | None, name: str, uid: str, resource: Resource = AGENT_JOBS
) -> bool:
    """Whether a GET says that this object is not there, or that another one has its name. Raises
    ApiUnavailable: it says neither."""
    found = await get_object(api, namespace, name, metadata_only=True, resource=resource)
    return not found.ok or found.body["metadata"].get("uid") != uid


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
    """Adds annotations to exactly this object in exactly this version, else 409; answers with its metadata alone.
    Raises ApiUnavailable."""
    meta = obj["metadata"]
    fence = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    return await api.request(
        "PATCH",
        resource.object(meta["namespace"], meta["name"]),
        resource=resource.plural,
        body={"metadata": {**fence, "annotations": dict(annotations)}},
        content_type=MERGE_PATCH,
        accept=METADATA_ONLY,
    )


class Deletion(Enum):
    """The outcome of a delete that was not refused."""

    GONE = "gone"
    """The object is not there any more, whoever deleted it; another one may have its name."""
    CHANGED = "changed"
    """It is no more what was to be deleted: its watch event is on the way."""


@dataclass(frozen=True, slots=True)
class DeleteResult:
    deletion: Deletion
    reply: Reply


async def delete_if_unchanged(
    api: ApiServer,
    namespace: str | None,
    name: str,
    uid: str,
    still_wanted: Callable[[JsonObject], bool],
    resource: Resource = AGENT_JOBS,
) -> DeleteResult:
    """Looks once more, then deletes exactly what it saw: a retry may have begun since. Raises
    ApiUnavailable: the object is there, or nothing is known of it."""
    found = await get_object(api, namespace, name, resource=resource)
    if not found.ok or found.body["metadata"].get("uid") != uid:
        return DeleteResult(Deletion.GONE, found)
    if not still_wanted(found.body):
        return DeleteResult(Deletion.CHANGED, found)
    version = found.body["metadata"]["resourceVersion"]
    reply = await delete_object(api, namespace, name, uid, version, resource)
    act = decide(Call.DELETE, reply).act
    if act is Act.DONE:
        return DeleteResult(Deletion.GONE, reply)
    if act is Act.CONFIRM and await is_gone(api, namespace, name, uid, resource):
        return DeleteResult(Deletion.GONE, found)
    raise reply.unavailable


async def delete_object(
    api: ApiServer,
    namespace: str | None,
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
