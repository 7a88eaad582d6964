"""An agent whose tool fails in the first two attempts, and works in the third."""

from __future__ import annotations

from google.adk.agents import LlmAgent

from agentjobs.agents.context import current_job


class Unreachable(Exception):
    """What a busy service does to its callers."""


def book_table(guests: int) -> str:
    """Book a table.

    Args:
        guests: how many people will come.
    """
    job = current_job()
    if job.attempt < 3:
        raise Unreachable(f"the restaurant does not answer (attempt {job.attempt})")
    # A tool that runs again after a crash must not book twice: the key is the same in every attempt.
    print(f"booking with idempotency key {job.key('book_table', guests)}")
    return f"A table for {guests} is booked."


def agent() -> LlmAgent:
    """Made anew for every run. A module may define this function instead of ``root_agent``."""
    return LlmAgent(
        name="flaky",
        model="echo",
        instruction="Book what the user wants with book_table.",
        tools=[book_table],
    )
