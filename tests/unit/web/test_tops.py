"""What a watch looks at again is made anew only where it has changed, and kept only while somebody looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from agentjobs.queue.job_list import JobFilter, JobPage, JobRow
from agentjobs.queue.records import State
from agentjobs.values.usage import Usage
from agentjobs.web.tops import KEPT_SECONDS, Tops
from agentjobs.web.watching import differences

AT = datetime(2026, 1, 2, tzinfo=UTC)
ALL, MINE = JobFilter(), JobFilter(namespace="team")


def row(number: int, **changes: object) -> JobRow:
    made = JobRow(
        number, UUID(int=number), None, "agents", 2, State.QUEUED, "", "", "", "", "", "", 0, 3, 1, AT, AT,
        None, None, None, "", "", Usage(), 0,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_row_that_is_as_it_was_is_the_same_object_and_another_one_a_change() -> None:
    tops = Tops()
    before = tops.seen(ALL, JobPage([row(2), row(1)], None))
    now = tops.seen(ALL, JobPage([row(3), row(2, state=State.RUNNING), row(1)], None))
    one, two = str(UUID(int=1)), str(UUID(int=2))
    assert now.objects[one][1] is before.objects[one][1]
    assert now.objects[two][1].status.state == "Running"
    assert [(kind, item.metadata.name) for kind, item in differences(before, now)] == [
        ("modified", two), ("added", str(UUID(int=3))),
    ]  # fmt: skip


def test_lists_do_not_share_objects_and_what_nobody_watches_is_forgotten() -> None:
    clock = [0.0]
    tops = Tops(lambda: clock[0])
    page, uid = JobPage([row(1)], None), str(UUID(int=1))
    first, other = tops.seen(ALL, page), tops.seen(MINE, page)
    assert first.objects[uid][1] is not other.objects[uid][1]
    clock[0] += KEPT_SECONDS / 2
    assert tops.seen(MINE, page).objects[uid][1] is other.objects[uid][1]
    clock[0] += KEPT_SECONDS / 2 + 1
    tops.seen(MINE, page)
    assert tops.seen(ALL, page).objects[uid][1] is not first.objects[uid][1]


def test_a_full_page_says_from_where_on_it_knows_the_list() -> None:
    page = JobPage([row(9), row(7)], "more")
    assert Tops().seen(ALL, page).from_place == 7
    assert Tops().seen(ALL, replace(page, next=None)).from_place == 0
