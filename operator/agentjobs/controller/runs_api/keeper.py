"""The loop of certificates: keeps the Secret's pair young, and says what the API server has to trust."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime

from agentjobs.controller.runs_api.certificates import AUTHORITIES, expiry, joined, now, plan
from agentjobs.controller.runs_api.cluster import RunsApiCluster, StoredSecret
from agentjobs.controller.runs_api.settings import RunsApiSettings
from agentjobs.controller.runs_api.trust import Trust
from agentjobs.values.json import JsonObject

log = logging.getLogger(__name__)


class CertificateKeeper:
    """Only the operator that leads runs it, and each write is fenced by the Secret's version: two never fight."""

    def __init__(
        self,
        cluster: RunsApiCluster,
        settings: RunsApiSettings,
        trust: Trust,
        tell: Callable[[str], None],
        *,
        clock: Callable[[], datetime] = now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``tell`` is given each change of the certificate, in words."""
        self._cluster = cluster
        self._settings = settings
        self._trust = trust
        self._tell = tell
        self._clock = clock
        self._monotonic = monotonic
        self.expires_at: datetime | None = None
        """When the certificate in use expires; None: not known."""

    async def look(self, service: JsonObject | None) -> None:
        """Reads the Secret, and writes it where that is due. Raises ApiUnavailable."""
        stored = await self._cluster.secret()
        if not self._settings.makes_certificates:
            self._read(stored)
        elif service is not None and not service["metadata"].get("deletionTimestamp"):
            await self._keep(stored, service)

    def _read(self, stored: StoredSecret) -> None:
        """A Secret of somebody else: what it trusts now, and what was trusted before until that expires."""
        data = stored.data or {}
        self._trust.wanted = joined(self._clock(), data.get(AUTHORITIES, b""), self._trust.earlier)
        self.expires_at = expiry(data.get("tls.crt", b""))

    async def _keep(self, stored: StoredSecret, service: JsonObject) -> None:
        at, now_, life = self._clock(), self._monotonic(), self._settings.certificates.life
        host, earlier = self._settings.host, self._trust.earlier
        planned = plan(stored.data, host, at, life, earlier=earlier)
        if planned.data is None and planned.waits:
            settle = self._settings.certificates.settle_seconds
            settled = self._trust.settled(planned.waits, now_, settle)
            planned = plan(stored.data, host, at, life, earlier=earlier, settled=settled)
        if planned.data is not None:
            if not await self._cluster.store(planned.data, stored, service):
                return  # somebody else wrote it: the next look reads what
            self._tell(f"the Secret {self._settings.secret} is written: {planned.why}")
        self._trust.wanted, self.expires_at = planned.trusted, planned.expires_at
