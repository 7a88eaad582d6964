"""Model health: what runs say about their models, and what the breakers made of it (docs/model-health.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.queue.connection import Database
from agentjobs.queue.records import Ack
from agentjobs.values.json import JsonObject
from agentjobs.values.text import clean

TARGET_CHARACTERS = 253
MODULE = "module:"
"""Before a module's name, where no model is known."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """A breaker of one pool and model that counts failures, or is open."""

    pool: str
    model: str
    reason: str | None
    """ModelUnavailable, ModelAuthFailed or ModelRateLimited; None: it is closed, and counts."""
    failures: int
    """In a row."""
    since: datetime
    """Open since; of a closed one: its first failure."""
    last_failure: str
    """The last failure's reason."""
    probe_at: datetime
    """Nothing of the model is claimed by the pool before."""
    allowed: int
    """How many of its jobs may run at once after that; 0: one, as a probe."""
    running: int
    """Those that it has let through and that run."""
    blocked: int
    """Jobs that wait for the model, in all queues."""


class Breakers:
    """Looking and resetting; part of Queue."""

    _db: Database

    async def model_health(self) -> list[Breaker]:
        """Every breaker that counts failures or is open; a model that answers has none."""
        rows = await self._db.fetch(
            "select pool, model, kind, failures, since, reason, probe_at, allowed, running, held"
            " from agentjobs.model_health()"
        )
        return [Breaker(*row) for row in rows]

    async def reset_model(self, pool: str, model: str) -> bool:
        """As if the model had never failed: the next tick lets all its jobs go. False: there was no breaker."""
        rows = await self._db.fetch("select agentjobs.reset_model(%s, %s)", (pool, model))
        return bool(rows[0][0])


def target_of(payload: Mapping[str, Any]) -> str | None:
    """What stands for a job's model until a run tells: the model of an inline agent, else its module. None: unknown."""
    agent = payload.get("agent")
    if not isinstance(agent, Mapping):
        return None
    inline, module = agent.get("inline"), agent.get("module")
    model = inline.get("model") if isinstance(inline, Mapping) else None
    if isinstance(model, str) and model:
        return clean(model)[:TARGET_CHARACTERS]
    return clean(MODULE + module)[:TARGET_CHARACTERS] if isinstance(module, str) and module else None


def model_rows(acks: Iterable[Ack]) -> list[JsonObject]:
    """``step``'s argument: what these runs say about their models."""
    rows: list[JsonObject] = []
    for ack in acks:
        for heard in ack.models:
            row: JsonObject = {"i": ack.id, "t": ack.token, "m": clean(heard.model)[:TARGET_CHARACTERS]}
            row["h"] = heard.answer.value
            if heard.reason:
                row["y"] = heard.reason
            if heard.delay_seconds > 0:
                row["w"] = heard.delay_seconds
            rows.append(row)
    return rows
