"""The kinds of questions that a job may wait with. The plugin imports this for each command, so it imports little."""

from __future__ import annotations

from enum import StrEnum


class QuestionKind(StrEnum):
    """What a job waits for, and so what an answer has to hold."""

    CONFIRMATION = ""
    """May this call be made? A yes or no, with a payload where the tool has one to fill in."""
    LONG_RUNNING = "LongRunning"
    """The result of a call that has begun: a payload."""
    INPUT = "Input"
    """An input that a workflow's node or the model asks for (ADK's ``RequestInput``): a payload."""
