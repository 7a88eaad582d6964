"""ui: the static files of the dashboard. They hold no data, so whoever is known to the cluster may read them."""

from __future__ import annotations

from agentjobs.web.call import Answer, Call, File
from agentjobs.web.status import not_found


async def get_file(call: Call) -> Answer:
    """One file, by its flat name. 404 where there is none, or this process has no dashboard."""
    asset = call.dashboard.asset(call.name) if call.dashboard is not None else None
    if asset is None:
        raise not_found("ui.runs.agentjobs.dev", call.name)
    return File(asset)
