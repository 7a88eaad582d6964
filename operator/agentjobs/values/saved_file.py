"""What a run tells of a file that its agent has saved or deleted: its name and size, never its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentjobs.values.bounds import count, name

MOST_TOLD = 1000
"""The most files of which one run tells, and at which a job's list takes no further ones."""

ADDRESS_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class SavedFile:
    """The newest version of a file that a job's run has saved. Its name was chosen by an agent: hostile input."""

    name: str
    version: int | None
    """None: the agent has deleted the file."""
    mime_type: str = ""
    size_bytes: int = 0
    address: str = ""
    """The place of the service that keeps it, such as ``gs://bucket``. Empty: the session store."""

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "mime_type": self.mime_type,
            "size_bytes": self.size_bytes,
            "address": self.address,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SavedFile:
        """A file from ``as_json``, in bounds. Raises KeyError or TypeError."""
        version = value["version"]
        return cls(
            name(value["name"]),
            None if version is None else count(version),
            name(value.get("mime_type", "")),
            count(value.get("size_bytes", 0)),
            name(value.get("address", ""), ADDRESS_CHARACTERS),
        )
