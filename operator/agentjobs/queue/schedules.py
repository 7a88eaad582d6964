"""The scheduler's calls: schedules, their ticks, the claims of children to create, ended children."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agentjobs.queue.codec import FINAL_STATES_BY_CODE, annotated_act_row
from agentjobs.queue.connection import Database
from agentjobs.queue.records import AnnotatedAct, State
from agentjobs.queue.replies import maybe_time
from agentjobs.values.json import JsonObject
from agentjobs.values.text import dumps

CLAIM_SECONDS = 15.0
"""How long only the claimant may create a child. After that another process may claim it."""


@dataclass(frozen=True, slots=True)
class SeenSchedule:
    """A schedule's object, as it is stored.

    ``last_tick`` to ``revision`` are from the object's own status. They count where the database does not
    know the schedule, or knows less.
    """

    uid: UUID
    cluster_id: str
    namespace: str
    name: str
    generation: int
    times: str
    """A text that changes whenever schedule, timeZone or scheduledTime change."""
    created_at: datetime
    edited_at: datetime | None
    """A time since which ``times`` and suspend are unchanged. None: unknown, or changed just now."""
    accepted: bool
    suspended: bool
    was_suspended: bool = False
    last_tick: datetime | None = None
    last_successful: datetime | None = None
    missed: int = 0
    revision: int = 0
    row_generation: int | None = None
    """The generation of the row, where a sweep has read that before the object, and it is a later one."""
    act: AnnotatedAct | None = None
    """Who changed it last, as an annotation of the object says."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A decided tick whose child is not known to have ended."""

    child: str
    tick: datetime
    manual: bool
    decided_at: datetime
    uid: UUID | None
    """The child's uid. None: the child is not known to exist."""
    claimant: UUID
    claimed_for_seconds: float
    """How long the claim is valid from the moment of reading; negative: it is over."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule's row. Times are the database's, except for those that come from the object."""

    uid: UUID
    version: int
    generation: int
    created_at: datetime
    accepted: bool
    accepted_at: datetime
    changed_at: datetime | None
    suspended: bool
    suspended_at: datetime | None
    unsuspended_at: datetime | None
    last_tick: datetime | None
    last_successful: datetime | None
    last_finished: datetime | None
    last_result: State | None
    missed: int
    run_handled: str | None
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class ScheduleDecision:
    """A decision to store, made from the row in ``version``."""

    uid: UUID
    version: int
    last_tick: datetime | None = None
    run_handled: str | None = None
    missed: int = 0
    abandon: str | None = None
    """The name of a child that certainly does not exist, and will not be created."""
    child: str | None = None
    tick: datetime | None = None
    manual: bool = False
    act: AnnotatedAct | None = None
    """Manual: who asked for the run, for the audit."""


@dataclass(frozen=True, slots=True)
class EndedChild:
    """A child that has ended, as the queue knows it."""

    schedule: UUID
    child: str
    uid: UUID
    tick: datetime
    manual: bool
    state: State
    reason: str
    started_at: datetime | None
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A reply: the present rows by uid, and the database's time."""

    now: datetime
    rows: dict[UUID, ScheduleRow]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work that other processes have left behind."""

    now: datetime
    pending: tuple[UUID, ...]
    """Schedules with a decided child whose claim is over."""
    unseen: tuple[tuple[UUID, str, UUID], ...]
    """Children (schedule, name, uid) created over a minute ago that the queue does not know."""


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule's row, for comparison with a LIST of the objects."""

    uid: UUID
    namespace: str
    name: str
    generation: int
    saved_at: datetime


class Schedules:
    """The queue's knowledge of schedules; a part of Queue. Each call is one statement."""

    _db: Database

    async def save_schedules(self, seen: Iterable[SeenSchedule], now: datetime) -> Found:
        """Stores schedules' objects, each uid once; only a newer generation changes a row.

        :param now: the time of a change of which no other time is known.
        """
        rows = [
            {
                "uid": str(s.uid),
                "cluster_id": s.cluster_id,
                "namespace": s.namespace,
                "name": s.name,
                "generation": s.generation,
                "times": s.times,
                "created_at": s.created_at,
                "edited_at": s.edited_at,
                "accepted": s.accepted,
                "suspended": s.suspended,
                "was_suspended": s.was_suspended,
                "last_tick": s.last_tick,
                "last_successful": s.last_successful,
                "missed": s.missed,
                "revision": s.revision,
                "row_generation": s.row_generation,
                "act": None if s.act is None else annotated_act_row(s.act),
                "act_key": None if s.act is None else s.act.key,
            }
            for s in seen
        ]
        return _found(await self._one("select agentjobs.schedule_save(%s::json, %s)", (dumps(rows), now)))

    async def decide_schedules(
        self, claimant: UUID, decisions: Iterable[ScheduleDecision]
    ) -> tuple[frozenset[UUID], Found]:
        """Stores decisions, and claims the children to create for CLAIM_SECONDS.

        Returns the uids whose decision counts. The others' rows had another version: decide again from the
        new rows.
        """
        rows = [
            {
                "uid": str(d.uid),
                "version": d.version,
                "last_tick": d.last_tick,
                "run_handled": d.run_handled,
                "missed": d.missed,
                "abandon": d.abandon,
                "child": d.child,
                "tick": d.tick,
                "manual": d.manual,
                "act": None if d.act is None else annotated_act_row(d.act),
            }
            for d in decisions
        ]
        answer = await self._one(
            "select agentjobs.schedule_decide(%s, %s, %s::json)",
            (claimant, timedelta(seconds=CLAIM_SECONDS), dumps(rows)),
        )
        return frozenset(map(UUID, answer["decided"] or ())), _found(answer["found"])

    async def claim_children(self, claimant: UUID, children: Iterable[tuple[UUID, str]]) -> Found:
        """Claims children (schedule, name) that no other process has claimed; ``Tick.claimant`` says who has.

        A child that the queue knows already is confirmed instead.
        """
        rows = [{"schedule": str(schedule), "child": child} for schedule, child in children]
        return _found(
            await self._one(
                "select agentjobs.schedule_claim(%s, %s, %s::json)",
                (claimant, timedelta(seconds=CLAIM_SECONDS), dumps(rows)),
            )
        )

    async def confirm_children(self, children: Iterable[tuple[UUID, str, UUID]]) -> Found:
        """Notes that children (schedule, name, uid) exist."""
        return _found(await self._one("select agentjobs.schedule_confirm(%s::json)", (_ticks(children),)))

    async def settled_children(self, children: Iterable[tuple[UUID, str, UUID]]) -> frozenset[UUID]:
        """The uids of children that may be deleted: no process can still be about to create them (H29)."""
        answer = await self._one("select agentjobs.schedule_settled(%s::json)", (_ticks(children),))
        return frozenset(map(UUID, answer or ()))

    async def close_children(
        self, cluster_id: str, children: Sequence[UUID] | None = None, gone: Sequence[UUID] = ()
    ) -> tuple[list[EndedChild], Found]:
        """Closes the ticks of children that have ended, or whose objects are ``gone``.

        :param children: uids to look at; None: all children of this cluster.
        """
        wanted = None if children is None else [*children, *gone]
        answer = await self._one(
            "select agentjobs.schedule_close(%s, %s::uuid[], %s::uuid[])", (cluster_id, wanted, list(gone))
        )
        return [_ended(item) for item in answer["ended"] or ()], _found(answer["found"])

    async def forget_schedules(self, uids: Sequence[UUID]) -> None:
        """Removes schedules whose objects are gone."""
        await self._db.fetch("select agentjobs.schedule_forget(%s::uuid[])", (list(uids),))

    async def waiting_schedules(self, cluster_id: str) -> Waiting:
        """Ticks and children that no process looks after; nearly free where there are none."""
        answer = await self._one("select agentjobs.schedule_waiting(%s)", (cluster_id,))
        return Waiting(
            datetime.fromisoformat(answer["now"]),
            tuple(map(UUID, answer["pending"] or ())),
            tuple((UUID(schedule), child, UUID(uid)) for schedule, child, uid in answer["unseen"] or ()),
        )

    async def known_schedules(self, cluster_id: str, after: UUID, limit: int) -> list[KnownSchedule]:
        """This cluster's rows by uid, a page after ``after``, for the sweep."""
        rows = await self._db.fetch(
            "select uid, namespace, name, generation, saved_at from agentjobs.schedule_known(%s, %s, %s)",
            (cluster_id, after, limit),
        )
        return [KnownSchedule(*row) for row in rows]

    async def _one(self, statement: Any, params: Sequence[Any]) -> Any:
        return (await self._db.fetch(statement, params))[0][0]


def _ticks(children: Iterable[tuple[UUID, str, UUID]]) -> str:
    return dumps([{"schedule": str(s), "child": child, "uid": str(uid)} for s, child, uid in children])


def _found(answer: JsonObject) -> Found:
    rows = [_row(row) for row in answer["rows"] or ()]
    return Found(datetime.fromisoformat(answer["now"]), {row.uid: row for row in rows})


def _row(row: JsonObject) -> ScheduleRow:
    result = row["last_result"]
    return ScheduleRow(
        uid=UUID(row["uid"]),
        version=row["version"],
        generation=row["generation"],
        created_at=datetime.fromisoformat(row["created_at"]),
        accepted=row["accepted"],
        accepted_at=datetime.fromisoformat(row["accepted_at"]),
        changed_at=maybe_time(row["changed_at"]),
        suspended=row["suspended"],
        suspended_at=maybe_time(row["suspended_at"]),
        unsuspended_at=maybe_time(row["unsuspended_at"]),
        last_tick=maybe_time(row["last_tick"]),
        last_successful=maybe_time(row["last_successful"]),
        last_finished=maybe_time(row["last_finished"]),
        last_result=FINAL_STATES_BY_CODE[result] if result else None,
        missed=row["missed"],
        run_handled=row["run_handled"],
        ticks=tuple(_tick(tick) for tick in row["ticks"] or ()),
    )


def _tick(tick: JsonObject) -> Tick:
    return Tick(
        child=tick["child"],
        tick=datetime.fromisoformat(tick["tick"]),
        manual=tick["manual"],
        decided_at=datetime.fromisoformat(tick["decided_at"]),
        uid=UUID(tick["uid"]) if tick["uid"] else None,
        claimant=UUID(tick["claimant"]),
        claimed_for_seconds=float(tick["claimed_for"]),
    )


def _ended(item: JsonObject) -> EndedChild:
    return EndedChild(
        schedule=UUID(item["schedule"]),
        child=item["child"],
        uid=UUID(item["uid"]),
        tick=datetime.fromisoformat(item["tick"]),
        manual=item["manual"],
        state=FINAL_STATES_BY_CODE[item["state"]],
        reason=item["reason"],
        started_at=maybe_time(item["started_at"]),
        finished_at=datetime.fromisoformat(item["finished_at"]),
    )
