"""Texts that models, tools and agents wrote, for a terminal: without the characters that steer it. Pure."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"


def steers(character: str) -> bool:
    """Whether a character could steer a terminal, or turn the order of what it shows: control and format characters, line
    separators. Spaces of whatever width, and the joiners of emoji and scripts, do not."""
    return not (character.isprintable() or unicodedata.category(character) == "Zs" or character in _JOINERS)


def printable(text: str) -> str:
    """``text`` in one line, without characters that steer a terminal: an agent may have written it."""
    return "".join(c if not steers(c) else " " if c in "\n\r\t" else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """``text`` with its lines and tabs, without characters that steer a terminal."""
    return "".join(c if not steers(c) or c in "\n\t" else repr(c)[1:-1] for c in text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    """``text`` in one line, exactly: line ends and unusual spaces are escapes too, as a person decides by what is shown."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
