"""The one exception for an API server that does not do what it was asked now; without aiohttp, so that local
runs may catch it."""

from __future__ import annotations


class ApiUnavailable(Exception):
    """The API server gave no answer in time, or refused for now: nothing is known to have happened."""

    def __init__(
        self,
        why: str,
        retry_after_seconds: float | None = None,
        *,
        status: int | None = None,
        unreachable: bool = False,
    ) -> None:
        super().__init__(why)
        self.status = status
        """Of the answer; None: there was none, or none that can be read."""
        self.retry_after_seconds = retry_after_seconds
        """How long to wait, where the answer says so."""
        self.unreachable = unreachable
        """No connection could be made: that concerns every object."""
