"""Entries of a transcript as text for a terminal. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentjobs.cli.kubectl.output import printable, printable_lines

DATA_CHARACTERS = 2000
"""Of arguments and results as JSON; ``-o json`` shows all that the runs API has."""
INDENT = "    "
JsonObject = Mapping[str, Any]


def entry_text(entry: JsonObject) -> str:
    """One entry: when, who and what in a line, and below it what was said, or given and returned."""
    head = [clock(str(entry.get("time") or "")), str(entry.get("author") or "?")]
    kind = str(entry.get("kind") or "")
    if kind != "text":
        head.append(kind)
    for key in ("tool", "note"):
        if value := entry.get(key):
            head.append(str(value))
    if total := ((entry.get("tokens") or {}).get("totalTokens")):
        head.append(f"({total:,} tokens{' of ' + str(entry['model']) if entry.get('model') else ''})")
    lines = [printable(" ".join(head))]
    if text := entry.get("text"):
        lines += printable_lines(str(text)).rstrip("\n").split("\n")
    if (data := entry.get("data")) is not None:
        shown = json.dumps(data, ensure_ascii=False)
        lines.append(printable(shown if len(shown) <= DATA_CHARACTERS else f"{shown[:DATA_CHARACTERS]}…"))
    if entry.get("cut"):
        lines.append("… cut: it is longer than shown")
    return "\n".join([lines[0], *(INDENT + line for line in lines[1:])])


def clock(time: str) -> str:
    """The time of day of an RFC 3339 time, in its own zone."""
    return time.partition("T")[2].rstrip("Z").partition(".")[0] or time
