"""When a provider asked us to come back: RetryInfo, Retry-After, and quotas that are spent for the day."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

DAILY_QUOTA_SECONDS = 3600.0
"""At least, where a quota per day is spent: asking every few seconds until midnight helps nobody."""
_DURATION = re.compile(r"(?P<seconds>\d+(?:\.\d+)?)s")


def delay_of(error: BaseException, now: datetime) -> float | None:
    """Seconds that ``error`` asks for, the longest where it says so twice; None: it does not say."""
    details = list(_details(error))
    asked = [
        *(s for d in details if (s := _seconds(d.get("retryDelay"))) is not None),
        *(s for h in _headers(error) if (s := retry_after(h, now)) is not None),
    ]
    if any("PerDay" in json.dumps(d.get("violations", ""), default=str) for d in details):
        asked.append(DAILY_QUOTA_SECONDS)
    return max(asked) if asked else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The header Retry-After in seconds, from a number or an HTTP date (RFC 9110, 10.2.3); also OpenAI's
    retry-after-ms."""
    lower = {str(k).lower(): str(v).strip() for k, v in headers.items()}
    try:
        if "retry-after-ms" in lower:
            return max(0.0, float(lower["retry-after-ms"]) / 1000)
        told = lower.get("retry-after")
        if told is None:
            return None
        if re.fullmatch(r"\d+(\.\d+)?", told):
            return float(told)
        when = parsedate_to_datetime(told)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def _seconds(duration: object) -> float | None:
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    return float(match["seconds"]) if match else None


def _details(error: BaseException) -> Iterator[dict[str, Any]]:
    """The parts of google.rpc's ``error.details`` in what the provider answered."""
    for body in (getattr(error, "details", None), getattr(error, "body", None)):
        if isinstance(body, list) and len(body) == 1:  # streaming endpoints wrap the body
            body = body[0]
        if not isinstance(body, dict):
            continue
        inner = body.get("error", body)
        for part in inner.get("details", ()) if isinstance(inner, dict) else ():
            if isinstance(part, dict):
                yield part


def _headers(error: BaseException) -> Iterator[Mapping[str, str]]:
    response = getattr(error, "response", None)
    for headers in (
        getattr(response, "headers", None),
        getattr(error, "litellm_response_headers", None),
        getattr(error, "headers", None),
    ):
        if headers is not None and hasattr(headers, "items"):  # a mapping, or what looks like one
            yield {str(k): str(v) for k, v in headers.items()}
