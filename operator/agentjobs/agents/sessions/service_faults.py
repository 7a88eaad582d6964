"""Faults of a service by URI: which errors of its calls are those of its place, and not of what the agent asked. Pure."""

from __future__ import annotations

import errno

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import chain, names_of

_OF_NAMES = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP})  # fmt: skip
"""What a file system says of a name that an agent chose."""
_STATUSES = frozenset({401, 403, 404, 408, 425, 429})
"""Besides 5xx: no access, no such bucket (a file that is missing is no error), no time, too much."""
_OF_PLACES = frozenset(
    {
        "google.RetryError",
        "google.GoogleAuthError",
        "urllib3.HTTPError",
        "botocore.BotoCoreError",
        "psycopg.OperationalError",
        "sqlite3.OperationalError",
        "redis.ConnectionError",
    }
)
_TRANSPORT = (error_rules.UNREACHABLE, error_rules.TIMED_OUT)


def is_of_place(error: BaseException) -> bool:
    """Whether ``error`` says that the service's place is away, full, slow or denies access."""
    return any(_is_of_place(link) for link in chain(error))


def _is_of_place(error: BaseException) -> bool:
    names = names_of(error)
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _STATUSES
    if any(name in _OF_PLACES or error_rules.BY_CALL_CLASS.get(name) in _TRANSPORT for name in names):
        return True
    return isinstance(error, OSError) and error.errno not in _OF_NAMES


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, also where a response carries it. None: it has none."""
    response = getattr(error, "response", None)
    found = [getattr(error, name, None) for name in ("code", "status_code", "status")]
    found += [getattr(response, name, None) for name in ("status_code", "status")]
    if isinstance(response, dict):  # as of botocore
        found.append((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    return next((int(one) for one in found if isinstance(one, int) and 400 <= one <= 599), None)
