"""Redaction: messages on their way out of a run, bounded, and without what people said to the model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

from agentjobs.values.bounds import ERROR_BYTES
from agentjobs.values.text import shortened

SHORTEST_SECRET = 8
"""Below this, removing every occurrence of a text would shred the message around it."""

_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|DSN|DATABASE_URL", re.IGNORECASE)


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
    """``text``, storable and at most 64 KiB."""
    return shortened(text, ERROR_BYTES)
