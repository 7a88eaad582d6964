"""The URL of a database, given as a text or in a file that is read at each connect.

For example, Kubernetes mounts a secret as a file and changes it when a password is rotated: the next connect
reads the new one, without a restart. All code that connects takes a ``Dsn``, and calls ``current`` right
before.
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
    """A file with a URL. A call reads it.

    Where the file is missing, empty or no text, as in the middle of a change, the call returns the last URL
    that could be read and logs a warning without the content. If the URL is wrong, the connect fails and says
    so.
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
