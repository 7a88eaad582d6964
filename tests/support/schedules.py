"""ScheduledAgentJobs on a real API server, and a clock that the test sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.controller.apiserver.resources import AGENT_JOBS, EVENTS, SCHEDULED_AGENT_JOBS
from agentjobs.values.json import JsonObject
from operators import DEADLINE_SECONDS, eventually

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class TestClock:
    """Runs on from whatever it was set to last; starts at the real time."""

    __test__ = False

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def set(self, moment: datetime) -> None:
        self._ahead = moment - datetime.now(UTC)

    def advance(self, by: timedelta) -> None:
        self._ahead += by

    def before(self, period: timedelta, seconds: float = 1.0) -> datetime:
        """Sets it to shortly before the next full ``period`` (an hour, a minute); returns that moment."""
        now, step = self().timestamp(), period.total_seconds()
        moment = datetime.fromtimestamp((now // step + 1) * step, UTC)
        if (moment - self()).total_seconds() < seconds:
            moment += period
        self.set(moment - timedelta(seconds=seconds))
        return moment


def scheduled_agent_job(name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> JsonObject:
    """Hourly, unless ``spec`` says otherwise; ``job`` in it goes into the template's spec."""
    given = dict(spec or {})
    job = {"agent": {"module": "agents.hello"}, "message": "hello", **given.pop("job", {})}
    when = {} if "scheduledTime" in given or "schedule" in given else {"schedule": "@hourly"}
    return {
        "apiVersion": SCHEDULED_AGENT_JOBS.api_version,
        "kind": SCHEDULED_AGENT_JOBS.kind,
        "metadata": {"name": name, **metadata},
        "spec": {**when, "jobTemplate": {"spec": job}, **given},
    }


def child_name(schedule: str, tick: datetime) -> str:
    return f"{schedule}-{int(tick.timestamp()) // 60}"


@dataclass
class Schedules:
    """Those of one namespace, over a connection of the test's own."""

    api: ApiServer
    namespace: str

    async def create(self, name: str, spec: Mapping[str, Any] | None = None, **metadata: Any) -> JsonObject:
        return await self._do(
            "POST",
            SCHEDULED_AGENT_JOBS.collection(self.namespace),
            scheduled_agent_job(name, spec, **metadata),
        )

    async def get(self, name: str) -> JsonObject:
        return await self._do("GET", SCHEDULED_AGENT_JOBS.object(self.namespace, name))

    async def status(self, name: str) -> JsonObject:
        found: JsonObject = (await self.get(name)).get("status") or {}
        return found

    async def patch(self, name: str, body: JsonObject) -> JsonObject:
        return await self._do(
            "PATCH",
            SCHEDULED_AGENT_JOBS.object(self.namespace, name),
            body,
            content_type="application/merge-patch+json",
        )

    async def delete(self, name: str) -> None:
        await self._do("DELETE", SCHEDULED_AGENT_JOBS.object(self.namespace, name))

    async def wipe_status(self, name: str) -> None:
        await self._do(
            "PATCH",
            SCHEDULED_AGENT_JOBS.object(self.namespace, name, "status"),
            [{"op": "remove", "path": "/status"}],
            content_type="application/json-patch+json",
        )

    async def jobs(self, schedule: str = "") -> dict[str, JsonObject]:
        """AgentJobs by name; of one schedule where it is named."""
        listed = await self._do("GET", AGENT_JOBS.collection(self.namespace))
        return {
            item["metadata"]["name"]: item
            for item in listed["items"]
            if not schedule
            or any(owner["name"] == schedule for owner in item["metadata"].get("ownerReferences", ()))
        }

    async def names(self, schedule: str = "") -> set[str]:
        return set(await self.jobs(schedule))

    async def until(self, name: str, accept: Any, within: float = DEADLINE_SECONDS) -> JsonObject:
        """The status once it is accepted."""
        found: JsonObject = await eventually(lambda: self.status(name), accept, within)
        return found

    async def accepted(self, name: str) -> JsonObject:
        """Once the operator has read it."""
        return await self.until(name, lambda status: bool(status.get("conditions")))

    async def events(self, name: str) -> dict[str, list[str]]:
        """Messages of a schedule's Events by reason."""
        listed = await self._do("GET", EVENTS.collection(self.namespace))
        found: dict[str, list[str]] = {}
        for item in listed["items"]:
            if (
                item["involvedObject"]["name"] == name
                and item["involvedObject"]["kind"] == "ScheduledAgentJob"
            ):
                found.setdefault(item["reason"], []).append(item["message"])
        return found

    async def _do(self, verb: str, path: str, body: object = None, **more: Any) -> JsonObject:
        """Asks again while the API server says that it is busy: with definitions that are new it is, for a moment."""

        async def ask() -> Reply:
            return await self.api.request(verb, path, resource="test", body=body, **more)

        reply: Reply = await eventually(ask, lambda reply: not reply.busy)
        assert reply.ok, reply
        return reply.body
