"""What is put into a job's message."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agentjobs.schedule.expand import expand

BERLIN = ZoneInfo("Europe/Berlin")
TICK = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
SUCCESS = datetime(2026, 10, 25, 0, 30, 5, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "expanded"),
    [
        ("It is $(SCHEDULED_TIME).", "It is 2026-11-23T00:00:00+01:00."),
        ("Brief for $(SCHEDULED_DATE)", "Brief for 2026-11-23"),
        ("Since $(LAST_SUCCESSFUL_TIME)", "Since 2026-10-25T02:30:05+02:00"),
        ("$(SCHEDULED_DATE)$(SCHEDULED_DATE)", "2026-11-232026-11-23"),
        ("$$(SCHEDULED_DATE)", "$(SCHEDULED_DATE)"),
        ("$$$(SCHEDULED_DATE)", "$$(SCHEDULED_DATE)"),
        ("$$$$(SCHEDULED_DATE)", "$$$(SCHEDULED_DATE)"),
        ("$$(date) costs $$5 and $", "$(date) costs $$5 and $"),
        (
            "$(OTHER) $(scheduled_date) $() $( SCHEDULED_DATE)",
            "$(OTHER) $(scheduled_date) $() $( SCHEDULED_DATE)",
        ),
        ("$(date +%s) $SCHEDULED_DATE ${SCHEDULED_DATE}", "$(date +%s) $SCHEDULED_DATE ${SCHEDULED_DATE}"),
        ("$(SCHEDULED_DATE", "$(SCHEDULED_DATE"),
        ("$($(SCHEDULED_DATE))", "$(2026-11-23)"),
    ],
)
def test_references_are_replaced_in_the_schedules_zone(message: str, expanded: str) -> None:
    assert expand(message, BERLIN, TICK, SUCCESS) == expanded


def test_before_the_first_success_it_says_never() -> None:
    assert expand("since $(LAST_SUCCESSFUL_TIME)", BERLIN, TICK, None) == "since never"


def test_utc_is_written_with_a_z() -> None:
    assert expand("$(SCHEDULED_TIME)", ZoneInfo("UTC"), TICK, None) == "2026-11-22T23:00:00Z"


def test_the_repeated_hour_is_told_apart_by_its_offset() -> None:
    once, again = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    texts = [expand("$(SCHEDULED_TIME)", BERLIN, tick, None) for tick in (once, again)]
    assert texts == ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]
