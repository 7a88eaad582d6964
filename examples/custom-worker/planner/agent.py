"""An agent that plans trips. An AgentJob names this module, ``planner.agent``."""

from __future__ import annotations

from google.adk.agents import LlmAgent

HOURS_BY_TRAIN = {("Lisbon", "Porto"): 3, ("Berlin", "Prague"): 4}


def find_train(start: str, end: str) -> dict[str, object]:
    """How long the train takes.

    Args:
        start: the city to leave from.
        end: the city to go to.
    """
    hours = HOURS_BY_TRAIN.get((start, end)) or HOURS_BY_TRAIN.get((end, start))
    return {"hours": hours} if hours else {"error": f"no train from {start} to {end}"}


root_agent = LlmAgent(
    name="planner",
    model="echo",  # with a model key in the pool's env: "gemini-2.5-flash"
    description="Plans trips by train.",
    instruction="Look every connection up with find_train, then answer in one sentence.",
    tools=[find_train],
)
