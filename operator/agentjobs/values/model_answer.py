"""Model answers: what a call tells about its model, apart from the prompt."""

from __future__ import annotations

from enum import StrEnum


class ModelAnswer(StrEnum):
    """The kinds of answers to a model call.

    The values are the letters in the column ``model_breaker.kind``.
    """

    ANSWERED = "o"
    UNAVAILABLE = "u"
    """No connection, a 5xx or a time-out."""
    KEY_REFUSED = "a"
    """A 401 or 403, or there is no key."""
    RATE_LIMITED = "r"
    """A 429, or a spent quota."""
