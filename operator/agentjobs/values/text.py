"""Texts that Postgres can store, and cuts of texts (H6, H7).

NUL and lone surrogates pass an API server, but Postgres refuses them in text and JSON.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_BAD = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """``text`` with each NUL and lone surrogate replaced by U+FFFD."""
    return _BAD.sub(REPLACEMENT, text)


def clean_json(value: Any) -> Any:
    """``value`` with each string in it cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(k)): clean_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(v) for v in value]
    return value


def dumps(value: Any) -> str:
    """The JSON text of ``value`` as Postgres accepts it. Strings are cleaned where necessary."""
    try:
        data = orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return orjson.dumps(clean_json(value)).decode()
    if b"\\u0000" in data:
        return orjson.dumps(clean_json(value)).decode()
    return data.decode()


def cut(text: str, limit: int) -> tuple[str, bool]:
    """The first ``limit`` bytes of ``text`` in UTF-8, cut between characters, and whether it was cut."""
    if len(text) * 4 <= limit:
        return text, False
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text, False
    return data[:limit].decode("utf-8", "ignore"), True


def shortened(text: str, limit: int) -> str:
    """``text`` cleaned and cut between characters to at most ``limit`` bytes of UTF-8; a cut text ends in
    …"""
    whole = clean(text)
    raw = whole.encode()
    if len(raw) <= limit:
        return whole
    mark = "…"
    return raw[: limit - len(mark.encode())].decode(errors="ignore") + mark


def tail(text: str, limit: int) -> str:
    """The last ``limit`` bytes of ``text`` in UTF-8, cut between characters."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[-limit:].decode("utf-8", "ignore")


def json_tail(text: str, limit: int) -> str:
    """The end of ``text`` that takes at most ``limit`` bytes in a JSON string, where a control character takes six; a cut
    text begins with …"""
    if _json_bytes(text[-limit - 1 :]) <= limit:
        return text
    mark = "…"
    kept = text[-limit:]
    while (over := _json_bytes(kept) - (limit - len(mark.encode()))) > 0:
        kept = kept[max(1, over // 6) :]
    return mark + kept


def _json_bytes(text: str) -> int:
    return len(dumps(text).encode()) - len('""')
