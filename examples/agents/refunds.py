"""An agent that looks up orders by itself, and gives money back only after a person's yes."""

from __future__ import annotations

from google.adk.agents import LlmAgent
from google.adk.tools import FunctionTool

from agentjobs.agents.context import current_job


def find_order(order: str) -> dict[str, object]:
    """Looks an order up."""
    return {"order": order, "euros": 40, "state": "delivered"}


def refund(order: str, euros: int) -> dict[str, object]:
    """Gives the money for an order back."""
    # by the key the bank knows that a repeated call is the same refund
    key = current_job().key("refund", order)
    return {"refunded": euros, "order": order, "key": key[:12]}


root_agent = LlmAgent(
    name="refunds",
    model="echo",  # e.g. gemini-2.5-flash, with a key in the worker's environment
    instruction="Answer customers. Look orders up before you refund them.",
    tools=[find_order, FunctionTool(refund, require_confirmation=True)],
)
