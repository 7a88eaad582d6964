"""Text that Postgres can store (H6), and sizes (H7)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentjobs.values.text import REPLACEMENT, clean, clean_json, cut, dumps, tail

ANY = st.text(st.characters())  # surrogates and NUL too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=20,
)


def storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for pair in value.items() for item in pair for s in strings(item)]
    return [s for item in value for s in strings(item)] if isinstance(value, list) else []


@given(ANY)
def test_h6_cleaned_text_is_storable_and_as_long(text: str) -> None:
    cleaned = clean(text)
    assert storable(cleaned)
    assert len(cleaned) == len(text)
    assert clean(cleaned) == cleaned
    if storable(text):
        assert cleaned == text


@given(VALUES)
def test_h6_dumped_json_is_storable_and_says_the_same(value: Any) -> None:
    back = json.loads(dumps(value))
    assert all(storable(s) for s in strings(back))
    assert back == json.loads(json.dumps(clean_json(value)))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\\u0000", "\\u0000"),
        ("a\x00\\u0000", f"a{REPLACEMENT}\\u0000"),
        ("\ud83d\ude00", REPLACEMENT * 2),
        ("\U0001f600", "\U0001f600"),
        ("", ""),
    ],
)
def test_h6_only_what_cannot_be_stored_is_replaced(text: str, kept: str) -> None:
    assert json.loads(dumps({"t": text})) == {"t": kept}


@given(ANY, st.integers(0, 40))
def test_h7_a_cut_text_is_the_beginning_and_fits(text: str, limit: int) -> None:
    text = clean(text)
    kept, was_cut = cut(text, limit)
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert was_cut == (kept != text)
    assert not was_cut or len(kept.encode()) > limit - 4


@given(ANY, st.integers(1, 40))
def test_h7_a_tail_is_the_end_and_fits(text: str, limit: int) -> None:
    text = clean(text)
    kept = tail(text, limit)
    assert text.endswith(kept)
    assert len(kept.encode()) <= limit
    assert kept == text or len(kept.encode()) > limit - 4
