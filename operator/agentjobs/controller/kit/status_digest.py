"""The digest of a status: two statuses that say the same have the same, whatever their revision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from typing import Any

import orjson

GREATEST_REVISION = 2**62
"""Beyond it no revision was ever given out: somebody has written it by hand."""


def shown_revision(status: Mapping[str, Any]) -> int:
    """The revision that a status shows; 0: none, or one that cannot be."""
    found = status.get("revision")
    return found if isinstance(found, int) and found < GREATEST_REVISION else 0


def status_digest(status: Mapping[str, Any], without: Set[str] = frozenset()) -> bytes:
    """Of all keys but ``revision`` and those in ``without``."""
    plain = {key: value for key, value in status.items() if key != "revision" and key not in without}
    return hashlib.blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=12).digest()
