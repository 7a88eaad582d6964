"""Requests for input: the questions that a run's tools ask a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A tool's question to a person: may this call be made? Every text is bounded."""

    id: str
    """ADK's id of the question, the same in every run that comes upon it. An answer names it."""
    tool: str
    arguments: str = ""
    """Of the call, as JSON, cut at 1 KiB."""
    hint: str = ""
    """What the tool says to the person; empty where it says nothing of its own. Cut at 1 KiB."""
    payload: str = ""
    """What the tool wants to have filled in, as JSON, cut at 1 KiB; empty: nothing."""

    def as_json(self) -> dict[str, str]:
        """The form of the messages between processes."""
        return asdict(self)
