"""The process's limit on open files, connections included."""

from __future__ import annotations

import resource


def allow_open_files(needed: int) -> int:
    """Raises this process's limit on open files to ``needed``, as far as its hard limit goes; returns the limit.

    No further: some programs walk over all numbers below the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return needed if soft == resource.RLIM_INFINITY else soft
