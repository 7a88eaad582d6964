"""What a schedule puts into its jobs' message: a model does not know what time it is."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

NEVER = "never"
"""What ``$(LAST_SUCCESSFUL_TIME)`` becomes before the first success."""

_REFERENCE = re.compile(r"(\$\$\()|\$\(([A-Za-z0-9_.-]+)\)")


def expand(message: str, zone: ZoneInfo, scheduled: datetime, last_successful: datetime | None) -> str:
    """``message`` with its references replaced, in the schedule's zone; ``$$(`` becomes ``$(``.

    ``$(SCHEDULED_TIME)`` and ``$(LAST_SUCCESSFUL_TIME)`` become RFC 3339 times with the zone's offset and whole
    seconds, ``$(SCHEDULED_DATE)`` the date of the first. Other names stay as they are, as in a container's args.
    What is put in is not looked at again. A time is up to 8 characters longer than its reference.
    """
    values = {
        "SCHEDULED_TIME": _rfc3339(scheduled, zone),
        "SCHEDULED_DATE": scheduled.astimezone(zone).date().isoformat(),
        "LAST_SUCCESSFUL_TIME": _rfc3339(last_successful, zone) if last_successful else NEVER,
    }
    return _REFERENCE.sub(lambda match: "$(" if match[1] else values.get(match[2], match[0]), message)


def _rfc3339(moment: datetime, zone: ZoneInfo) -> str:
    """2026-11-23T06:00:00+01:00; in UTC 2026-11-23T06:00:00Z."""
    text = moment.astimezone(zone).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if zone.key == "UTC" else text
