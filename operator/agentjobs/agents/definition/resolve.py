"""Agents from modules: the executor finds the ADK agent that ``spec.agent.module`` names.

The reference has the form ``pkg.mod[:attr]``. Without ``:attr`` the first of these counts, looked for in the
module, then in its submodule ``agent``, where ``adk create`` puts it:

1. ``app``, an ADK ``App``
2. ``root_agent``
3. ``agent``: a function without arguments, sync or async, that returns one of these, or the agent itself

Where there is none of these, the file ``root_agent.yaml`` in the module's folder describes the agent, as for ADK's loader.

The agent may be any root that ADK's runner takes: an ``LlmAgent``, a workflow agent, a node, or an instance
of the author's own subclass of ``BaseAgent``.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition import yaml_agents
from agentjobs.agents.definition.allow_lists import check_module, home_of, module_allowed
from agentjobs.agents.definition.importing import import_module, missing_variable, told, unset
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.definition.yaml_files import ROOT, root_file
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, AgentNotFound, ModuleNotAllowed
from agentjobs.values.setting_names import both_names

if TYPE_CHECKING:
    from google.adk.apps import App
    from google.adk.workflow import BaseNode

NAMES = ("app", "root_agent", "agent")
"""Attributes of a module that may hold its agent, in the order in which they are looked for."""
_REFERENCE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::(?P<attr>[A-Za-z]\w*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A resolved agent."""

    root: BaseNode
    app: App | None = None
    """The author's own App, with its plugins and configuration. None: the module has only an agent."""


def parse(reference: str) -> tuple[str, str | None]:
    """The module and the attribute of a reference ``pkg.mod[:attr]``; without ``:attr`` the latter is None.

    :raises AgentInvalid: the reference has another form.
    """
    match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None or len(reference) > 512:
        raise AgentInvalid(
            f"agent.module: {str(reference)[:80]!r} is not of the form package.module[:attribute]. "
            f"Write the importable name, such as my_agents.weather or my_agents.weather:root_agent."
        )
    return match["module"], match["attr"]


async def resolve(reference: str, settings: AgentSettings) -> Resolved:
    """The agent that ``reference`` names.

    :raises ModuleNotAllowed: the pool does not allow the module.
    :raises AgentNotFound: there is no such module, or it has nothing to run.
    :raises AgentInvalid: the module fails at import, or what it has is no agent.
    """
    name, attr = parse(reference)
    check_module(name, settings)
    module = import_module(name, settings)
    if attr is not None:
        if not hasattr(module, attr):
            inner = f"{name}.agent"  # where `adk create` puts it
            place = f"It is in {inner}: {inner}:{attr}. " if hasattr(sys.modules.get(inner), attr) else ""
            if attr in NAMES and root_file(getattr(module, "__path__", ())):
                place = f"Its agent is in {ROOT}: {name}. "
            known = _public(module)
            has = f"It has: {known}. {place}Name one of these, or leave" if known else f"{place}Leave"
            raise AgentNotFound(
                f"agent.module: {name} has no attribute {attr!r}. {has} the attribute out to use app, root_agent or agent()."
            )
        return await _usable(getattr(module, attr), f"{name}:{attr}", settings)
    for where, value in _in_python(module, settings):
        return await _usable(value, where, settings)
    if file := yaml_file_of(module, settings):
        return Resolved(root=yaml_agents.build(file, settings, package=name))
    looked = [
        f"{candidate.__name__}:{found}" for candidate in _candidates(module, settings) for found in NAMES
    ]
    if near := _agents_near(_candidates(module, settings)):
        raise AgentNotFound(
            f"agent.module: {name} was imported, but it has no {', '.join(NAMES)}: looked for {', '.join(looked)}. "
            f"Did you mean {' or '.join(near)}? Name it so, or call it root_agent."
        )
    raise AgentNotFound(
        f"agent.module: {name} was imported, but there is nothing to run in it: looked for {', '.join(looked)}; "
        f"it has {_public(module) or 'nothing public'}. Define root_agent, app or agent() there, or name the attribute: {name}:NAME."
    )


def yaml_file_of(module: types.ModuleType, settings: AgentSettings) -> Path | None:
    """The ``root_agent.yaml`` that is the module's agent. None: it has none, or an agent in Python, which comes first."""
    file = root_file(getattr(module, "__path__", ()))
    return None if file is None or any(True for _ in _in_python(module, settings)) else file


def _in_python(module: types.ModuleType, settings: AgentSettings) -> Iterator[tuple[str, Any]]:
    """What could be the module's agent, as ``module:attribute`` and value, in the order in which they are looked for."""
    for candidate in _candidates(module, settings):
        for found in NAMES:
            value = getattr(candidate, found, None)
            # `from . import agent` makes the submodule the attribute `agent`: _candidates has it as a module
            if value is not None and not isinstance(value, types.ModuleType):
                yield f"{candidate.__name__}:{found}", value


def _candidates(module: types.ModuleType, settings: AgentSettings) -> list[types.ModuleType]:
    found = [module]
    inner = f"{module.__name__}.agent"
    if (
        getattr(module, "__path__", None) is not None
        and module_allowed(inner, settings.modules)
        and importlib.util.find_spec(inner) is not None
    ):
        found.append(import_module(inner, settings))
    return found


def _agents_near(modules: list[types.ModuleType]) -> list[str]:
    """References to what could have been meant: agents of these modules under other names, and modules one level down that
    assign one of ``NAMES``. Nothing more is imported for it."""
    from google.adk.apps import App
    from google.adk.workflow import BaseNode

    found = [
        f"{module.__name__}:{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, App | BaseNode) and not name.startswith("_")
    ]
    for module in modules:
        for below in pkgutil.iter_modules(getattr(module, "__path__", ())):
            inner = f"{module.__name__}.{below.name}"
            spec = importlib.util.find_spec(inner) if inner not in {m.__name__ for m in modules} else None
            if spec is not None and spec.origin is not None and _assigned(Path(spec.origin)) & {*NAMES}:
                found.append(inner)
    return found[:5]


def _assigned(file: Path) -> set[str]:
    """Names that a Python file assigns or defines at its top. Empty: it cannot be read."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return set()
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return functions | {target.id for target in targets if isinstance(target, ast.Name)}


async def _usable(value: Any, where: str, settings: AgentSettings) -> Resolved:
    from google.adk.apps import App
    from google.adk.workflow import BaseNode

    if not isinstance(value, App | BaseNode) and callable(value):
        value = await _made(value, where, settings)
    if isinstance(value, App) and value.root_agent is not None:
        return Resolved(root=value.root_agent, app=value)
    if isinstance(value, BaseNode):
        return Resolved(root=value)
    raise AgentInvalid(
        f"agent.module: {where} is of type {type(value).__name__}, not an ADK agent or App. "
        f"It must be one, or a function without arguments that returns one."
    )


async def _made(factory: Any, where: str, settings: AgentSettings) -> Any:
    """The agent that the function ``factory`` makes.

    For example, ``my_agents.tools:rmtree`` must not call ``shutil.rmtree`` only because my_agents.tools
    imported it: only a function that an allowed module defines is called.
    """
    if inspect.isclass(factory):
        raise AgentInvalid(
            f"agent.module: {where} is the class {factory.__name__}, not an agent. Name an instance, or a function "
            f"that returns one."
        )
    home = home_of(factory)
    if not module_allowed(home, settings.modules):
        way_out = (
            ""
            if settings.local
            else f", or have its module added to {both_names('modules', pool=settings.pool)}"
        )
        raise ModuleNotAllowed(
            f"agent.module: {where} is a function of module {home or 'unknown'!r}, which "
            f"{'this run' if settings.local else f'worker pool {settings.pool!r}'} does not allow "
            f"(it allows: {', '.join(settings.modules) or 'none'}). Define the function in an allowed module{way_out}."
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise AgentInvalid(
            f"agent.module: {where} is called without arguments, and needs some: {error}. Give them defaults."
        ) from error
    except ValueError:  # a builtin without a signature: the call below raises where it wants arguments
        pass
    try:
        made = factory()
        return await made if inspect.isawaitable(made) else made
    except AgentError:
        raise
    except (Exception, SystemExit) as error:
        if variable := missing_variable(error):
            raise AgentInvalid(
                f"agent.module: {where}() failed: it reads the environment variable {variable!r}, which "
                f"{unset(settings)}, or give it a default in the function."
            ) from error
        raise AgentInvalid(
            f"agent.module: {where}() failed: {told(error, where)}. Correct the function."
        ) from error


def _public(module: types.ModuleType) -> str:
    names = [
        n for n, v in vars(module).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)
    ]
    return ", ".join(sorted(names)[:20]) + (", …" if len(names) > 20 else "")
