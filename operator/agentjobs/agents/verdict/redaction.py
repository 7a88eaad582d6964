"""Redaction: the executor bounds the messages of a run, and takes prompts, answers and keys out of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

from agentjobs.values.bounds import ERROR_BYTES
from agentjobs.values.text import shortened

SHORTEST_SECRET = 8
"""Least length of a text that is taken out: without each "the", the message around would be shredded."""

_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|DSN|DATABASE_URL", re.IGNORECASE)


def secrets_of(environ: Iterable[tuple[str, str]] | None = None) -> tuple[str, ...]:
    """The values of environment variables whose names look like those of credentials."""
    pairs = os.environ.items() if environ is None else environ
    return tuple(v for k, v in pairs if _SECRET_VARIABLE.search(k) and len(v) >= SHORTEST_SECRET)


def without(text: str, said: Iterable[str], *, mark: str = "[text]") -> str:
    """``text`` without the texts of ``said`` (prompts, answers, keys) and their single lines.

    For example, a provider quotes the prompt in its error. The message goes into statuses, Events and logs,
    which must not have it.

    :param mark: takes the place of each removed piece.
    """
    pieces = {piece for whole in said for piece in (whole, whole.strip(), *whole.splitlines())}
    for piece in sorted((p for p in pieces if len(p.strip()) >= SHORTEST_SECRET), key=len, reverse=True):
        text = text.replace(piece, mark)
        # the same piece in JSON, as in the bodies of providers' answers
        text = text.replace(json.dumps(piece)[1:-1], mark)
    return text


def bounded_error(text: str) -> str:
    """``text`` as the database can store it, cut at 64 KiB."""
    return shortened(text, ERROR_BYTES)
