"""Model answers: what a call says about its model, whatever the prompt was."""

from __future__ import annotations

from enum import StrEnum


class ModelAnswer(StrEnum):
    """How a model answered a call. The values are the letters of the database (``model_breaker.kind``)."""

    ANSWERED = "o"
    UNAVAILABLE = "u"
    """Transport, 5xx or time-out."""
    KEY_REFUSED = "a"
    """401, 403, or there is no key."""
    RATE_LIMITED = "r"
    """429, or a spent quota."""
