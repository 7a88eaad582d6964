"""Cuts of texts and JSON values to a size, with a mark where something is left out. Pure."""

from __future__ import annotations

import math

from agentjobs.transcript.entry import Json
from agentjobs.values.text import clean, cut

TEXT_BYTES = 16 << 10
"""Longest text of an entry, in UTF-8."""
DATA_BYTES = 16 << 10
"""Most that the JSON of an entry's data takes, about."""
STRING_BYTES = 4 << 10
"""Longest string within such data."""
NAME_CHARACTERS = 256
MOST_NAMES = 16
DEEPEST = 12
"""Levels of such data. Deeper ones are left out: hostile nesting must not exhaust a reader's stack."""
LEAST_NUMBER, MOST_NUMBER = -(2**63), 2**64 - 1
"""Whole numbers beyond these are shown as texts: readers of JSON, and its writer orjson, take 64 bits."""
MARK = "…"

CUT_BYTES, CUT_TEXT = "agentjobs_cut", "text"
"""Keys of the stand-in that ``sql.EVENTS`` puts for a value that is too long to be sent."""


def text(value: object, limit: int = TEXT_BYTES) -> tuple[str, bool]:
    """``value`` as a text of at most ``limit`` bytes and a mark, and whether something is left out."""
    stand_in = stood_in(value)
    if stand_in is not None:
        return clean(cut(stand_in[0], limit)[0]) + MARK, True
    whole = value if isinstance(value, str) else "" if value is None else str(value)[: limit + 1]
    shorter, was_cut = cut(whole, limit)
    return clean(shorter) + (MARK if was_cut else ""), was_cut


def name(value: object) -> str:
    """``value`` as a name: one short text. Anything but a text is none."""
    if not isinstance(value, str):
        return ""
    return clean(value[:NAME_CHARACTERS]) + (MARK if len(value) > NAME_CHARACTERS else "")


def names(values: list[str]) -> str:
    """The first of these names, for a line."""
    more = f", {MARK} {len(values) - MOST_NAMES} more" if len(values) > MOST_NAMES else ""
    return ", ".join(name(value) for value in values[:MOST_NAMES]) + more


def stood_in(value: object) -> tuple[str, int] | None:
    """The begin and the bytes of the value that this one stands in for. None: it is no stand-in."""
    if not isinstance(value, dict) or value.keys() != {CUT_BYTES, CUT_TEXT}:
        return None
    size, begin = value[CUT_BYTES], value[CUT_TEXT]
    return (begin, size) if isinstance(begin, str) and type(size) is int else None


def data(value: Json, limit: int = DATA_BYTES) -> tuple[Json, bool]:
    """``value`` with at most about ``limit`` bytes of JSON, and whether something is left out.

    Its shape stays: long strings are cut, long lists and objects lose their ends, and deep values their inside.
    """
    cutter = _Cutter(limit)
    return cutter.fit(value, 0), cutter.has_cut


class _Cutter:
    def __init__(self, limit: int) -> None:
        self._left = limit
        self.has_cut = False

    def fit(self, value: Json, depth: int) -> Json:
        if (stand_in := stood_in(value)) is not None:
            return self._string(stand_in[0], always_marked=True)
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            return self._list(value, depth)
        self._left -= 8 if value is None or isinstance(value, bool | float) else len(str(value))
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no such number
        if isinstance(value, int) and not LEAST_NUMBER <= value <= MOST_NUMBER:
            return str(value)
        return value

    def _string(self, value: str, *, always_marked: bool = False) -> str:
        shorter, was_cut = cut(value, max(min(STRING_BYTES, self._left), 0))
        shorter = clean(shorter)
        self._left -= len(shorter.encode()) + 2
        if was_cut or always_marked:
            self.has_cut = True
            return shorter + MARK
        return shorter

    def _object(self, value: dict[str, Json], depth: int) -> Json:
        kept: dict[str, Json] = {}
        for number, (key, inner) in enumerate(value.items()):
            if self._left <= 0 or depth >= DEEPEST:
                self.has_cut = True
                return kept | {MARK: f"{len(value) - number} more"}
            self._left -= 4
            shown = self._string(key)
            kept[shown] = self.fit(inner, depth + 1)
        return kept

    def _list(self, value: list[Json], depth: int) -> Json:
        kept: list[Json] = []
        for number, inner in enumerate(value):
            if self._left <= 0 or depth >= DEEPEST:
                self.has_cut = True
                return [*kept, f"{MARK} {len(value) - number} more"]
            self._left -= 2
            kept.append(self.fit(inner, depth + 1))
        return kept
