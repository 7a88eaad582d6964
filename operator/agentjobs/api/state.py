"""``spec.state``: the JSON object that a job puts into its session's state with its message.

A CRD bounds the number of keys. The rest is checked here: CEL cannot look into an object of any shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field

from agentjobs.api.meta import refuse
from agentjobs.values.text import clean

STATE_BYTES = 16 << 10
"""The most bytes of a state as compact JSON in UTF-8: it is stored with its job, and with the session's events."""
STATE_MAX_KEYS = 256
STATE_MAX_DEPTH = 16
USER_PREFIX = "user:"
USER_KEYS_WANT_A_USER = (
    "has keys that begin with user:, which all sessions of the user share, and the user is the default, system: set "
    "userID, or take user: off the keys"
)
_SCOPES = {
    "app:": "which all users of the app share",
    "temp:": "which no run keeps",
}
_RESERVED = {"_": "which ADK uses itself", "agentjobs": "which agentjobs uses itself"}
_INTEGERS = range(-(2**63), 2**63)
_KEY_CHARACTERS = 40


def _checked(value: object) -> object:
    """The value where it is a state, or no object: then its type is told."""
    if not isinstance(value, dict):
        return value
    for problem in _problems(value):
        raise refuse(problem)
    size = len(orjson.dumps(value))
    if size > STATE_BYTES:
        raise refuse(
            f"wants at most {STATE_BYTES} bytes as JSON, got {size}: keep large values elsewhere, and name their place"
        )
    return value


State = Annotated[dict[str, Any], Field(max_length=STATE_MAX_KEYS), BeforeValidator(_checked)]


def has_user_keys(state: dict[str, Any] | None) -> bool:
    """Whether a key of the state is the user's, and not the session's alone."""
    return any(key.startswith(USER_PREFIX) for key in state or ())


def _problems(state: dict[Any, Any]) -> Iterator[str]:
    for key in state:
        if isinstance(key, str):
            yield from _problems_of_key(key)
    yield from _problems_of_value(state, "", 1)


def _problems_of_key(key: str) -> Iterator[str]:
    shown = repr(key[:_KEY_CHARACTERS])
    for prefix, whose in _SCOPES.items():
        if key.startswith(prefix):
            yield f"key {shown} begins with {prefix}, {whose}: take {prefix} off the key"
    own = key.removeprefix(USER_PREFIX)
    if not own:
        yield f"key {shown} has no name"
    for prefix, whose in _RESERVED.items():
        if own.startswith(prefix):
            yield f"key {shown} begins with {prefix}, {whose}: choose another key"


def _problems_of_value(value: object, path: str, depth: int) -> Iterator[str]:
    """What JSON, the API server or Postgres would refuse or change in the value at this path."""
    where = f"the value at {path}" if path else "it"
    if isinstance(value, dict | list):
        if depth > STATE_MAX_DEPTH:
            yield f"{where} is nested deeper than the {STATE_MAX_DEPTH} levels that are taken"
            return
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and not isinstance(key, str):
                yield f"{where} has the key {key!r:.40}, which is no text: put it into quotes"
            elif isinstance(key, str) and clean(key) != key:
                yield f"{where} has a key with a NUL or half a surrogate pair, which Postgres cannot store: take it out"
            else:
                place = f"[{key}]" if isinstance(key, int) else f".{key[:_KEY_CHARACTERS]}"
                yield from _problems_of_value(inner, (path + place).removeprefix("."), depth + 1)
    elif isinstance(value, str):
        if clean(value) != value:
            yield f"{where} has a NUL or half a surrogate pair, which Postgres cannot store: take it out"
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield f"{where} is {value}, and JSON has finite numbers alone: leave it out, or write a text"
    elif isinstance(value, int):
        if value not in _INTEGERS and not isinstance(value, bool):
            yield f"{where} is a whole number of more than 64 bits: write it as a text"
    elif value is not None:
        yield f"{where} is of type {type(value).__name__}, and JSON has none: write it as a text, in quotes"
