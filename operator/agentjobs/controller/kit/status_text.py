"""Times, durations and bounded text, as statuses and Events of both kinds show them."""

from __future__ import annotations

from datetime import datetime

from agentjobs.api.meta import format_time

MESSAGE_CHARACTERS = 1024
"""Of ``status.message`` and of a condition's; the whole text is in the database."""


def time_text(moment: datetime | None) -> str | None:
    """As metav1.Time writes it; None stays None."""
    return None if moment is None else format_time(moment)


def cut_text(text: str, characters: int) -> str:
    """At most so many characters; ends in … where it was cut."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
