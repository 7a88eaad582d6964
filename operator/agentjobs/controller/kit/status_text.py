"""Times, durations and bounded text, as statuses and Events of both kinds show them."""

from __future__ import annotations

from datetime import datetime

from agentjobs.api.meta import format_time

MESSAGE_CHARACTERS = 1024
"""Of ``status.message`` and of a condition's; the whole text is in the database."""


def time_text(moment: datetime | None) -> str | None:
    """As metav1.Time writes it; None stays None."""
    return None if moment is None else format_time(moment)


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


def cut_text(text: str, characters: int) -> str:
    """At most so many characters; ends in … where it was cut."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
