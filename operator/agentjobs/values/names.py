"""Names, and the patterns that they follow."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import UUID

DNS_LABEL_PATTERN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
"""Pattern of a DNS label of any length: each field has its own maximum."""
_DNS_LABEL = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

OWN_SESSION_PREFIX = "job-"
"""Begin of the id of a job's own session; the uid follows. Users cannot choose such an id (H18)."""


def own_session(uid: UUID | str) -> str:
    """The id of a job's own session."""
    return f"{OWN_SESSION_PREFIX}{uid}"


def session_part(text: str) -> str:
    """A namespace, app, user or session id as it is written in a session's key: no slash is left in it."""
    return quote(text, safe="@:+,=", errors="surrogatepass")


def is_dns_label(text: str) -> bool:
    """Whether ``text`` is a DNS label of at most 63 characters (RFC 1123)."""
    return _DNS_LABEL.fullmatch(text) is not None
