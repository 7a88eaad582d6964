"""H5: the sweeper must not kill live jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from agentjobs.controller.agentjob.sweep import compare, too_many
from agentjobs.controller.apiserver.listing import Listed
from agentjobs.queue.kubernetes import KnownObject
from controller_builders import AT

OLD, STARTED = AT - timedelta(hours=1), AT


def row(uid: UUID | None = None, **fields: object) -> KnownObject:
    made = KnownObject(1, uid or uuid4(), "team", "report", OLD, False, 1, False)
    return replace(made, **fields)  # type: ignore[arg-type]


def listed(uid: UUID, **fields: object) -> Listed:
    return replace(Listed(uid, "team", "report", 1, False), **fields)  # type: ignore[arg-type]


def suspects(rows: list[KnownObject], objects: list[Listed], namespaces: frozenset[str] = frozenset()) -> str:
    found = compare(rows, {o.uid: o for o in objects}, list_started_at=STARTED, namespaces=namespaces)
    return " ".join(
        kind for kind in ("vanished", "unknown", "behind", "contradicted") for _ in getattr(found, kind)
    )  # fmt: skip


A, B = UUID(int=1), UUID(int=2)  # fixed: xdist compares the names of parametrized tests


@pytest.mark.parametrize(
    ("why", "rows", "objects", "namespaces", "wanted"),
    [
        ("both know it", [row(A)], [listed(A)], (), ""),
        ("a missed delete", [row(A)], [], (), "vanished"),
        ("a missed delete of a finished one (H1)", [row(A, final=True)], [], (), "vanished"),
        ("its namespace is not watched", [row(A)], [], ("other",), ""),
        ("its namespace is watched", [row(A)], [], ("team", "other"), "vanished"),
        ("made while the list was read", [row(A, accepted_at=AT + timedelta(seconds=1))], [], (), ""),
        ("made just before, by another clock", [row(A, accepted_at=AT - timedelta(seconds=2))], [], (), ""),
        ("a missed create", [], [listed(A)], (), "unknown"),
        ("created again under its name", [row()], [listed(A)], (), "vanished unknown"),
        ("a missed change", [row(A)], [listed(A, generation=2)], (), "behind"),
        (
            "a list older than the row, or a world that went back: a GET will tell",
            [row(A, generation=3)],
            [listed(A, generation=2)],
            (),
            "contradicted",
        ),
        ("being deleted, with somebody's finalizer", [row(A)], [listed(A, deleting=True)], (), "behind"),
        ("the same, and it has ended", [row(A, final=True)], [listed(A, deleting=True)], (), ""),
    ],
)
def test_h5_what_a_list_against_the_table_means(
    why: str, rows: list[KnownObject], objects: list[Listed], namespaces: tuple[str, ...], wanted: str
) -> None:
    assert suspects(rows, objects, frozenset(namespaces)) == wanted, why


@pytest.mark.parametrize(
    ("vanished", "stayed", "limit", "stops"),
    [(20, 0, 20, False), (21, 0, 20, True), (21, 20, 20, True), (21, 21, 20, False), (50, 10, 60, False)],
)
def test_h5_too_many_at_once_stop_the_sweep(vanished: int, stayed: int, limit: int, stops: bool) -> None:
    gone = [row() for _ in range(vanished)]
    assert bool(too_many(gone, gone + [row() for _ in range(stayed)], limit)) is stops


def test_h5_finished_jobs_do_not_count_for_stopping() -> None:
    gone = [row(final=True) for _ in range(100)]
    assert too_many(gone, gone) == {}


def test_h5_each_namespace_is_judged_by_itself() -> None:
    emptied = [row(namespace="emptied") for _ in range(30)]
    busy = [row(namespace="busy") for _ in range(5)]
    others = [row(namespace="busy") for _ in range(5)]
    assert too_many(emptied + busy, emptied + busy + others) == {"emptied": (30, 30)}
