"""Retries of model clients, which agentjobs turns off: the queue retries.

For example, LiteLLM's OpenAI client answers a 429 by sleeping and trying again. It held a worker's slot for
14 s that way, and the queue never saw the 429. With ``max_retries=0`` it raises at once. So does Anthropic's client,
which ADK's own Claude models take, and which knows no time-out of ADK's either. For google-genai, GatePlugin
(``run/budget.py``) turns retries off at each request. Runs in the executor.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.adk.workflow import BaseNode


def without_retries(root: BaseNode, timeout_seconds: float) -> None:
    """Sets ``max_retries=0`` on each LiteLLM model under ``root`` whose author has not set a number, and on each of
    ADK's Claude models.

    :param timeout_seconds: longest time of a call of Claude.
    """
    for agent in agents_under(root):
        model = getattr(agent, "model", None)
        if isinstance(model, str) and (made := _made(model)) is not None:
            model = made
            agent.model = made
        if _is_claude(model):
            _bound_claude(model, timeout_seconds)
        if _is_lite_llm(model):
            # LiteLLM prints advertisements beside each error. The first model call would import it anyway.
            setattr(importlib.import_module("litellm"), "suppress_debug_info", True)  # noqa: B010
        options = getattr(model, "_additional_args", None) if _is_lite_llm(model) else None
        if isinstance(options, dict):
            options.setdefault("max_retries", 0)


def agents_under(root: Any) -> Iterator[Any]:
    """Each agent once: ``root``, its sub-agents, and the agents that their tools wrap."""
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


def _made(model: str) -> Any:
    """The model of this name, if ADK would make one whose client retries. None: another, or an unknown one."""
    if "/" not in model and not model.startswith("claude-"):
        return None
    from google.adk.models import LLMRegistry

    try:
        kind = LLMRegistry.resolve(model)
    except (ValueError, ImportError):  # the model call raises the same, with ADK's own advice
        return None
    return kind(model=model) if kind.__name__ in ("LiteLlm", "Claude") else None


def _bound_claude(model: Any, timeout_seconds: float) -> None:
    try:
        client = model._anthropic_client
    except Exception:  # no key, for example: the model call raises it again
        return
    client.max_retries = 0
    own = client.timeout
    if not isinstance(own, int | float) or own > timeout_seconds:
        client.timeout = timeout_seconds


def _is_claude(model: object) -> bool:
    module = sys.modules.get("google.adk.models.anthropic_llm")
    return module is not None and isinstance(model, module.AnthropicLlm)


def _is_lite_llm(model: object) -> bool:
    module = sys.modules.get("google.adk.models.lite_llm")
    return module is not None and isinstance(model, module.LiteLlm)
