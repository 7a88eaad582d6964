"""The scheduler's port to objects: an API server implements it, and so does ``agentjobs local``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from agentjobs.queue.records import ObjectRef
from agentjobs.values.json import JsonObject

CREATE_SECONDS = 5.0
"""A creation that has no answer by then is broken off: it must end while the claim on its tick holds."""


@dataclass(frozen=True, slots=True)
class Created:
    """The child exists and belongs to its schedule."""

    uid: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """The child does not exist. ``final``: no repeat can change that. What is refused for now is an
    ApiUnavailable."""

    why: str
    final: bool = False


class ClusterObjects(Protocol):
    """Children and schedules, wherever they live. Every method raises ApiUnavailable."""

    async def create(self, manifest: JsonObject, schedule: UUID) -> Created | Refused:
        """Creates a child within CREATE_SECONDS, or finds that it is there: that counts only where the
        schedule owns it."""

    async def find(self, namespace: str, name: str, schedule: UUID) -> UUID | None:
        """The uid of the schedule's child of this name; None: there is none."""

    async def cancel(self, namespace: str, name: str, uid: str) -> None:
        """Asks a child to end; one that is gone has."""

    async def delete(self, namespace: str, name: str, uid: str) -> bool:
        """Deletes a finished child; True: it is gone. False: not now, or it lives again."""

    async def write_status(self, ref: ObjectRef, uid: UUID, status: JsonObject, refusals: int = 0) -> bool:
        """Replaces a schedule's status; False: it shows a newer revision. One that is gone needs none.

        ``refusals``: of this status before, in a row.
        """
