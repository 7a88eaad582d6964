"""Durations as people write and read them. This module imports nothing that is slow: the kubectl plugin starts anew for
each command."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PARTS = re.compile(r"(\d{1,9})([smhdw])")
_WHOLE = re.compile(r"(\d{1,9}[smhdw])+")


def seconds_of(text: str) -> int:
    """The seconds of a duration such as ``90s``, ``10m``, ``1h30m`` or ``2d``; of a bare number, as many seconds.

    :raises ValueError: the text is another. The message says what is wanted.
    """
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"wants a duration such as 90s, 10m, 1h30m or 2d, got {text[:40]!r}")
    return sum(int(number) * _UNITS[unit] for number, unit in _PARTS.findall(text))


def duration_text(seconds: float) -> str:
    """As kubectl prints durations: ``12s``, ``3m20s``, ``5h``, ``2d3h``.

    https://github.com/kubernetes/apimachinery/blob/master/pkg/util/duration/duration.go (HumanDuration)
    """
    total = int(seconds)
    if total < 0:
        return "0s"
    if total < 120:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(hours // 24, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        return _two(hours // 24 // 365, "y", (hours // 24) % 365, "d")
    return f"{hours // 24 // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"
