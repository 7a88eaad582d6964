"""The grammar of ``spec.schedule``: what CronJob accepts, and nothing that only some cron programs know.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MACROS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

ZONE_ELSEWHERE = "the time zone does not belong into schedule, set timeZone"
FIVE_FIELDS = (
    "wants five fields (minute, hour, day of month, month, day of week), such as 30 9 * * 1-5, or one of "
    + ", ".join(MACROS)
)

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    _Field("day of week", 0, 6, {name: n for n, name in enumerate(_DAYS)}),
)
_ITEM = re.compile(r"(\*|\?|[a-z]+|\d+)(?:-([a-z]+|\d+))?(?:/(\d+))?", re.IGNORECASE | re.ASCII)


def expand_macro(schedule: str) -> str:
    """Five fields: those that a macro stands for, or the schedule itself."""
    return MACROS.get(schedule.strip(), schedule)


def problem_of(schedule: str) -> str | None:
    """What is wrong with a schedule and what it wants, or None. Says so too where it could never be due."""
    if "TZ=" in schedule:
        return ZONE_ELSEWHERE
    texts = expand_macro(schedule).split()
    if len(texts) != len(_FIELDS) or texts[0].startswith("@"):
        return FIVE_FIELDS
    values: list[frozenset[int]] = []
    for spec, text in zip(_FIELDS, texts, strict=True):
        try:
            values.append(_values(spec, text))
        except ValueError as error:
            return f"{spec.name} {text!r}: {error}"
    _, _, days, months, _ = values
    if texts[4] in ("*", "?") and not any(min(days) <= _LONGEST[month - 1] for month in months):
        return f"is never due: no chosen month has a day {min(days)}"
    return None


def _values(spec: _Field, text: str) -> frozenset[int]:
    """The numbers that one field chooses. Raises ValueError with what the field wants."""
    chosen: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(
                "wants *, a number, a range such as 1-5, each with a step such as /2, or a list of these"
            )
        first, last, step = match.groups()
        if first in ("*", "?"):
            if last:
                raise ValueError(f"{first} cannot begin a range")
            low, high = spec.low, spec.high
        else:
            low = _number(spec, first)
            high = _number(spec, last) if last else (spec.high if step else low)
        if low > high:
            raise ValueError(f"the range {item!r} runs backwards")
        if step and int(step) == 0:
            raise ValueError("a step of 0 goes nowhere")
        chosen.update(range(low, high + 1, int(step or 1)))
    return frozenset(chosen)


def _number(spec: _Field, text: str) -> int:
    number = spec.names.get(text.lower(), int(text) if text.isdecimal() else None)
    if number is None or not spec.low <= number <= spec.high:
        named = f", or a name such as {next(iter(spec.names))}" if spec.names else ""
        raise ValueError(f"{text!r} is not a number from {spec.low} to {spec.high}{named}")
    return number
