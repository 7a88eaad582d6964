"""The entries of a transcript, and the place of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import quote, unquote

from agentjobs.transcript.errors import CursorInvalid
from agentjobs.values.json import JsonObject
from agentjobs.values.usage import Usage

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A JSON value as Python reads it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_ID = 128
"""Characters of an event's id, as in ADK's column."""


class Kind(StrEnum):
    """What an entry tells. Which of the entry's fields it fills, docs/transcripts.md says."""

    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"
    RESULT = "result"
    CODE = "code"
    CODE_RESULT = "code_result"
    FILE = "file"
    """An image or another file, by its type and size alone; or the new version of an artifact."""
    QUESTION = "question"
    """A tool asks a person: for a yes, for credentials, for an input."""
    ANSWER = "answer"
    TRANSFER = "transfer"
    """The conversation is handed over to another agent."""
    OUTPUT = "output"
    """The result of a workflow's node, or of a model with a schema."""
    STATE = "state"
    """Keys of the session's state that the event changes."""
    COMPACTION = "compaction"
    """ADK's summary, which takes the place of earlier events in prompts."""
    ERROR = "error"
    CONTROL = "control"
    """An agent's or the run's course: escalation, end, rewind, checkpoint."""
    EMPTY = "empty"
    """Nothing was said: an event without any content, such as a model's empty answer."""
    OTHER = "other"
    """What this version does not know, by its names alone."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of an entry: the event's time and id, by which events are ordered, and the number in its event.

    The text form is opaque to clients. It holds no space and no line break, so it may be the id of a
    server-sent event, or a query parameter.
    """

    at: datetime
    """The time of the event's row, in UTC."""
    event: str
    """The event's id."""
    number: int = 0
    """The entry's number within its event, from 0."""

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // _MICROSECOND}.{self.number}.{quote(self.event, safe='')}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor of a text. Raises CursorInvalid where ``str`` never made it."""
        micros, _, rest = text.partition(".")
        number, _, event = rest.partition(".")
        try:
            made = cls(_EPOCH + int(micros) * _MICROSECOND, unquote(event, errors="strict"), int(number))
        except (ValueError, OverflowError):
            made = None
        if made is None or str(made) != text or made.number < 0 or not _possible_id(made.event):
            raise CursorInvalid("the cursor was not made by this API; read from the start, without one")
        return made


def _possible_id(event: str) -> bool:
    return 0 < len(event) <= _LONGEST_ID and "\0" not in event


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was said or done. Its texts were written by models, tools and users: hostile input.

    Control characters are as they were stored; whoever prints an entry to a terminal removes them.
    """

    cursor: Cursor
    kind: Kind
    author: str
    """``user``, an agent's name, or ``agentjobs`` for our own marks."""
    invocation: str
    """ADK's invocation id: ``job-<uid>`` for a job's first round, ``job-<uid>-r2`` for a later one."""
    branch: str = ""
    """Of an agent that ran in parallel: the path of agents to it."""
    tool: str = ""
    """Name of the tool that is called, answers or asks; of a transfer, the agent that takes over."""
    call: str = ""
    """Id that a call, its result, its question and the answer share."""
    text: str = ""
    note: str = ""
    """One word on the kind: an error's code, ``approved``, ``long-running``, ``stand-in``, a code's language."""
    data: Json = None
    """Arguments, result, state: JSON, of which a part may be left out."""
    cut: bool = False
    """Whether ``text`` or ``data`` is shorter than what is stored; the place is marked with …."""
    model: str = ""
    tokens: Usage | None = None
    """What the event's model call took, on the event's first entry alone, so that entries can be summed up."""

    @property
    def at(self) -> datetime:
        """When the event was made, by the clock of the machine that ran the agent."""
        return self.cursor.at

    def as_json(self) -> JsonObject:
        """The entry as APIs show it. What is empty is left out, except the first five fields."""
        shown: JsonObject = {
            "cursor": str(self.cursor),
            "time": self.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "kind": self.kind.value,
            "author": self.author,
            "invocation": self.invocation,
        }
        for name in ("branch", "tool", "call", "text", "note", "model"):
            if value := getattr(self, name):
                shown[name] = value
        if self.data is not None:
            shown["data"] = self.data
        if self.cut:
            shown["cut"] = True
        if self.tokens is not None:
            shown["tokens"] = {
                "prompt": self.tokens.prompt_tokens,
                "output": self.tokens.output_tokens,
                "total": self.tokens.total_tokens,
            }
        return shown


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in their order, and where the next page begins."""

    entries: Sequence[Entry]
    next: Cursor | None
    """Pass it as ``after``. None: there was no more when this page was read. Else the next page may be empty."""
    stored: bool
    """Whether the session exists. False: it was never written to this database, or somebody deleted it."""
