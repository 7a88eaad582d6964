"""Requests for input: questions of a run's tools to a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A tool's question to a person: may this call be made? Every text is bounded."""

    id: str
    """ADK's id of the question, the same in each run of the job. An answer names it."""
    tool: str
    arguments: str = ""
    """Arguments of the call as JSON, cut at 1 KiB."""
    hint: str = ""
    """The tool's own hint to the person, cut at 1 KiB. Empty: it gives none."""
    payload: str = ""
    """The payload that the tool wants to have filled in, as JSON, cut at 1 KiB. Empty: none."""

    def as_json(self) -> dict[str, str]:
        """The request as a message between processes carries it."""
        return asdict(self)
