"""Questions of tools, as text for a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A job's open question, with texts as bounded as those of ``status.inputRequest``."""

    job: str
    id: str
    tool: str
    arguments: str = ""
    hint: str = ""
    payload: str = ""
    since: str = ""
    deadline: str = ""
    remaining: int = 0
    """Questions of the same model answer that come after this one."""


def told(question: Question) -> str:
    """The text of a question: the tool, its arguments, and everything else that a person decides by."""
    lines = [f"{question.job} asks: may the tool {printable(question.tool)} be called?"]
    for label, value in (
        ("arguments", question.arguments),
        ("hint", question.hint),
        ("to fill in", question.payload),
        ("since", question.since),
        ("deadline", question.deadline),
        ("id", question.id),
    ):
        if value:
            lines.append(f"  {label + ':':<12}{printable(value)}")
    return "\n".join(lines)


def printable(text: str) -> str:
    """``text`` with escapes for control characters: a model wrote it, and must not steer the person's
    terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
