"""``ClusterObjects`` on an API server: creates, finds, cancels and deletes children, writes schedules'
statuses."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from agentjobs.controller.apiserver.client import (
    JSON_PATCH,
    METADATA_ONLY,
    ApiServer,
    Reply,
)
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.writes import (
    Deletion,
    Written,
    delete_if_unchanged,
    get_object,
    remove_status,
    write_status,
)
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.status_digest import shown_revision
from agentjobs.controller.scheduledagentjob.cluster_objects import CREATE_SECONDS, Created, Refused
from agentjobs.queue.records import FINAL_STATES, ObjectRef
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)


class ApiServerObjects:
    """``ClusterObjects`` over raw HTTP."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api

    async def create(self, manifest: JsonObject, schedule: UUID) -> Created | Refused:
        meta = manifest["metadata"]
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                reply = await self._request(
                    "POST", AGENT_JOBS.collection(meta["namespace"]), body=manifest, accept=METADATA_ONLY
                )
        except TimeoutError:
            raise ApiUnavailable(f"no answer to a creation within {CREATE_SECONDS:.0f} s") from None
        if reply.ok:
            return Created(UUID(reply.body["metadata"]["uid"]))
        if reply.status == 409:
            found = await self.find(meta["namespace"], meta["name"], schedule)
            if found is not None:
                return Created(found)
            return Refused("an AgentJob of this name exists that is not this schedule's")
        # 422: the CRD refuses this very object; 403, 404: RBAC, quota, a namespace: people can mend that
        return Refused(f"{reply.status} {reply.message}", final=reply.status in (400, 413, 422))

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        reply = await get_object(self._api, namespace, name, metadata_only=True)
        if not reply.ok and not reply.object_missing:
            raise reply.unavailable
        if reply.ok and schedule_of(reply.body["metadata"]) == schedule:
            return UUID(reply.body["metadata"]["uid"])
        return None

    async def cancel(self, namespace: str, name: str, uid: str) -> None:
        await self._request(
            "PATCH",
            AGENT_JOBS.object(namespace, name),
            body=[
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "add", "path": "/spec/cancel", "value": True},
            ],
            content_type=JSON_PATCH,
            accept=METADATA_ONLY,
        )

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        result = await delete_if_unchanged(self._api, namespace, name, uid, _is_finished)
        if result.deletion is Deletion.REFUSED:
            log.warning(
                "%s/%s cannot be deleted: %d %s", namespace, name, result.reply.status, result.reply.message
            )
        return result.deletion is Deletion.GONE

    async def write_status(self, ref: ObjectRef, uid: UUID, status: JsonObject) -> bool:
        result = await write_status(self._api, ref, uid, status, SCHEDULED_AGENT_JOBS)
        if result.written in (Written.LATER, Written.INVALID):
            raise result.reply.unavailable
        if result.written is Written.OLDER:
            shown = await get_object(self._api, ref.namespace, ref.name, resource=SCHEDULED_AGENT_JOBS)
            found = (shown.body.get("status") or {}) if shown.ok else {}
            if found.get("revision") and not shown_revision(found):
                # nothing can follow it: it has to go first
                await remove_status(self._api, shown.body, SCHEDULED_AGENT_JOBS)
            return False
        return True

    async def _request(self, verb: str, path: str, **more: Any) -> Reply:
        reply = await self._api.request(verb, path, resource=AGENT_JOBS.plural, **more)
        if reply.busy:
            raise reply.unavailable
        return reply


def _is_finished(obj: JsonObject) -> bool:
    return (obj.get("status") or {}).get("state") in FINAL_STATES
