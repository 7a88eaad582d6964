"""Delays for which a provider's error asks: RetryInfo, Retry-After, a spent daily quota."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

DAILY_QUOTA_SECONDS = 3600.0
"""Least wait after a spent daily quota: the provider's own RetryInfo may say a few seconds, all day long."""
MAX_DELAY_SECONDS = 86400.0
"""Longest wait: a day, as ``retryPolicy.maxWaitSeconds``. After it, the provider may ask again."""
_NUMBER = re.compile(r"\d+(\.\d+)?")
_DURATION = re.compile(r"(?P<seconds>\d+(?:\.\d+)?)s")


def delay_of(error: BaseException, now: datetime) -> float | None:
    """Seconds that ``error`` asks to wait: the longest where it gives several. None: it gives none."""
    details = list(_details(error))
    asked = [
        *(s for d in details if (s := _seconds(d.get("retryDelay"))) is not None),
        *(s for h in _headers(error) if (s := retry_after(h, now)) is not None),
    ]
    if any("PerDay" in json.dumps(d.get("violations", ""), default=str) for d in details):
        asked.append(DAILY_QUOTA_SECONDS)
    return min(max(asked), MAX_DELAY_SECONDS) if asked else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The header Retry-After in seconds, from a number or an HTTP date (RFC 9110, 10.2.3).

    OpenAI's retry-after-ms counts as well, and first.
    """
    lower = {str(k).lower(): str(v).strip() for k, v in headers.items()}
    try:
        if _NUMBER.fullmatch(milliseconds := lower.get("retry-after-ms", "")):
            return float(milliseconds) / 1000
        told = lower.get("retry-after")
        if told is None:
            return None
        if _NUMBER.fullmatch(told):
            return float(told)
        when = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def _seconds(duration: object) -> float | None:
    """Seconds of a google.protobuf.Duration: "1.5s", or the two fields of the message from some proxies."""
    if isinstance(duration, str) and (match := _DURATION.fullmatch(duration)):
        return float(match["seconds"])
    if isinstance(duration, Mapping):
        try:
            asked = float(duration.get("seconds", 0)) + float(duration.get("nanos", 0)) / 1e9
        except (TypeError, ValueError):
            return None
        return asked if asked >= 0 else None  # NaN compares as false
    return None


def _details(error: BaseException) -> Iterator[dict[str, Any]]:
    """The parts of google.rpc's ``error.details`` in the provider's answer."""
    for inner in accounts(error):
        details = inner.get("details")
        for part in details if isinstance(details, list) else ():
            if isinstance(part, dict):
                yield part


def accounts(error: BaseException) -> Iterator[dict[str, Any]]:
    """The provider's own account of ``error``: ``{"message": …}``, under ``error`` in its answer's body."""
    for body in (getattr(error, "details", None), getattr(error, "body", None), _answered(error)):
        if isinstance(body, list) and len(body) == 1:  # streaming endpoints wrap the body
            body = body[0]
        if isinstance(body, dict):
            inner = body.get("error", body)
            if isinstance(inner, dict):
                yield inner


def _answered(error: BaseException) -> object:
    """The JSON body of the error's httpx response. None: it is no JSON, or was not read."""
    try:
        content = getattr(getattr(error, "response", None), "content", None)
        return json.loads(content) if isinstance(content, bytes) else None
    except (ValueError, RuntimeError):  # httpx: RuntimeError for a stream that nobody has read
        return None


def _headers(error: BaseException) -> Iterator[Mapping[str, str]]:
    response = getattr(error, "response", None)
    for headers in (
        getattr(response, "headers", None),
        getattr(error, "litellm_response_headers", None),
        getattr(error, "headers", None),
    ):
        if headers is not None and hasattr(headers, "items"):  # a mapping, or an object like one
            yield {str(k): str(v) for k, v in headers.items()}
