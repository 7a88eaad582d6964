"""Cursors as texts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agentjobs.transcript.entry import Cursor
from agentjobs.transcript.errors import CursorInvalid

TIMES = [
    datetime(2026, 5, 1, 12, 0, 0, 1, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1901, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


@pytest.mark.parametrize("at", TIMES, ids=str)
@pytest.mark.parametrize("id", ["e1", "a.b c/\n%é", "x" * 128])
def test_a_cursor_comes_back_from_its_text(at: datetime, id: str) -> None:
    cursor = Cursor(at, id, 7)
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    assert text.isascii()
    assert not set(text) & set(" \n\r,;&=#")


NO_CURSORS = [
    "x",
    "1",
    "1.2",
    "1.2.",
    "1.-2.e",
    "1.x.e",
    "1e3.0.e",
    "01.0.e",
    "1.00.e",
    "1.0.%00",
    "1.0.%ff",
    "1.0.é",
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1.0.e",
        "9" * 40 + ".0.e",
        "9" * 5000 + ".0.e",
        "1.0." + "x" * 129,
        f"-9{'0' * 17}.0.e",
        *NO_CURSORS,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid, match="read from the start"):
        Cursor.parse(text)
