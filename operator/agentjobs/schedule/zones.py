"""The names of IANA time zones: what one looks like, and the way out where a text is none.

The schema of ``spec.timeZone`` is made from these tables. Whether a name that looks like one is known, only the
time zone data can tell (``agentjobs.schedule.cron.zone_of``).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import available_timezones

AREAS = (
    "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil", "Canada", "Chile", "Etc",
    "Europe", "Indian", "Mexico", "Pacific", "US",
)  # fmt: skip
"""The first parts of all names with a slash."""
SINGLE_NAMES = (
    "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "GB", "GB-Eire", "GMT", "GMT+0", "GMT-0", "GMT0",
    "Greenwich", "HST", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya", "MET", "MST",
    "MST7MDT", "NZ", "NZ-CHAT", "Navajo", "PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK", "Singapore", "Turkey",
    "UCT", "UTC", "Universal", "W-SU", "WET", "Zulu",
)  # fmt: skip
"""All names without a slash. They are kept for old programs, and none has been added for decades."""
PART_PATTERN = "[A-Z][A-Za-z0-9_+-]*"
OFFSET_PATTERN = "^([uU][tT][cC]|[gG][mM][tT])?(\\+(0?[1-9]|1[0-4])|-(0?[1-9]|1[0-2]))(:00)?$"
"""An offset from UTC in whole hours, such as ``UTC+2``, ``+02:00`` or ``GMT-5``."""
UTC_MEANT = ("utc", "z", "etc/utc", "gmt", "zulu")
"""Texts in lower case that mean UTC where they are no name as they were written."""

WANTED = "wants an IANA time zone, such as Europe/Berlin or UTC"
LOCAL = "; a cluster has no local time: name the time zone"
WRITE_UTC = "; write UTC"
WRITE_OFFSET = "; for a fixed offset write "
SIGN_REVERSED = ", whose sign is the reverse"


def way_out(name: str) -> str:
    """What to write instead of a text that is no time zone, as the end of a message. Empty: no idea."""
    if name.lower() in ("local", "localtime"):
        return LOCAL
    if name.lower() in UTC_MEANT:
        return WRITE_UTC
    if match := re.match(OFFSET_PATTERN, name):
        sign = "-" if "+" in name else "+"
        return f"{WRITE_OFFSET}Etc/GMT{sign}{int(match[3] or match[4])}{SIGN_REVERSED}"
    known = _by_folded_name()
    near = get_close_matches(_folded(name), known, n=1, cutoff=0.8)
    meant = known.get(_folded(name)) or (known[near[0]] if near else None)
    return f"; did you mean {meant}?" if meant else ""


def _folded(name: str) -> str:
    return re.sub(r"[^\w+-]|_", "", name).lower()


@lru_cache(maxsize=1)
def _by_folded_name() -> dict[str, str]:
    known = sorted(available_timezones())
    known = [name for name in known if name in SINGLE_NAMES or name.partition("/")[0] in AREAS]
    cities = {_folded(name.rpartition("/")[2]): name for name in reversed(known)}
    return {**cities, **{_folded(name): name for name in known}}
