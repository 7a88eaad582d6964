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
)
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.apiserver.refusals import Act, Call, History, decide
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.apiserver.writes import (
    Deletion,
    delete_if_unchanged,
    get_object,
    is_gone,
    remove_status,
    write_status,
)
from agentjobs.controller.kit.owners import schedule_of
from agentjobs.controller.kit.status_digest import shown_revision
from agentjobs.controller.metrics.counters import STATUS_REDUCED
from agentjobs.controller.scheduledagentjob.cluster_objects import CREATE_SECONDS, Created, Refused
from agentjobs.controller.scheduledagentjob.status import minimal_schedule_status
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
        act = decide(Call.CREATE, reply).act
        if act is Act.CONFIRM:
            found = await self.find(meta["namespace"], meta["name"], schedule)
            if found is not None:
                return Created(found)
            if reply.reason == "AlreadyExists":
                return Refused("an AgentJob of this name exists that is not this schedule's")
            act = Act.RETRY  # a conflict with something else: a quota's count
        if act is Act.DONE:
            return Created(UUID(reply.body["metadata"]["uid"]))
        if act is Act.GIVE_UP:
            return Refused(reply.words, final=True)
        raise reply.unavailable

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        reply = await get_object(self._api, namespace, name, metadata_only=True)
        if reply.ok and schedule_of(reply.body["metadata"]) == schedule:
            return UUID(reply.body["metadata"]["uid"])
        return None

    async def cancel(self, namespace: str, name: str, uid: str) -> None:
        reply = await self._request(
            "PATCH",
            AGENT_JOBS.object(namespace, name),
            body=[
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "add", "path": "/spec/cancel", "value": True},
            ],
            content_type=JSON_PATCH,
            accept=METADATA_ONLY,
        )
        if not reply.ok and not await is_gone(self._api, namespace, name, uid):
            raise reply.unavailable

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        result = await delete_if_unchanged(self._api, namespace, name, uid, _is_finished)
        return result.deletion is Deletion.GONE

    async def write_status(self, ref: ObjectRef, uid: UUID, status: JsonObject, refusals: int = 0) -> bool:
        resource = SCHEDULED_AGENT_JOBS
        result = await write_status(
            self._api, ref, uid, status, minimal_schedule_status, resource, History(refusals=refusals)
        )
        if result.act is Act.RETRY:
            raise result.reply.unavailable
        if result.act is Act.OLDER:
            shown = await get_object(self._api, ref.namespace, ref.name, resource=SCHEDULED_AGENT_JOBS)
            found = (shown.body.get("status") or {}) if shown.ok else {}
            if found.get("revision") and not shown_revision(found):
                # nothing can follow it: it has to go first
                await remove_status(self._api, shown.body, SCHEDULED_AGENT_JOBS)
            return False
        if result.reduced is not None:
            log.error(
                "%s/%s shows a part of its status only, because the API server does not take the whole one"
                " (where it names fields, the CRD is older than this operator: apply `agentjobs crds`): %s",
                ref.namespace,
                ref.name,
                result.reduced.words,
                extra={"schedule": str(uid)},
            )
            self._api.meter.add(STATUS_REDUCED)
        return True

    async def _request(self, verb: str, path: str, **more: Any) -> Reply:
        return await self._api.request(verb, path, resource=AGENT_JOBS.plural, **more)


def _is_finished(obj: JsonObject) -> bool:
    return (obj.get("status") or {}).get("state") in FINAL_STATES
