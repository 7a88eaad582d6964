"""Errors of transcripts, which callers tell apart."""

from __future__ import annotations


class TranscriptError(Exception):
    """A transcript cannot be read. The message says what to do, and holds nothing of a conversation."""


class CursorInvalid(TranscriptError, ValueError):
    """The place to read on from is none."""


class NoSessionStore(TranscriptError):
    """Sessions are kept in memory, so they end with their run."""


class SessionSchemaUnknown(TranscriptError):
    """ADK's tables have a version that this release does not read."""


class TranscriptUnavailable(TranscriptError):
    """The session store is away, slow, or refuses this process. Later, the same call may succeed."""
