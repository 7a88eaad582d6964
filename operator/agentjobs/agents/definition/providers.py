"""Retries of model clients, which agentjobs turns off: the queue retries. And their time-outs, where ADK hands none on.

For example, LiteLLM's OpenAI client answers a 429 by sleeping and trying again. It held a worker's slot for
14 s that way, and the queue never saw the 429. With ``max_retries=0`` it raises at once. So do the clients of Anthropic
and OpenAI, which ADK's own Claude and GPT models take, Apigee's, and that of Gemini's Interactions API. For google-genai's
own requests, GatePlugin (``run/budget.py``) turns retries off at each request. Runs in the executor.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.nodes import is_a, nodes_under

if TYPE_CHECKING:
    from google.adk.workflow import BaseNode

_MODULES = {
    "LiteLlm": "google.adk.models.lite_llm",
    "AnthropicLlm": "google.adk.models.anthropic_llm",
    "OpenAILlm": "google.adk.integrations.openai._openai_llm",
    "OpenAIResponsesLlm": "google.adk.integrations.openai._openai_responses_llm",
    "ApigeeLlm": "google.adk.models.apigee_llm",
    "FallbackModel": "google.adk.models._fallback_model",
    "Gemini": "google.adk.models.google_llm",
}
"""ADK's models that this is about. Not imported here: only an agent that has one pays for it."""
_CLIENTS = {
    "AnthropicLlm": "_anthropic_client",
    "OpenAILlm": "_openai_client",
    "OpenAIResponsesLlm": "_openai_client",
}
"""The models' clients that retry, and know no time-out of ADK's."""
_MADE = frozenset({"LiteLlm", "Claude", "OpenAILlm"})
"""Models that are made here where an agent only names them."""


def without_retries(root: BaseNode, timeout_seconds: float) -> None:
    """Switches off the retries of each model under ``root``, but for LiteLLM's ``max_retries`` where its author has set a
    number.

    :param timeout_seconds: longest time of a call of the models whose clients ADK gives no time-out.
    """
    for agent in nodes_under(root, wrapped=True):
        model = getattr(agent, "model", None)
        if isinstance(model, str) and (made := _made(model)) is not None:
            model = made
            agent.model = made
        _without_retries(model, timeout_seconds)


def _without_retries(model: Any, timeout_seconds: float) -> None:
    if _is(model, "FallbackModel"):
        model.models = [
            (_made(entry) or entry) if isinstance(entry, str) else entry for entry in model.models
        ]
        for entry in model.models:
            _without_retries(entry, timeout_seconds)
    if _is(model, "LiteLlm"):
        # LiteLLM prints advertisements beside each error. The first model call would import it anyway.
        setattr(importlib.import_module("litellm"), "suppress_debug_info", True)  # noqa: B010
        options = getattr(model, "_additional_args", None)
        if isinstance(options, dict):
            options.setdefault("max_retries", 0)
    if _is(model, "ApigeeLlm"):
        model.retry_options = None
    if _is(model, "Gemini") and model.use_interactions_api:
        _bound_interactions(model, timeout_seconds)
    for kind, client in _CLIENTS.items():
        if _is(model, kind):
            _bound(model, client, timeout_seconds)


def _made(model: str) -> Any:
    """The model of this name, if ADK would make one whose client retries. None: another, or an unknown one."""
    if not model or model.startswith(("gemini-", "echo")):
        return None
    from google.adk.models import LLMRegistry

    try:
        kind = LLMRegistry.resolve(model)
    except (ValueError, ImportError):  # the model call raises the same, with ADK's own advice
        return None
    return LLMRegistry.new_llm(model) if kind.__name__ in _MADE else None


def _bound(model: Any, name: str, timeout_seconds: float) -> None:
    try:
        client = getattr(model, name)
    except Exception:  # no key, for example: the model call raises it again
        return
    client.max_retries = 0
    own = client.timeout
    if not isinstance(own, int | float) or own > timeout_seconds:
        client.timeout = timeout_seconds


def _bound_interactions(model: Any, timeout_seconds: float) -> None:
    """Bounds the Interactions API of Gemini, which takes both from its client instead of from the request."""
    from google.genai.types import HttpRetryOptions

    try:
        options = model.api_client._api_client._http_options
    except Exception:  # no key, for example: the model call raises it again
        return
    options.retry_options = HttpRetryOptions(attempts=0)
    milliseconds = int(timeout_seconds * 1000)
    options.timeout = min(options.timeout or milliseconds, milliseconds)


def _is(model: object, kind: str) -> bool:
    return is_a(model, kind, _MODULES[kind])
