"""Names of files on this machine for what agents have saved. Pure, and free of imports that a command would pay for."""

from __future__ import annotations

import re

_LONGEST = 200
"""Bytes; file systems take 255."""


def local_name(name: str) -> str:
    """A flat, visible file name for an artifact, whose own name an agent wrote: ``user:a/b.txt`` becomes ``user_a_b.txt``."""
    flat = re.sub(r"[^\w.,+@=()\- ]|[\x00-\x1f]", "_", name)
    cut = flat.encode()[-_LONGEST:].decode(errors="ignore")
    return re.sub(r"^[.\-\s]", "_", cut) or "_"
