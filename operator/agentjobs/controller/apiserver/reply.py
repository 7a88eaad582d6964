"""An answer of the API server."""

from __future__ import annotations

from dataclasses import dataclass

from agentjobs.controller.apiserver.errors import ApiUnavailable
from agentjobs.values.json import JsonObject


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API server. ``body`` is {} where an error's was no JSON object."""

    status: int
    body: JsonObject
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def busy(self) -> bool:
        """Whether the API server wants us to wait: too many requests, or an error of its own."""
        return self.status == 429 or self.status >= 500

    @property
    def unavailable(self) -> ApiUnavailable:
        """The exception to raise where what was asked is to be tried again."""
        return ApiUnavailable(self.words, self.retry_after_seconds, status=self.status)

    @property
    def words(self) -> str:
        """Status and message, for people."""
        return f"{self.status} {self.message}".strip()

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))[:1024]

    @property
    def causes(self) -> list[JsonObject]:
        """What was wrong, one by one; [] where the answer does not say."""
        details = self.body.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        return [cause for cause in causes or () if isinstance(cause, dict)]

    @property
    def fields(self) -> frozenset[str]:
        """Fields that the schema or a CEL rule refuses; empty for a refusal by a webhook or a policy."""
        return frozenset(str(cause.get("field", "")) for cause in self.causes) - {""}

    @property
    def object_missing(self) -> bool:
        """404 of the object itself, and not of its whole kind (a CRD that is not installed)."""
        details = self.body.get("details")
        return self.status == 404 and isinstance(details, dict) and bool(details.get("name"))
