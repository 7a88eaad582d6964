"""The URL of a database: as it is, or in a file that is read at each connect.

A file is how Kubernetes mounts a secret, and it changes when a password is rotated: whoever connects next reads the
new one, without a restart. Everything that connects takes a ``Dsn`` and asks ``current`` right before it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

Dsn = str | Callable[[], str]


def current(dsn: Dsn) -> str:
    """The URL to connect to now."""
    return dsn if isinstance(dsn, str) else dsn()


@dataclass(slots=True)
class DsnFile:
    """Call it for the URL that the file holds now.

    A file that is missing, empty or no text (in the middle of a change) leaves the last URL that could be read, and
    a warning in the log without the content: the connect then says what is wrong.
    """

    path: Path
    last: str = field(repr=False)

    def __call__(self) -> str:
        try:
            found = self.path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning(
                "the file %s cannot be read (%s): the last URL is used", self.path, type(error).__name__
            )
            return self.last
        if not found:
            log.warning("the file %s is empty: the last URL is used", self.path)
        elif found != self.last:
            log.info("the file %s holds a new URL", self.path)
            self.last = found
        return self.last
