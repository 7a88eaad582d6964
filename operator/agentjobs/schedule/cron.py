"""The grammar of ``spec.schedule``: five fields in an IANA time zone, as Kubernetes' CronJob controller reads
them.

It is that of robfig/cron v3's ``ParseStandard``, field for field, without its ``TZ=`` prefix and ``@every``.
croniter would read the same texts otherwise: to it, ``9-9`` means every hour, ``fri-mon`` wraps around the
week, 7 is Sunday, and L, W and # exist. So croniter gets the fields written anew (``Schedule.fields``).
https://github.com/robfig/cron/blob/v3.0.1/parser.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from zoneinfo import ZoneInfo

from agentjobs.schedule.zones import way_out

MACROS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
EVERY: Mapping[str, str] = {
    **{f"@every {n}m": f"*/{n} * * * *" for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    **{f"@every {text}": MACROS["@hourly"] for text in ("60m", "1h")},
    **{f"@every {n}h": f"0 */{n} * * *" for n in (2, 3, 4, 6, 8, 12)},
    "@every 24h": MACROS["@daily"],
}
"""The intervals of CronJob's ``@every`` that five fields can say, and those fields."""
MAX_LENGTH = 256
STEP_DIGITS = 18
"""Digits of the largest step. CronJob refuses what is above 2**63."""
ZONE_ELSEWHERE = "the time zone does not belong into schedule, set timeZone"
FIVE_FIELDS = (
    "wants five fields (minute, hour, day of month, month, day of week), such as 30 9 * * 1-5, or one of "
    + ", ".join(MACROS)
)

EVERY_UNKNOWN = "@every is unknown here; write times of the clock, such as */5 * * * * or 0 */2 * * *"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NOT_ZONES = frozenset({"local", "localtime", "posixrules", "posix", "right", "factory"})
"""Names in the folder of zones, or known to Go, that name no zone: the machine's own zone, and copies of
others."""


class UnparseableSchedule(ValueError):
    """The text is neither five cron fields nor a macro. The message has field, value and what is wanted."""


class UnknownTimeZone(ValueError):
    """The name is no IANA time zone, or this system's time zone data does not have it."""


@dataclass(frozen=True, slots=True)
class CronField:
    """One of the five fields: its numbers from ``low`` to ``high``, and their names."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def wants(self) -> str:
        """What may stand in the field, for a message."""
        named = f" or a name such as {next(iter(self.names))}" if self.names else ""
        sunday = "; Sunday is 0" if "sun" in self.names else ""
        return (
            f"wants *, a number from {self.low} to {self.high}{named}, a range such as 1-5, each with a step such as /2, "
            f"or a list of these{sunday}"
        )


FIELDS = (
    CronField("minute", 0, 59),
    CronField("hour", 0, 23),
    CronField("day of month", 1, 31),
    CronField("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    CronField("day of week", 0, 6, {name: n for n, name in enumerate(_WEEKDAYS)}),
)
_ITEM = re.compile(r"(\*|\?|[a-z]+|\d+)(?:-([a-z]+|\d+))?(?:/(\d+))?", re.IGNORECASE | re.ASCII)
_SPACES = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""What separates fields: Go's ``unicode.IsSpace``, which is without four characters of Python's ``str.isspace``."""
_QUARTZ = re.compile(r"L(-\d+)?|\d+L|LW|\d+W|[a-z\d]+#\d+|[a-z]{3}L", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule: the minutes that it chooses, on the wall clock of its zone. ``parse`` makes it."""

    text: str
    fields: str
    """The five fields written anew for croniter: ``0 6 * * mon-fri`` is ``0 6 * * 1,2,3,4,5``."""
    zone: ZoneInfo
    minutes_of_day: tuple[int, ...]
    """Chosen minutes of a chosen day, 0…1439, ascending."""
    months: frozenset[int]
    days: frozenset[int]
    weekdays: frozenset[int]
    """Chosen weekdays; 0 is Sunday."""
    either_day: bool
    """Whether one of the two day fields suffices: neither is starred. Else a day must match both."""


def parse(text: str, time_zone: str = "UTC") -> Schedule:
    """The schedule that ``text`` describes.

    A schedule that is never due, such as 31 February, has no next time.

    :raises UnparseableSchedule: the text is neither five cron fields nor a macro.
    :raises UnknownTimeZone: there is no such zone.
    """
    zone = zone_of(time_zone)
    if len(text) > MAX_LENGTH:
        raise UnparseableSchedule(f"schedule has {len(text)} characters, wants at most {MAX_LENGTH}")
    if "TZ=" in text:
        raise UnparseableSchedule(f"schedule {text!r}: {ZONE_ELSEWHERE}")
    texts = [word for word in _SPACES.split(MACROS.get(text, text)) if word]
    if len(texts) != len(FIELDS) or texts[0].startswith("@"):
        raise UnparseableSchedule(f"schedule {text!r}: {FIVE_FIELDS}{_way_out(text)}")
    values: list[frozenset[int]] = []
    for spec, given in zip(FIELDS, texts, strict=True):
        try:
            values.append(_values(spec, given))
        except ValueError as error:
            raise UnparseableSchedule(f"{spec.name} {given!r}: {error}") from None
    minutes, hours, days, months, weekdays = values
    return Schedule(
        text=text,
        fields=" ".join(map(_written_anew, texts, values)),
        zone=zone,
        minutes_of_day=_minutes_of_day(minutes, hours),
        months=months,
        days=days,
        weekdays=weekdays,
        either_day=not _starred(texts[2]) and not _starred(texts[4]),
    )


def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    :raises UnknownTimeZone: there is no such zone.
    """
    if name.partition("/")[0].lower() not in _NOT_ZONES:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # unknown; a path or another file; a folder, such as Europe
            pass
    raise UnknownTimeZone(
        f"timeZone {name!r} is unknown: name an IANA time zone, such as Europe/Berlin or UTC{way_out(name)}"
    )


def _way_out(text: str) -> str:
    """What to write instead of a text that is neither five fields nor a macro, as the end of a message."""
    if text in EVERY:
        return f"; write {EVERY[text]}"
    return f"; {EVERY_UNKNOWN}" if text.startswith("@every") else ""


def _written_anew(text: str, chosen: frozenset[int]) -> str:
    """One field for croniter: ``*/20`` is ``0,20,40``, ``mon-fri`` is ``1,2,3,4,5``, ``?`` and ``*/1`` are
    ``*``.

    croniter lets one day field suffice unless one of them is ``*``. So a starred field becomes ``*`` and no
    other does:
    ``1-31`` becomes a list of 31 days.
    """
    return "*" if _starred(text) else ",".join(map(str, sorted(chosen)))


def _starred(text: str) -> bool:
    """Whether a day field is starred, and so leaves the choice of days to the other one.

    To robfig/cron v3 it is with ``*`` or ``?``, alone, in a list or with a step of 1. With ``*/2`` (unlike in
    v1) or
    ``1-31`` it is not, though the latter chooses all days: then one of the two fields suffices.
    """
    return any(re.fullmatch(r"[*?](/0*1)?", item) for item in text.split(","))


def _values(spec: CronField, text: str) -> frozenset[int]:
    """The numbers that one field chooses.

    :raises ValueError: the text is no such field. The message says what the field wants.
    """
    chosen: set[int] = set()
    for item in text.split(","):
        if _QUARTZ.fullmatch(item):
            raise ValueError("L, W and # are unknown to CronJob and here")
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(spec.wants)
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
        if step and len(step.lstrip("0")) > STEP_DIGITS:
            raise ValueError(f"a step may have {STEP_DIGITS} digits")
        chosen.update(range(low, high + 1, int(step or 1)))
    return frozenset(chosen)


def _number(spec: CronField, text: str) -> int:
    number = spec.names.get(text.lower(), int(text) if text.isdecimal() else None)
    if number is None or not spec.low <= number <= spec.high:
        named = f", or a name such as {next(iter(spec.names))}" if spec.names else ""
        hint = "; Sunday is 0" if spec.name == "day of week" and text == "7" else ""
        raise ValueError(f"{text!r} is not a number from {spec.low} to {spec.high}{named}{hint}")
    return number


@lru_cache(maxsize=1024)
def _minutes_of_day(minutes: frozenset[int], hours: frozenset[int]) -> tuple[int, ...]:
    """The minutes of a day, ascending. Equal tuples are shared: a minutely schedule has 1440 of them."""
    return tuple(sorted(60 * hour + minute for hour in hours for minute in minutes))
