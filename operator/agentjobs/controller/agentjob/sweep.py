"""The sweeper's decisions, pure: what a LIST against the table means (H5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from agentjobs.queue.kubernetes import MirrorRow


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a metadata-only LIST showed it."""

    uid: UUID
    namespace: str
    name: str
    generation: int
    deleting: bool


@dataclass(frozen=True, slots=True)
class Suspects:
    """What a GET has to confirm, or to read, each."""

    vanished: tuple[MirrorRow, ...]
    """In the table, not in the list."""
    unknown: tuple[Listed, ...]
    """In the list, not in the table."""
    behind: tuple[Listed, ...]
    """The table has an older generation, or does not know that the object is being deleted."""


def compare(
    rows: Iterable[MirrorRow],
    listed: Mapping[UUID, Listed],
    *,
    list_started_at: datetime,
    namespaces: Set[str],
) -> Suspects:
    """Which rows and objects disagree.

    ``rows`` are of this cluster only. A row counts as vanished only where its namespace is watched
    (``namespaces`` empty: all are) and it is older than the start of the LIST, by a margin for two clocks.
    """
    vanished: list[MirrorRow] = []
    behind: list[Listed] = []
    known: set[UUID] = set()
    for row in rows:
        known.add(row.uid)
        found = listed.get(row.uid)
        if found is not None:
            if found.generation > row.generation or (found.deleting and not row.final):
                behind.append(found)
        elif (not namespaces or row.namespace in namespaces) and row.accepted_at < list_started_at - MARGIN:
            vanished.append(row)
    unknown = tuple(found for uid, found in listed.items() if uid not in known)
    return Suspects(tuple(vanished), unknown, tuple(behind))


MARGIN = timedelta(seconds=5)
"""The row's time is the database's, the LIST's is ours: they may differ by so much."""


def too_many(
    vanished: Iterable[MirrorRow], rows: Iterable[MirrorRow], limit: int = 20
) -> dict[str, tuple[int, int]]:
    """Namespaces of which more than ``limit`` unfinished jobs, and more than half, vanished at once:
    (vanished, of how many). There a fault is likelier than so many deletes, while the namespace exists."""
    gone = Counter(row.namespace for row in vanished if not row.final)
    had = Counter(row.namespace for row in rows if not row.final)
    return {ns: (n, had[ns]) for ns, n in gone.items() if n > limit and 2 * n > had[ns]}


def is_gone(status: int, object_missing: bool, found_uid: str | None, uid: UUID) -> bool | None:
    """What a GET says of an object: gone (404, or another uid under its name), there, or None: no answer."""
    if object_missing:
        return True
    if status == 200 and found_uid:
        return found_uid != str(uid)
    return None
