"""Text on its way out of a run: storable, bounded, and without what people said to the model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

MAX_RESULT_BYTES = 1024 * 1024
"""Answers are cut here; the whole conversation stays in the session (H7)."""
MAX_ERROR_BYTES = 64 * 1024
"""H7."""
SHORTEST_SECRET = 8
"""Below this, removing every occurrence of a text would shred the message around it."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPES = ("\\u0000", "\\ud")
_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|DSN|DATABASE_URL", re.IGNORECASE)


def clean(text: str) -> str:
    """Without what Postgres refuses in text and JSON: NUL and lone surrogates (H6)."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_json(value: Any) -> Any:
    """The same for every string, key or value, in a JSON value."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(k) if isinstance(k, str) else k: clean_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(v) for v in value]
    return value


def storable_json(value: Any) -> str:
    """``json.dumps`` for columns of type jsonb: a model's answer may hold what Postgres refuses."""
    text = json.dumps(value)
    if any(escape in text for escape in _UNSTORABLE_ESCAPES):
        return json.dumps(clean_json(value))
    return text


def cut(text: str, max_bytes: int) -> str:
    """At most ``max_bytes`` of UTF-8, cut between characters, ending in … where something is missing."""
    raw = clean(text).encode()
    if len(raw) <= max_bytes:
        return clean(text)
    mark = "…"
    return raw[: max_bytes - len(mark.encode())].decode(errors="ignore") + mark


def secrets_of(environ: Iterable[tuple[str, str]] | None = None) -> tuple[str, ...]:
    """Values of environment variables that are named like credentials."""
    pairs = os.environ.items() if environ is None else environ
    return tuple(v for k, v in pairs if _SECRET_VARIABLE.search(k) and len(v) >= SHORTEST_SECRET)


def without(text: str, said: Iterable[str], *, mark: str = "[text]") -> str:
    """``text`` without any of ``said`` (prompts, answers, keys), also where only one of their lines is quoted.

    Providers and tools quote what they were given in their errors; statuses, Events and logs must not.
    """
    pieces = {piece for whole in said for piece in (whole, whole.strip(), *whole.splitlines())}
    for piece in sorted((p for p in pieces if len(p.strip()) >= SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(piece, mark)
        # json.dumps of the same text, as in the bodies that providers send back
        text = text.replace(json.dumps(piece)[1:-1], mark)
    return text


def bounded_error(text: str) -> str:
    return cut(text, MAX_ERROR_BYTES)
