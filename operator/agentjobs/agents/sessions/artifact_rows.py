"""Rows of artifacts, from ADK's parts and back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.adk.artifacts.artifact_util import (
    is_artifact_ref,
    parse_artifact_uri,
    validate_artifact_reference_scope,
)
from google.adk.errors.input_validation_error import InputValidationError
from google.genai import types
from pydantic_core import to_jsonable_python

from agentjobs.agents.sessions.rows import storable_json

USER_PREFIX = "user:"
"""Of the names of files that all sessions of a user share."""
NAME_BYTES = 1024
"""The longest filename, in UTF-8: it is in an index."""
METADATA_BYTES = 64 << 10
"""The most that a file's metadata, and what its Part has beside the content, take together as JSON."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a file lies: with the session, or with the user."""

    app_name: str
    user_id: str
    session_id: str
    """Empty: the files that all sessions of the user share."""

    @classmethod
    def of(cls, app_name: str, user_id: str, filename: str, session_id: str | None) -> Shelf:
        """The shelf of a filename. Raises ADK's InputValidationError, as ADK's services do."""
        if filename.startswith(USER_PREFIX):
            return cls(app_name, user_id, "")
        if not session_id:
            raise InputValidationError("Session ID must be provided for session-scoped artifacts.")
        return cls(app_name, user_id, session_id)

    def parameters(self) -> dict[str, Any]:
        return {"app_name": self.app_name, "user_id": self.user_id, "shelf": self.session_id}


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as it is stored."""

    part: str
    """JSON without the content."""
    content: bytes | None
    """None: the part is an address."""
    mime_type: str | None
    metadata: str
    """JSON."""

    def parameters(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "content": self.content,
            "mime_type": self.mime_type,
            "metadata": self.metadata,
            "size_bytes": len(self.content or b""),
        }


def stored_part(
    shelf: Shelf, session_id: str | None, filename: str, part: types.Part, metadata: dict[str, Any] | None
) -> StoredPart:
    """The part to store.

    :raises InputValidationError: nothing that ADK's services take, an address of another user's file, a name that Postgres
        cannot keep, or too much metadata.
    """
    _check_name(filename)
    mime_type, content = _content(shelf, session_id, part)
    bare = part.model_copy(deep=True)
    if bare.inline_data is not None:
        bare.inline_data.data = None
    elif content is not None:
        bare.text = None
    part_json = storable_json(bare.model_dump(mode="json", exclude_none=True))
    metadata_json = storable_json(to_jsonable_python(metadata or {}, fallback=str, inf_nan_mode="null"))
    if (size := len(part_json) + len(metadata_json)) > METADATA_BYTES:
        raise InputValidationError(
            f"Artifact {shown(filename)}: its metadata take {size} bytes; at most {METADATA_BYTES} are kept. Put them into the "
            f"content."
        )
    return StoredPart(part_json, content, mime_type, metadata_json)


def _content(shelf: Shelf, session_id: str | None, part: types.Part) -> tuple[str | None, bytes | None]:
    """The type, and the content."""
    if part.inline_data is not None:
        return part.inline_data.mime_type, part.inline_data.data or b""
    if part.text is not None:
        return "text/plain", part.text.encode(errors="surrogatepass")
    if part.file_data is None:
        raise InputValidationError("Not supported artifact type.")
    if not is_artifact_ref(part):
        return part.file_data.mime_type, None
    parsed = parse_artifact_uri(part.file_data.file_uri or "")
    if parsed is None:
        raise InputValidationError(f"Invalid artifact reference URI: {part.file_data.file_uri}")
    validate_artifact_reference_scope(
        app_name=shelf.app_name, user_id=shelf.user_id, session_id=session_id, parsed_uri=parsed
    )
    return None, None


def part_of(stored: str, content: bytes | None) -> types.Part:
    """The part of a row."""
    part = types.Part.model_validate_json(stored)
    if content is None:
        return part
    if part.inline_data is not None:
        part.inline_data.data = content
    else:
        part.text = content.decode(errors="surrogatepass")
    return part


def shown(filename: str) -> str:
    """The filename for a message: quoted, and not longer than a line."""
    return repr(filename if len(filename) <= 100 else f"{filename[:100]}…")


def _check_name(filename: str) -> None:
    try:
        size = len(filename.encode())
    except UnicodeEncodeError:
        raise InputValidationError(f"Artifact {shown(filename)}: the name is no text.") from None
    if not filename or "\0" in filename or size > NAME_BYTES:
        raise InputValidationError(
            f"Artifact {shown(filename)}: a name of 1 to {NAME_BYTES} bytes without NUL is wanted, not one of {size} bytes."
        )
