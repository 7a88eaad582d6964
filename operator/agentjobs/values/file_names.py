"""Names of files on this machine for what agents have saved. Pure, and free of imports that a command would pay for."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

_LONGEST = 200
"""Bytes; file systems take 255."""
_SHORT, _WHOLE = 8, 64
"""Digits of a name's hash: those that a name begins with, and all there are."""
_LONGEST_EXTENSION = 32
"""Bytes; a longer one is no extension."""


def local_name(name: str) -> str:
    """A flat, visible file name for an artifact, whose own name an agent wrote: ``user:a/b.txt`` becomes ``user_a_b.txt``."""
    flat = re.sub(r"[^\w.,+@=()\- ]|[\x00-\x1f]", "_", name)
    return re.sub(r"^[.\-\s]", "_", _end_of(flat, _LONGEST)) or "_"


def local_names(names: Iterable[str]) -> dict[str, str]:
    """The local names of artifacts that are written into one folder, no two of which are one file.

    Of names that clash, each gets a hash of its whole name: of ``a/b.txt`` and ``a_b.txt`` the first becomes
    ``a_b-5550000d.txt``. The others stay as ``local_name`` has them. Agents write the names, and may have looked for
    two hashes that begin alike: these are made longer until they differ.
    """
    digits = dict.fromkeys(names, 0)
    while True:
        found = {name: _hashed(name, n) for name, n in digits.items()}
        places = Counter(map(_place, found.values()))
        clashing = [name for name, n in digits.items() if places[_place(found[name])] > 1 and n < _WHOLE]
        if not clashing:
            return found
        for name in clashing:
            digits[name] = digits[name] * 2 or _SHORT


def _hashed(name: str, digits: int) -> str:
    """The local name with so many digits of the name's hash before its extension."""
    local = local_name(name)
    if not digits:
        return local
    stem, dot, extension = local.rpartition(".")
    if not stem or len(extension.encode()) > _LONGEST_EXTENSION:
        stem, dot, extension = local, "", ""
    end = f"-{sha256(name.encode(errors='surrogatepass')).hexdigest()[:digits]}{dot}{extension}"
    return local_name(_end_of(stem, _LONGEST - len(end.encode())) + end)


def _place(local: str) -> str:
    """Equal for names that are one file on a file system which knows no case, nor how an accent was typed (macOS)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", local).casefold())


def _end_of(text: str, length_bytes: int) -> str:
    return text.encode()[-length_bytes:].decode(errors="ignore")
