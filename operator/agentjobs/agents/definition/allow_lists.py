"""Allow lists of a worker pool: modules that its jobs may import, models that their inline agents may name.

Whoever deploys the pool sets both lists; no field of a job can widen them (invariant 12). Checked in the
executor.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentInvalid, ModelNotAllowed, ModuleNotAllowed
from agentjobs.values.setting_names import both_names

# A model's name can choose a host: LiteLLM reads one from names such as huggingface/https://host, and the
# Gemini client puts the name into its URL's path.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,252}")


def module_allowed(module: str, allowed: Iterable[str]) -> bool:
    """Whether ``module`` is one of ``allowed``, or a submodule of one."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed if prefix)


def home_of(value: object) -> str:
    """The module that defines a function or class, also where another one imports it. Empty: not known."""
    plain: Any = inspect.unwrap(value) if callable(value) else value
    while isinstance(plain, functools.partial):
        plain = plain.func
    return str(getattr(plain, "__module__", None) or "")


def check_module(module: str, settings: AgentSettings) -> None:
    """Checks ``module`` against the pool's list.

    :raises ModuleNotAllowed: with the pool, its list and the setting in the message.
    """
    if module_allowed(module, settings.modules):
        return
    listed = ", ".join(settings.modules) or "none"
    if settings.local:
        raise ModuleNotAllowed(
            f"agent.module: {module!r} is not allowed in this run, whose manifests name: {listed}. Name one of these."
        )
    raise ModuleNotAllowed(
        f"agent.module: {module!r} is not allowed in worker pool {settings.pool!r}, which allows: {listed}. "
        f"Name one of these, send the job to a queue of another pool, or have the module added to "
        f"{both_names('modules', pool=settings.pool)}."
    )


def check_model(model: object, settings: AgentSettings) -> str:
    """The model's name, once it is known to be allowed in the pool.

    :raises AgentInvalid: ``model`` is not the name of any model.
    :raises ModelNotAllowed: with the pool, its list and the setting in the message.
    """
    if not isinstance(model, str) or not model:
        raise AgentInvalid(
            f"agent.inline.model: {_shown(model)} is no model's name. Write one such as gemini-2.5-flash or echo."
        )
    if not _MODEL.fullmatch(model) or "//" in model or ".." in model:
        raise AgentInvalid(
            f"agent.inline.model: {_shown(model)} is no model's name: only letters, digits and . _ : @ + - / are "
            f"allowed, and neither // nor .. . A model's host is set by the worker, never by a job."
        )
    if any(fnmatchcase(model, pattern) for pattern in settings.models):
        return model
    listed = ", ".join(settings.models) or "none"
    if settings.local:
        raise ModelNotAllowed(
            f"agent.inline.model: {model!r} is not allowed in this run, whose manifests name: {listed}. Name one of these."
        )
    raise ModelNotAllowed(
        f"agent.inline.model: {model!r} is not allowed in worker pool {settings.pool!r}, which allows: {listed}. "
        f"Name one of these, send the job to a queue of another pool, or have the model added to "
        f"{both_names('models', pool=settings.pool)}."
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
