"""Bounds of the values that runs, agents and callers choose, and the functions that bring a value into them.

A value is bounded where it enters: in the constructor of the type that carries it. Whatever lies behind may then
add it up, store it in a column, write it into JSON and show it in a metric without another look.
"""

from __future__ import annotations

from agentjobs.values.text import clean

RESULT_BYTES = 1 << 20
"""Longest stored answer. A longer one is cut and flagged; the session has the whole conversation."""
ERROR_BYTES = 64 << 10
"""Longest message of an error."""
LOG_TAIL_BYTES = 64 << 10
"""Longest kept end of a run's output."""
MOST = 2**53 - 1
"""Largest count: exact in a double, so in JSON of any reader and in a metric; a thousand of them fit a bigint."""
MOST_EVENTS = 2**31 - 1
"""Largest number of a run's events: a Postgres integer."""
MOST_LINES = 2**31 - 1
"""Largest number of lines before the kept end of an output: a Postgres integer."""
LONGEST_SECONDS = 31_536_000.0
"""Longest wait or duration, a year: as long as a job may wait (``maxWaitSeconds``)."""
MOST_FRAMES = 20
"""Most lines of code that an error is told to have come through."""
NAME_CHARACTERS = 256
"""Longest name of an author, a tool or a model."""


def count(value: object, most: int = MOST) -> int:
    """``value`` as a count from 0 to ``most``; 0 where it is no number.

    >>> count(2**64) == MOST, count(-1), count(float("nan")), count("many")
    (True, 0, 0, 0)
    """
    return int(_between(value, most))


def seconds(value: object, longest: float = LONGEST_SECONDS) -> float:
    """``value`` as seconds from 0 to ``longest``; 0 where it is no number.

    >>> seconds(1e308) == LONGEST_SECONDS, seconds(-5), seconds(float("nan")), seconds(0.5)
    (True, 0.0, 0.0, 0.5)
    """
    return float(_between(value, longest))


def name(value: str, characters: int = NAME_CHARACTERS) -> str:
    """The first characters of a name, as Postgres, a metric's label and a log can hold them.

    Raises TypeError where it is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {type(value).__name__}")
    return clean(value[:characters])


def _between(value: object, most: float) -> int | float:
    # Compared as they are: an integer beyond every double cannot be made one.
    if not isinstance(value, int | float) or value != value:
        return 0
    return min(max(value, 0), most)
