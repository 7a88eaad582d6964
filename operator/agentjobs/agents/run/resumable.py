"""Where ADK can go on after an answer: the places in an agent that may wait for one.

ADK finds the place of an LLM agent, and of a workflow's node, in the session's events. It does not for what is inside
a loop, parallel agents or an agent of the author's own. The steps of a sequence are our doing:
``continuation.remaining`` runs those after the one that asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from agentjobs.agents.definition.nodes import is_a, nodes_under
from agentjobs.agents.run.events import CREDENTIAL

if TYPE_CHECKING:
    from google.adk.agents import SequentialAgent
    from google.adk.events.event import Event
    from google.adk.workflow import BaseNode


def refusal(root: BaseNode, event: Event, *, lasts: bool) -> str:
    """The reason why no run could go on after an answer to what ``event`` waits for. Empty: one could, or it waits for nothing.

    :param lasts: whether the session outlives the process.
    """
    waiting = [
        call for call in event.get_function_calls() if call.id in (event.long_running_tool_ids or set())
    ]
    if not waiting:
        return ""
    if any(call.name == CREDENTIAL for call in waiting):
        return "ADK asks for credentials, which no answer can hold: give them to the pool's worker instead"
    return why_not(root, event.author, lasts=lasts)


def why_not(root: BaseNode, author: str, *, lasts: bool) -> str:
    """The reason why no run could go on after an answer to agent ``author``. Empty: one could."""
    if not lasts:
        return "sessions are kept in memory: give the worker a session store"
    if is_sequence(root):
        steps = {step.name: step for step in root.sub_agents}
        if author in steps and _lone(steps[author]):
            return ""
        return (
            f"agent {author!r} is not an LLM agent without sub-agents that is a step of the sequence itself"
        )
    around = next((kind for kind, names in _closed(root) if author in names), "")
    return f"agent {author!r} is in a {around}, where ADK cannot go on later" if around else ""


def is_sequence(root: BaseNode) -> TypeGuard[SequentialAgent]:
    """Whether ``root`` is ADK's SequentialAgent."""
    return is_a(root, "SequentialAgent", "google.adk.agents.sequential_agent")


def speaks_alone(root: Any) -> bool:
    """Whether one agent speaks at a time: chatting LLM agents, which hand over to each other, or steps of a sequence."""
    return all(_chats(node) or is_sequence(node) for node in nodes_under(root))


def _closed(root: Any) -> Iterator[tuple[str, set[str]]]:
    """The agents in which ADK cannot go on: the class of each, and the names of all that is in it."""
    from google.adk.agents import BaseAgent, LlmAgent

    for node in nodes_under(root):
        if isinstance(node, BaseAgent) and not isinstance(node, LlmAgent):
            yield type(node).__name__, {inner.name for inner in nodes_under(node)}


def _lone(step: Any) -> bool:
    return _chats(step) and not step.sub_agents


def _chats(node: Any) -> bool:
    """Whether ``node`` is an LLM agent in chat mode."""
    from google.adk.agents import LlmAgent

    return isinstance(node, LlmAgent) and node.mode in (None, "chat")
