"""The loop of the registration: looks, decides, and carries it out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.kit.event import ObjectEvent
from agentjobs.controller.metrics.counters import RUNS_API_WITHDRAWALS, Counters
from agentjobs.controller.runs_api.certificates import now as machine_time
from agentjobs.controller.runs_api.cluster import Look, RunsApiCluster
from agentjobs.controller.runs_api.objects import NAME, RunsApiEventReason, event_on, history_in, text_of
from agentjobs.controller.runs_api.registration import (
    Act,
    Decision,
    History,
    Seen,
    State,
    decide,
    is_ours,
    seen_now,
)
from agentjobs.controller.runs_api.settings import RunsApiSettings
from agentjobs.controller.runs_api.trust import Trust

log = logging.getLogger(__name__)


class Registrar:
    """Registers and withdraws one runs API."""

    def __init__(
        self,
        cluster: RunsApiCluster,
        settings: RunsApiSettings,
        trust: Trust,
        record: Callable[[ObjectEvent], None],
        meter: Counters,
        *,
        clock: Callable[[], datetime] = machine_time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._trust = trust
        self._record = record
        self._meter = meter
        self._clock = clock
        self._monotonic = monotonic
        self._seen = Seen()
        self._history: History | None = None
        """None: not read yet."""
        self._remembered = ""
        """What the Service's annotation said when it was last read or written."""
        self.last: Look | None = None
        self.state: State | None = None
        """None: not known yet."""
        self.why = ""
        """Why it is not served, in words."""

    async def look(self) -> None:
        """One turn. Raises ApiUnavailable."""
        look = await self._cluster.look(self._trust.bundle)
        self.last = look
        registered, times = look.found.registered, self._settings.times
        ours = registered is not None and is_ours(registered, look.found.installation, look.found.service)
        now, at = self._monotonic(), self._clock()
        self._trust.saw(registered.bundle if registered is not None and ours else None, now)
        history = self._history_of(look)
        self._seen = seen_now(self._seen, look.found, now, times)
        decision = decide(look.found, history, self._seen, at, now, times)
        await self._carry_out(decision, look, at)
        await self._remember(decision.history, look)
        self._show(decision, look, at)

    def _history_of(self, look: Look) -> History:
        """What this operator knows; what the Service says where it knows nothing, or somebody has changed that."""
        if self._history is None or look.annotation != self._remembered:
            self._history, self._remembered = history_in(look.annotation), look.annotation
        return self._history

    async def _carry_out(self, decision: Decision, look: Look, at: datetime) -> None:
        registered = look.found.registered
        if decision.act is Act.REGISTER:
            if await self._cluster.register(look):
                self._tell(RunsApiEventReason.REGISTERED, f"{NAME} is registered: {decision.why}", look, at)
        elif decision.act is Act.UPDATE and registered is not None:
            await self._cluster.correct(look, registered)
        elif decision.act is Act.WITHDRAW and registered is not None:
            await self._cluster.withdraw(registered.uid)
        if decision.act is Act.WITHDRAW or decision.repeat:
            self._seen = Seen()
            self._meter.add(RUNS_API_WITHDRAWALS, reason=_reason_of(decision))
            self._tell(RunsApiEventReason.WITHDRAWN, _withdrawn_text(decision), look, at)

    async def _remember(self, history: History, look: Look) -> None:
        """Writes earlier attempts into the Service. Where that is refused they are remembered as long as this operator leads."""
        self._history = history
        text = text_of(history)
        if look.found.leaving or (text or "") == self._remembered:
            return
        try:
            await self._cluster.remember(text)
        except ApiUnavailable as error:
            log.warning("earlier attempts to register %s are not written down: %s", NAME, error)
            return
        self._remembered = text or ""

    def _show(self, decision: Decision, look: Look, at: datetime) -> None:
        if decision.state is State.ELSEWHERE and self.state is not State.ELSEWHERE:
            self._tell(RunsApiEventReason.ELSEWHERE, f"{NAME}: {decision.why}", look, at)
        elif decision.state is not self.state:
            log.info("the runs API is %s %s", decision.state.value, decision.why)
        self.state, self.why = decision.state, decision.why

    def _tell(self, reason: RunsApiEventReason, message: str, look: Look, at: datetime) -> None:
        log.log(logging.INFO if reason.normal else logging.WARNING, "%s", message)
        if (event := event_on(look.service, reason, message, at)) is not None:
            self._record(event)

    async def rest(self) -> None:
        """Waits for the next turn; ends early where the namespace begins to be deleted."""
        until = self._monotonic() + self._settings.look_seconds
        while (left := until - self._monotonic()) > 0:
            await asyncio.sleep(min(left, self._settings.namespace_seconds))
            if self.state in (State.SERVING, State.UNREACHABLE) and await self._namespace_goes():
                return

    async def _namespace_goes(self) -> bool:
        with suppress(ApiUnavailable):
            namespace = await self._cluster.namespace(cached=True)
            return namespace is None or bool(namespace["metadata"].get("deletionTimestamp"))
        return False

    async def leave(self) -> None:
        """When this operator ends: withdraws only where the namespace, or the Service, goes. Raises ApiUnavailable."""
        look = await self._cluster.look(self._trust.bundle)
        if not look.found.leaving:
            return
        decision = decide(
            look.found, History(), self._seen, self._clock(), self._monotonic(), self._settings.times
        )
        if decision.act is Act.WITHDRAW:
            await self._carry_out(decision, look, self._clock())


def _reason_of(decision: Decision) -> str:
    if decision.state is State.LEAVING:
        return "leaving"
    return "unreachable" if decision.act is Act.WITHDRAW else "deleted"


def _withdrawn_text(decision: Decision) -> str:
    text = f"{NAME} is withdrawn: {decision.why}"
    if decision.history.retry_at is None or decision.state is State.LEAVING:
        return text
    return (
        f"{text} Namespaces of the cluster can be deleted without it. Withdrawn {decision.history.withdrawals} times in a row; "
        f"tried again at {decision.history.retry_at:%Y-%m-%d %H:%M:%S} UTC."
    )
