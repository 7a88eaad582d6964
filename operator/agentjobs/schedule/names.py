"""Names of a schedule's children. A name can be created once, so that no tick gets two children (H29)."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

NAME_MAX_LENGTH = 63


def tick_child(schedule: str, tick: datetime) -> str:
    """The name of a tick's child, ``<schedule>-<unix minute>``, as CronJob names its Jobs.

    It fits into 63 characters, since a schedule's name has at most 52.
    """
    return f"{schedule}-{_unix(tick) // 60}"


def manual_child(schedule: str, request: str, now: datetime) -> str:
    """The name of a requested run's child: ``<schedule>-manual-<unix second>``.

    The second is that of the time in ``request``, so that each operator chooses the same name. For a request
    that is no RFC 3339 time it is that of ``now``. The suffix has 18 characters: of a schedule's name with
    more than 45, a hash of the name takes the place of the end.
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
