"""Times in the message of a schedule's jobs: a model does not know what time it is."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

NEVER = "never"
"""Text of ``$(LAST_SUCCESSFUL_TIME)`` before the first success."""

_REFERENCE = re.compile(r"(\$\$\()|\$\(([A-Za-z0-9_.-]+)\)")


def expand(message: str, zone: ZoneInfo, scheduled: datetime, last_successful: datetime | None) -> str:
    """``message`` with its references replaced, in the schedule's zone; ``$$(`` becomes ``$(``.

    For example, ``$(SCHEDULED_TIME)`` becomes ``2026-11-23T06:00:00+01:00``: RFC 3339 with whole seconds and
    the zone's offset. ``$(LAST_SUCCESSFUL_TIME)`` becomes such a time too, ``$(SCHEDULED_DATE)`` the date of
    the first. References with other names stay, as in a container's args, and so do references in an inserted
    text. A time is up to 8 characters longer than its reference.
    """
    values = {
        "SCHEDULED_TIME": _rfc3339(scheduled, zone),
        "SCHEDULED_DATE": scheduled.astimezone(zone).date().isoformat(),
        "LAST_SUCCESSFUL_TIME": _rfc3339(last_successful, zone) if last_successful else NEVER,
    }
    return _REFERENCE.sub(lambda match: "$(" if match[1] else values.get(match[2], match[0]), message)


def _rfc3339(moment: datetime, zone: ZoneInfo) -> str:
    """An RFC 3339 time: ``2026-11-23T06:00:00+01:00``, in UTC ``2026-11-23T06:00:00Z``."""
    text = moment.astimezone(zone).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if zone.key == "UTC" else text
