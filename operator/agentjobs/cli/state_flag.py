"""The flag ``--state KEY=VALUE``: one key of a job's ``spec.state``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agentjobs.cli.errors import BadInput

HELP = (
    "A key of the session's state: VALUE is JSON where it can be read as JSON, else a text. May be repeated."
)


def state_of(given: Iterable[str] | None) -> dict[str, Any]:
    """The state that the flags describe; the last one of a key counts.

    :raises BadInput: one has no key, or no equals sign.
    """
    found = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput(f"--state: wants KEY=VALUE, got {text[:60]!r}.")
        found[key] = _read(value)
    return found


def _read(value: str) -> Any:
    try:
        return json.loads(value, parse_int=_of_64_bits, parse_constant=_none)
    except (ValueError, RecursionError):
        return value


def _of_64_bits(digits: str) -> int:
    """A whole number that no reader of JSON rounds; a longer one, such as of a customer, is a text."""
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _none(constant: str) -> Any:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(constant)
