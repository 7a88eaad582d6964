"""Taking the runs API out of the cluster by hand, and before a release is uninstalled."""

from __future__ import annotations

import asyncio
import logging
import time

from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.controller.metrics.counters import Counters
from agentjobs.controller.runs_api.cluster import RunsApiCluster
from agentjobs.controller.runs_api.objects import NAME
from agentjobs.controller.runs_api.registration import is_ours
from agentjobs.controller.runs_api.settings import RunsApiSettings

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0


async def withdraw(kubeconfig: str | None, settings: RunsApiSettings, wait_seconds: float) -> str:
    """Tells operators to stay away, then deletes the APIService if it names this Service. Tries again for so long; raises
    ApiUnavailable. Returns what was done, in words."""
    until = time.monotonic() + wait_seconds
    async with ApiServer(kubeconfig, Counters()) as api:
        cluster = RunsApiCluster(api, settings, None)
        while True:
            try:
                return await _withdraw(cluster)
            except ApiUnavailable as error:
                if time.monotonic() + AGAIN_SECONDS > until:
                    raise
                log.warning("%s is not withdrawn yet: %s", NAME, error)
            await asyncio.sleep(AGAIN_SECONDS)


async def _withdraw(cluster: RunsApiCluster) -> str:
    await cluster.stay_away()  # first, or the operator would register it again
    registered = await cluster.registered()
    if registered is None:
        return f"{NAME} is not registered."
    if not is_ours(registered, None, cluster.service):
        return f"{NAME} is not of {cluster.service.namespace}/{cluster.service.name}: it is left alone."
    await cluster.withdraw(registered.uid)
    return f"{NAME} is withdrawn."
