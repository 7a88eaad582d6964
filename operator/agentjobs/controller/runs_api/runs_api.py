"""The runs API's part of the leader: two loops, of the registration and of the certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import TASK_FAILURES, Counters
from agentjobs.controller.runs_api.cluster import RunsApiCluster
from agentjobs.controller.runs_api.keeper import CertificateKeeper
from agentjobs.controller.runs_api.objects import RunsApiEventReason, event_on
from agentjobs.controller.runs_api.registrar import Registrar
from agentjobs.controller.runs_api.registration import State
from agentjobs.controller.runs_api.settings import RunsApiSettings
from agentjobs.controller.runs_api.trust import Trust
from agentjobs.telemetry.exposition import Family, family
from agentjobs.telemetry.loops import LoopHealth, problems
from agentjobs.telemetry.metrics import Metric

log = logging.getLogger(__name__)

TURN_SECONDS = 45.0
"""A turn that takes longer is broken off: each request in it is bounded already."""
LEAVE_SECONDS = 3.0
"""What an operator that ends takes at most to look whether its namespace goes."""


class RunsApi:
    """Keeps one runs API registered as long as the API server reaches it."""

    def __init__(
        self,
        api: ApiServer,
        settings: RunsApiSettings,
        installation: UUID,
        record: Callable[[ObjectEvent], None],
        meter: Counters,
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._record = record
        self._said: dict[str, str] = {}
        self._looked = asyncio.Event()
        cluster, trust = RunsApiCluster(api, settings, installation), Trust()
        self.registrar = Registrar(cluster, settings, trust, record, meter)
        self.keeper = CertificateKeeper(cluster, settings, trust, self._certificate_changed)
        self.registering = LoopHealth("registration of the runs API")
        self.certifying = LoopHealth("certificates of the runs API")

    async def run(self) -> None:
        """Runs both loops until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._register())
                if self._settings.wanted:
                    group.create_task(self._certify())
        finally:
            await self._leave()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.registrar.leave()
        except (ApiUnavailable, TimeoutError) as error:
            text = str(error) or f"no answer within {LEAVE_SECONDS:.0f} s"
            log.info("whether the runs API's namespace goes is not known at the end: %s", text)
        except Exception:
            # the leader ends in good order whatever this finds
            log.exception("the last look at the runs API failed")

    async def _register(self) -> None:
        while True:
            await self._turn(self.registering, self.registrar.look)
            if self.registrar.last is not None:
                self._looked.set()
            await self.registrar.rest()

    async def _certify(self) -> None:
        await self._looked.wait()  # the Secret belongs to the Service
        while True:
            await self._turn(self.certifying, self._keep)
            await asyncio.sleep(self._settings.secret_seconds)

    async def _keep(self) -> None:
        look = self.registrar.last
        await self.keeper.look(None if look is None or look.found.leaving else look.service)

    async def _turn(self, health: LoopHealth, turn: Callable[[], Awaitable[None]]) -> None:
        """One turn: what fails is told once, and tried again at the next one."""
        try:
            with health.attempt():
                async with asyncio.timeout(TURN_SECONDS):
                    await turn()
            self._said.pop(health.name, None)
        except (ApiUnavailable, TimeoutError) as error:
            text = str(error) or f"not done within {TURN_SECONDS:.0f} s"
            if self._said.get(health.name) != text:
                log.warning("%s: tried again: %s", health.name, text)
                self._said[health.name] = text
        except Exception:
            # nothing of it may stop what else the leader does
            log.exception("%s failed", health.name)
            self._meter.add(TASK_FAILURES, part="runs_api")

    def _certificate_changed(self, message: str) -> None:
        log.info("%s", message)
        look = self.registrar.last
        event = event_on(
            look.service if look else None, RunsApiEventReason.CERTIFICATE, message, datetime.now(UTC)
        )
        if event is not None:
            self._record(event)

    def problem(self) -> str:
        """Why people do not get the runs API; empty: they do. It never makes the operator unready."""
        failing = problems((self.registering, self.certifying))
        if failing:
            return "; ".join(failing)
        state = self.registrar.state
        if state in (None, State.SERVING) or not self._settings.wanted:
            return ""
        assert state is not None
        return f"{state.value}: {self.registrar.why}"

    def families(self) -> list[Family]:
        """Its gauges."""
        state = self.registrar.state
        found = [
            family(Metric.RUNS_API_STATE, {(each.value,): float(each is state) for each in State}),
        ]
        if self.keeper.expires_at is not None:
            left = (self.keeper.expires_at - datetime.now(UTC)).total_seconds()
            found.append(family(Metric.RUNS_API_CERTIFICATE_SECONDS, left))
        return found
