"""Errors as Kubernetes' clients know them: an exception that carries a Status object.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind
"""

from __future__ import annotations

from http import HTTPStatus

from agentjobs.values.json import JsonObject

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    408: "Timeout",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    421: "MisdirectedRequest",
    422: "Invalid",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}


class ApiError(Exception):
    """A request that is refused. The message says which value, and what is wanted."""

    def __init__(
        self, code: int, message: str, *, retry_after_seconds: int | None = None, challenge: str = ""
    ) -> None:
        """``challenge``: how a browser may show who asks (WWW-Authenticate). Empty: by nothing that it could ask for."""
        super().__init__(message)
        self.code, self.message, self.retry_after_seconds = code, message, retry_after_seconds
        self.challenge = challenge

    @property
    def status(self) -> JsonObject:
        """The error as a Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": REASONS.get(self.code, HTTPStatus(self.code).phrase.replace(" ", "")),
            "code": self.code,
        }


def not_found(resource: str, name: str) -> ApiError:
    """The error for an object that is not there, or that its user may not know of."""
    return ApiError(404, f'{resource} "{name}" not found')
