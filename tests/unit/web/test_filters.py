"""Filters of lists mean the same in the API, on the pages and in the plugin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentjobs.cli.kubectl.filters import since_of
from agentjobs.web.filters import moment_of
from agentjobs.web.status import ApiError

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "back"),
    [("90s", 90), ("90m", 5400), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("45", 45)],
)
def test_since_is_a_duration_back_in_the_plugins_words(text: str, back: int) -> None:
    assert moment_of(text, NOW) == NOW - timedelta(seconds=back) == since_of(text, NOW)


def test_since_is_a_time() -> None:
    at = "2026-11-26T06:00:00Z"
    assert moment_of(at, NOW) == datetime(2026, 11, 26, 6, tzinfo=UTC) == since_of(at, NOW)


@pytest.mark.parametrize("text", ["soon", "2 h", "-2h", "2y", "1h 30m", "99999w", "999999999w", "2026-11-26"])
def test_another_since_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(ApiError, match=r"since: .* wanted") as refused:
        moment_of(text, NOW)
    assert refused.value.code == 400
