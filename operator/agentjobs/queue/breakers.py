"""The breakers of models: reports of runs go in with an ack, breakers are read and reset
(docs/model-health.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentjobs.queue.audit import Act, act_json
from agentjobs.queue.connection import Database
from agentjobs.queue.records import Ack
from agentjobs.values.bounds import seconds
from agentjobs.values.json import JsonObject
from agentjobs.values.text import clean
from agentjobs.values.verbs import Verb

TARGET_CHARACTERS = 253
MODULE = "module:"
"""The prefix of a target that names a module, since its model is not known."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one pool and model, while it counts failures or is open."""

    pool: str
    model: str
    reason: str | None
    """ModelUnavailable, ModelAuthFailed or ModelRateLimited. None: it is closed, and counts failures."""
    failures: int
    """Failures in a row."""
    since: datetime
    """When it opened; while it is closed, the time of its first failure."""
    last_failure: str
    """The reason of the last failure."""
    probe_at: datetime
    """Until then, the pool claims no job of the model."""
    allowed: int
    """How many jobs of the model may run at once after that; 0: one, as a probe."""
    running: int
    """Running jobs that the breaker has let through."""
    blocked: int
    """Jobs that wait for the model, in all queues (column ``held``)."""
    targets: Sequence[str]
    """What it may hold up: the models of inline agents, and modules (``module:NAME``) that were heard to call the model."""


class Breakers:
    """Reads and resets breakers; a part of Queue."""

    _db: Database

    async def model_health(self) -> list[Breaker]:
        """All breakers. A model that answers has none."""
        rows = await self._db.fetch(
            "select pool, model, kind, failures, since, reason, probe_at, allowed, running, held, targets"
            " from agentjobs.model_health()"
        )
        return [Breaker(*row) for row in rows]

    async def models_of(self, namespace: str) -> Set[tuple[str, str]]:
        """Pool and model of each breaker that may hold up unfinished jobs of a namespace.

        :param namespace: empty: the jobs without an object.
        """
        rows = await self._db.fetch("select pool, model from agentjobs.models_of(%s)", (namespace,))
        return {(pool, model) for pool, model in rows}

    async def reset_model(self, pool: str, model: str, by: Act | None = None) -> bool:
        """Forgets a breaker; the next tick makes all jobs of its model ready. False: there was none.

        :param by: who acts, for the audit.
        """
        rows = await self._db.fetch(
            "select agentjobs.reset_model(%s, %s, %s::json)",
            (clean(pool), stored_name(model), act_json(by, Verb.RESET_MODEL)),
        )
        return bool(rows[0][0])


def stored_name(text: str) -> str:
    """The name of a model, module, agent or user as the database keeps it, and as filters ask for it."""
    return clean(text)[:TARGET_CHARACTERS]


def target_of(payload: Mapping[str, Any]) -> str | None:
    """What breakers know a job's model by: an inline agent's model, else the module. None: neither."""
    agent = payload.get("agent")
    if not isinstance(agent, Mapping):
        return None
    inline, module = agent.get("inline"), agent.get("module")
    model = inline.get("model") if isinstance(inline, Mapping) else None
    if isinstance(model, str) and model:
        return stored_name(model)
    return stored_name(MODULE + module) if isinstance(module, str) and module else None


def model_rows(acks: Iterable[Ack]) -> list[JsonObject]:
    """The argument of ``step`` with these runs' reports about their models."""
    rows: list[JsonObject] = []
    for ack in acks:
        for heard in ack.models:
            row: JsonObject = {"i": ack.id, "t": ack.token, "m": stored_name(heard.model)}
            row["h"] = heard.answer.value
            if heard.reason:
                row["y"] = heard.reason
            if heard.delay_seconds > 0:
                row["w"] = seconds(heard.delay_seconds)
            rows.append(row)
    return rows
