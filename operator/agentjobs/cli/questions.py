"""Questions of tools, as text for a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agentjobs.cli.printable import escaped
from agentjobs.values.question_kinds import QuestionKind


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
    kind: str = QuestionKind.CONFIRMATION
    result: str = ""
    schema: str = ""
    remaining: int = 0
    """Questions of the same model answer that come after this one."""


def told(question: Question) -> str:
    """The text of a question: the tool, its arguments, and everything else that a person decides by."""
    tool = escaped(question.tool)
    lines = [f"{question.job} {ASKS.get(question.kind, ASKS[QuestionKind.INPUT]).format(tool=tool)}"]
    is_input = question.kind == QuestionKind.INPUT
    for label, value in (
        ("shown" if is_input else "arguments", question.arguments),
        ("hint", question.hint),
        ("so far", question.result),
        ("to fill in", question.payload),
        ("schema", question.schema),
        ("since", question.since),
        ("deadline", question.deadline),
        ("id", question.id),
    ):
        if value:
            lines.append(f"  {label + ':':<12}{escaped(value)}")
    return "\n".join(lines)


ASKS: dict[str, str] = {
    QuestionKind.CONFIRMATION: "asks: may the tool {tool} be called?",
    QuestionKind.LONG_RUNNING: "waits for the result of the tool {tool}, which has begun.",
    QuestionKind.INPUT: "wants an input for {tool}.",
}
"""By the question's kind; a kind that this version does not know wants a payload, as an input does."""
