"""The scheduler's objects on an API server."""

from __future__ import annotations

import asyncio
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
from agentjobs.controller.apiserver.writes import Written, delete_object, get_object, write_status
from agentjobs.controller.scheduledagentjob.children import schedule_of
from agentjobs.controller.scheduledagentjob.port import CREATE_SECONDS, Created, ObjectsUnavailable, Refused
from agentjobs.queue.records import FINAL_STATES, ObjectRef
from agentjobs.values.json import JsonObject


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
            raise ObjectsUnavailable(f"no answer to a creation within {CREATE_SECONDS:.0f} s") from None
        if reply.ok:
            return Created(UUID(reply.body["metadata"]["uid"]))
        if reply.status == 409:
            found = await self.find(meta["namespace"], meta["name"], schedule)
            if found is not None:
                return Created(found)
            return Refused("an AgentJob of this name exists that is not this schedule's")
        # 422: the definition refuses this very object; 403, 404: rights, quota, a namespace: people can mend that
        return Refused(f"{reply.status} {reply.message}", final=reply.status in (400, 413, 422))

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        reply = await self._asked(
            get_object(self._api, namespace, name, metadata_only=True), missing_is_fine=True
        )
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
        """Looks once more, then deletes exactly what it saw: a retry may have begun since."""
        found = await self._asked(get_object(self._api, namespace, name), missing_is_fine=True)
        if not found.ok or found.body["metadata"]["uid"] != uid:
            return found.ok or found.object_missing
        if (found.body.get("status") or {}).get("state") not in FINAL_STATES:
            return False
        version = found.body["metadata"]["resourceVersion"]
        reply = await self._asked(
            delete_object(self._api, namespace, name, uid, version), missing_is_fine=True
        )
        return reply.ok or reply.object_missing

    async def write_status(self, ref: ObjectRef, uid: UUID, status: JsonObject) -> bool:
        try:
            result = await write_status(self._api, ref, uid, status, SCHEDULED_AGENT_JOBS)
        except ApiUnavailable as error:
            raise ObjectsUnavailable(str(error)) from None
        if result.written is Written.OLDER:
            return False
        if result.written in (Written.LATER, Written.INVALID):
            raise ObjectsUnavailable(
                f"{result.reply.status} {result.reply.message}", result.reply.retry_after_seconds
            )
        return True

    async def _request(self, verb: str, path: str, **more: Any) -> Reply:
        return await self._asked(self._api.request(verb, path, resource=AGENT_JOBS.plural, **more))

    async def _asked(self, request: Any, *, missing_is_fine: bool = False) -> Reply:
        try:
            reply: Reply = await request
        except ApiUnavailable as error:
            raise ObjectsUnavailable(str(error)) from None
        if reply.busy or (
            missing_is_fine and not reply.ok and not reply.object_missing and reply.status != 409
        ):
            raise ObjectsUnavailable(f"{reply.status} {reply.message}", reply.retry_after_seconds)
        return reply
