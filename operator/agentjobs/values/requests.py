"""Requests for input: questions of a run's tools to a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from agentjobs.values.bounds import name

TEXT_CHARACTERS = 1024
"""Longest text of a question. The executor cuts its texts to as many bytes, with a mark."""


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A tool's question to a person: may this call be made? Every text is bounded, whatever the constructor is given.

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

    def __post_init__(self) -> None:
        for field in self.__slots__:
            object.__setattr__(self, field, name(getattr(self, field), TEXT_CHARACTERS))
        if not self.id:
            raise ValueError("a question has no id")

    def as_json(self) -> dict[str, str]:
        """The request as a message between processes carries it."""
        return asdict(self)
