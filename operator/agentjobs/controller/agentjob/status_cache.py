"""The status cache: digests of the statuses that this process wrote, so that none is written twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from agentjobs.controller.kit.status_digest import status_digest
from agentjobs.values.json import JsonObject

PROGRESS_KEYS = frozenset({"eventCount", "usage", "message"})
"""Fields that change all the time while a job runs."""


@dataclass(frozen=True, slots=True)
class WrittenStatus:
    """One written status, as digests without the revision."""

    state: str
    whole: bytes
    core: bytes
    """Without progress."""
    written_at: float
    revision: int = 0

    @classmethod
    def of(cls, status: JsonObject, now: float) -> WrittenStatus:
        whole, core = status_digest(status), status_digest(status, without=PROGRESS_KEYS)
        return cls(str(status.get("state", "")), whole, core, now, status.get("revision") or 0)


FINALS = 10_000
FINAL_SECONDS = 120.0


@dataclass(slots=True)
class StatusCache:
    """Holds unfinished jobs, and finished ones for two minutes.

    Example (H3): two leaders write the same final status. Each confirmation marks the job stale for the
    other, which finds here that the object shows it already.
    """

    _by_uid: dict[UUID, WrittenStatus] = field(default_factory=dict)
    _finals: OrderedDict[UUID, WrittenStatus] = field(default_factory=OrderedDict)
    _running: set[UUID] = field(default_factory=set)

    def needs(self, uid: UUID, wanted: WrittenStatus, progress_seconds: float) -> bool:
        """Whether ``wanted`` must be written now."""
        shown = self._by_uid.get(uid) or self._final(uid, wanted.written_at)
        if shown is None or shown.core != wanted.core:
            return True
        if shown.whole == wanted.whole:
            return False
        return wanted.state != "Running" or wanted.written_at - shown.written_at >= progress_seconds

    def shows(self, uid: UUID, status: JsonObject) -> bool:
        """Whether this process wrote exactly this status, as the last one. Never for what another one wrote,
        nor for what is long finished."""
        shown = self._by_uid.get(uid) or self._finals.get(uid)
        if shown is None or shown.revision != status.get("revision"):
            return False
        return shown.whole == status_digest(status)

    def wrote(self, uid: UUID, status: WrittenStatus, *, running: bool, final: bool) -> None:
        if final:
            self.forget([uid])
            self._finals[uid] = status
            if len(self._finals) > FINALS:
                self._finals.popitem(last=False)
            return
        self._by_uid[uid] = status
        (self._running.add if running else self._running.discard)(uid)

    def skipped(self, uid: UUID, status: WrittenStatus) -> None:
        """Notes a skipped write: the cached time is refreshed only if the object already shows exactly
        this status."""
        shown = self._by_uid.get(uid)
        if shown is not None and shown.whole == status.whole:
            self._by_uid[uid] = status

    def adopt(self, uids: Iterable[UUID], now: float) -> None:
        """Adds running jobs whose status another process wrote; their digests are unknown."""
        for uid in uids:
            if uid not in self._by_uid:
                self._by_uid[uid] = WrittenStatus("Running", b"", b"", now)
                self._running.add(uid)

    def forget(self, uids: Iterable[UUID]) -> None:
        for uid in uids:
            self._by_uid.pop(uid, None)
            self._finals.pop(uid, None)
            self._running.discard(uid)

    def _final(self, uid: UUID, now: float) -> WrittenStatus | None:
        shown = self._finals.get(uid)
        return shown if shown is not None and now - shown.written_at < FINAL_SECONDS else None

    def running_since(self, moment: float) -> list[UUID]:
        """Running jobs whose status was written before ``moment``."""
        return [uid for uid in self._running if self._by_uid[uid].written_at < moment]
