"""The names of a schedule's children. They are its second lock: a name can be created once (H29)."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

NAME_MAX_LENGTH = 63


def tick_child(schedule: str, tick: datetime) -> str:
    """``<schedule>-<unix minute>``, as CronJob names its Jobs. A schedule's name has at most 52 characters."""
    return f"{schedule}-{_unix(tick) // 60}"


def manual_child(schedule: str, request: str, now: datetime) -> str:
    """``<schedule>-manual-<unix second>`` of the time that the request names, else of ``now``.

    A request that is an RFC 3339 time gives every operator the same name. The suffix has 18 characters: of a
    schedule's name beyond 45 the end is exchanged for a hash of the whole.
    """
    suffix = f"-manual-{_unix(_requested(request) or now)}"
    room = NAME_MAX_LENGTH - len(suffix)
    if len(schedule) > room:
        digest = sha256(schedule.encode()).hexdigest()[:5]
        schedule = f"{schedule[: room - 6].rstrip('-.')}-{digest}"
    return schedule + suffix


def _requested(request: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(request)
        in_range = moment.tzinfo is not None and 1970 < moment.astimezone(UTC).year < 9999
    except (ValueError, OverflowError):
        return None
    return moment if in_range else None


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())
