"""The state of a ScheduledAgentJob, as lists and ``why`` tell it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]


def condition_of(schedule: JsonObject, type_: str) -> JsonObject:
    """The condition of that type; empty: there is none."""
    conditions = (schedule.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == type_), {})


def state_of(schedule: JsonObject) -> str:
    """Suspended, Finished, the reason why it is not accepted, or Active; empty: no operator has seen it."""
    if not schedule.get("status"):
        return ""
    accepted = condition_of(schedule, "Accepted")
    if accepted.get("status") == "False":
        return str(accepted.get("reason") or "Refused")
    if (schedule.get("spec") or {}).get("suspend"):
        return "Suspended"
    return "Finished" if condition_of(schedule, "Finished").get("status") == "True" else "Active"
