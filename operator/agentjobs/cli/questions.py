"""A tool's question as people see it on a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """What a job waits with. All texts are as bounded as ``status.inputRequest``."""

    job: str
    id: str
    tool: str
    arguments: str = ""
    hint: str = ""
    payload: str = ""
    since: str = ""
    deadline: str = ""
    remaining: int = 0


def told(question: Question) -> str:
    """What a person decides by."""
    lines = [f"{question.job} asks: may the tool {_printable(question.tool)} be called?"]
    for label, value in (
        ("arguments", question.arguments),
        ("hint", question.hint),
        ("to fill in", question.payload),
        ("since", question.since),
        ("deadline", question.deadline),
        ("id", question.id),
    ):
        if value:
            lines.append(f"  {label + ':':<12}{_printable(value)}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """A model chose these characters: none of them may steer the terminal that a decision is made on."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
