"""Under which invocation an attempt runs: what makes a retry continue instead of starting over (H21). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentjobs.values.names import own_session


def invocation_of(uid: str, round: int) -> str:
    """``job-<uid>``, in later rounds ``job-<uid>-r<n>``."""
    return own_session(uid) if round <= 1 else f"{own_session(uid)}-r{round}"


def choose(uid: str, round: int, history: Sequence[str]) -> str:
    """The invocation id of this attempt.

    A retried job goes on under the invocation of its last round, with its message and its finished tool calls,
    unless the conversation has gone on since: then its message is said again, as a new turn at the end.

    :param history: the invocation id of each event in the session, oldest first.
    """
    own = invocation_of(uid, round)
    if own in history:
        return own
    ours = {invocation_of(uid, r) for r in range(1, round)}
    said = [invocation for invocation in history if invocation]
    if said and said[-1] in ours:
        return said[-1]
    if not said:  # nothing was ever stored: the first name is free
        return invocation_of(uid, 1)
    return own
