"""Delays that providers ask for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentjobs.agents.verdict.delays import delay_of, retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1e9999", None),
        ("nan", None),
        ("9" * 400, float("inf")),
        ("Mon, 23 Nov 99999 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, NOW) == seconds


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon", ""])
def test_retry_after_ms_that_is_no_number_is_none(value: str) -> None:
    assert retry_after({"retry-after-ms": value}, NOW) is None


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("12s", 12.0),
        ("1.5s", 1.5),
        ("0.000000001s", 1e-9),
        ({"seconds": 12}, 12.0),
        ({"seconds": "12", "nanos": 500_000_000}, 12.5),
        ({}, 0.0),
        ("99999999999s", 86_400.0),
        ({"seconds": 1e300}, 86_400.0),
        ({"seconds": "inf"}, 86_400.0),
        ("12", None),
        ("-3s", None),
        ("soon", None),
        (12, None),
        ({"seconds": -3}, None),
        ({"seconds": "nan"}, None),
        ({"seconds": [3]}, None),
    ],
)
def test_retry_info_is_a_duration_in_any_form_and_never_more_than_a_day(
    delay: object, seconds: float | None
) -> None:
    error = ValueError()
    error.details = {"error": {"details": [{"retryDelay": delay}]}}  # type: ignore[attr-defined]
    assert delay_of(error, NOW) == seconds


def test_an_error_without_a_delay_has_none() -> None:
    assert delay_of(ValueError(), NOW) is None


@pytest.mark.parametrize(
    "details", [None, 7, "text", [], [1, 2], {"error": "text"}, {"error": {"details": ["x"]}}]
)
def test_strange_bodies_have_no_delay(details: object) -> None:
    error = ValueError()
    error.details = details  # type: ignore[attr-defined]
    assert delay_of(error, NOW) is None
