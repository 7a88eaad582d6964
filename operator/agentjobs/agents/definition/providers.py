"""Models' clients must not retry by themselves: a sleeping client holds a slot, and hides a 429 from the queue.

The gate does it per request for google-genai. LiteLLM's OpenAI client retries by itself besides (a 429 held a worker
for 14 s), unless ``max_retries`` is 0.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.adk.workflow import BaseNode


def without_retries(root: BaseNode) -> None:
    """Sets ``max_retries=0`` on every LiteLLM model under ``root`` that does not say otherwise."""
    for agent in agents_under(root):
        model = getattr(agent, "model", None)
        if isinstance(model, str) and "/" in model and (made := _lite_llm(model)) is not None:
            model = made
            agent.model = made
        if _is_lite_llm(model):
            # The first call imports it anyway. It prints advertisements beside each error.
            setattr(importlib.import_module("litellm"), "suppress_debug_info", True)  # noqa: B010
        options = getattr(model, "_additional_args", None) if _is_lite_llm(model) else None
        if isinstance(options, dict):
            options.setdefault("max_retries", 0)


def agents_under(root: Any) -> Iterator[Any]:
    """``root``, its sub-agents, and the agents that its tools wrap; each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        agent = waiting.pop()
        if agent is None or id(agent) in seen:
            continue
        seen.add(id(agent))
        yield agent
        waiting += list(getattr(agent, "sub_agents", None) or ())
        waiting += [getattr(tool, "agent", None) for tool in getattr(agent, "tools", None) or ()]


def _lite_llm(model: str) -> Any:
    from google.adk.models import LLMRegistry

    try:
        kind = LLMRegistry.resolve(model)
    except ValueError:  # unknown: the model call says so, with ADK's own advice
        return None
    return kind(model=model) if kind.__name__ == "LiteLlm" else None


def _is_lite_llm(model: object) -> bool:
    module = sys.modules.get("google.adk.models.lite_llm")
    return module is not None and isinstance(model, module.LiteLlm)
