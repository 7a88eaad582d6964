"""The one exception for an API server that wants us to wait; without aiohttp, so that local runs may catch
it."""

from __future__ import annotations


class ApiUnavailable(Exception):
    """The API server gave no answer in time, or asked to wait (429, 5xx): nothing is known to have
    happened."""

    def __init__(
        self, why: str, retry_after_seconds: float | None = None, *, status: int | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        """Of the answer; None: there was none."""
        self.retry_after_seconds = retry_after_seconds
        """How long to wait, where the answer says so."""

    @property
    def concerns_everybody(self) -> bool:
        """False: a 5xx, which may belong to one object or namespace (an admission webhook that is down)."""
        return self.status is None or self.status == 429
