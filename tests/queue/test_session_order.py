"""The events of a session are read in the order in which they were written, whatever the clocks of the writers said.

A wrong order would send a tool's answer before its call to the model, which refuses such a conversation for ever.
"""

from __future__ import annotations

import itertools

import pytest
from google.adk.sessions import Session

from agentjobs.agents.sessions.fence import Fence, holding
from agentjobs.agents.sessions.service import JobSessions
from session_stores import said

CLOCKS = {
    "set back by an hour": (0, 1, -3600, -3599, 2),
    "on two machines that differ by 5 s": (0, -5, 0.1, -4.9, 0.2),
    "that stand still": (0, 0, 0, 0, 0),
    "that differ by less than a microsecond": (0, 1e-8, 2e-8, 3e-8, 4e-8),
    "far ahead, and then right": (86400 * 365, 0, 1, 2, 3),
}
NOW = 1_790_000_000.0


@pytest.mark.parametrize("clock", CLOCKS)
async def test_events_are_read_in_the_order_in_which_they_were_written(dsn: str, clock: str) -> None:
    wrong = 0
    for number in range(5):  # ids are random: by chance they may be in order
        ids = await written_by_turns(dsn, f"s{number}", CLOCKS[clock])
        reader = JobSessions(dsn)
        read = await reader.open(Fence("a", "u", f"s{number}", job="z", run=1, claim=99))
        wrong += [event.id for event in read.events] != ids
        times = [event.timestamp for event in read.events]
        wrong += times != sorted(set(times))
        await reader.release()
    assert not wrong


async def written_by_turns(dsn: str, session_id: str, offsets: tuple[float, ...]) -> list[str]:
    """Each event is written by a job of its own, in a process of its own."""
    ids = []
    for claim, offset in zip(itertools.count(1), offsets):
        writer = JobSessions(dsn)
        fence = Fence("a", "u", session_id, job=f"j{claim}", run=1, claim=claim)
        session: Session = await writer.open(fence)
        event = said(f"words {claim}")
        event.timestamp = NOW + offset
        token = holding.set(fence)
        await writer.append_event(session, event)
        holding.reset(token)
        ids.append(event.id)
        await writer.release()
    return ids
