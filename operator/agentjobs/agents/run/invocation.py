"""The invocation id of an attempt. A retry takes that of the run before it, and so continues it (H21)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentjobs.values.names import own_session


def invocation_of(uid: str, round: int) -> str:
    """The own invocation id of a round: ``job-<uid>``, in later rounds ``job-<uid>-r<n>``."""
    return own_session(uid) if round <= 1 else f"{own_session(uid)}-r{round}"


def has_spoken(uid: str, history: Iterable[str]) -> bool:
    """Whether a run of the job, of any round, has stored its message in the session.

    :param history: the invocation id of each event in the session.
    """
    own = own_session(uid)
    return any(invocation == own or invocation.startswith(f"{own}-r") for invocation in history)


def choose(uid: str, round: int, history: Sequence[str]) -> str:
    """The invocation id of this attempt.

    For example, a job failed after two tool calls and somebody retries it. Its next round goes on under the
    invocation of the last one, with the stored message and the finished tool calls. If another job has
    written to the session since, the round begins an invocation of its own instead: the message is sent
    again, as a new turn at the end.

    :param history: the invocation id of each event in the session, oldest first.
    """
    own = invocation_of(uid, round)
    if own in history:
        return own
    ours = {invocation_of(uid, r) for r in range(1, round)}
    said = [invocation for invocation in history if invocation]
    if said and said[-1] in ours:
        return said[-1]
    if not said:  # no event was ever stored, so the first round's id is free
        return invocation_of(uid, 1)
    return own
