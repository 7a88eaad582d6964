"""An agent whose tool fails in the first two attempts, and works in the third."""

from __future__ import annotations

from google.adk.agents import LlmAgent

from agentjobs.agents.context import current_job


class Unreachable(Exception):
    """The error of a service that does not answer."""


def book_table(guests: int) -> str:
    """Book a table.

    Args:
        guests: how many people will come.
    """
    job = current_job()
    if job.attempt < 3:
        raise Unreachable(f"the restaurant does not answer (attempt {job.attempt})")
    # The key is the same in every attempt, so a call that is repeated after a crash does not book twice.
    print(f"booking with idempotency key {job.key('book_table', guests)}")
    return f"A table for {guests} is booked."


def agent() -> LlmAgent:
    """The agent, made for each run. A module may define this function instead of ``root_agent``."""
    return LlmAgent(
        name="flaky",
        model="echo",
        instruction="Book what the user wants with book_table.",
        tools=[book_table],
    )
