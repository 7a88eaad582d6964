"""Requests for input: questions of a run's tools to a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from agentjobs.values.bounds import name
from agentjobs.values.question_kinds import QuestionKind

TEXT_CHARACTERS = 1024
"""Longest text of a question. The executor cuts its texts to as many bytes, with a mark."""
ID_CHARACTERS = 128
SCHEMA_CHARACTERS = 8192
"""Longest schema of an answer, as JSON. It is never cut."""


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A question to a person, or to whoever knows the answer. Every text is bounded, whatever the constructor is given.

    Raises TypeError for what is no text, and ValueError without an id.
    """

    id: str
    """ADK's id of the question, the same in each run of the job. An answer names it."""
    tool: str
    arguments: str = ""
    """Arguments of the call as JSON, cut at 1 KiB."""
    hint: str = ""
    """The tool's own hint to the person, cut at 1 KiB. Empty: it gives none."""
    payload: str = ""
    """The payload that the tool wants to have filled in, as JSON, cut at 1 KiB. Empty: none."""

    kind: str = QuestionKind.CONFIRMATION
    result: str = ""
    """The first result of a long-running call as JSON, cut at 1 KiB. Empty: it gave none."""
    schema: str = ""
    """JSON Schema, as JSON, that the payload of an answer has to fit. Empty: any payload does."""

    def __post_init__(self) -> None:
        for field in self.__slots__:
            longest = SCHEMA_CHARACTERS if field == "schema" else TEXT_CHARACTERS
            object.__setattr__(self, field, name(getattr(self, field), longest))
        if not self.id:
            raise ValueError("a question has no id")

    def as_json(self) -> dict[str, str]:
        """The request as a message between processes carries it."""
        return asdict(self)
