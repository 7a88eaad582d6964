"""What every run would do again, done once in the template for all that are forked from it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.allow import module_allowed
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.prefork import standby

if TYPE_CHECKING:
    from google.adk.agents import BaseAgent

_OPTIONAL = "google.adk.agents.remote_a2a_agent"
"""ADK tries this import at the start of every run; without the package a2a it fails, and Python remembers no failure."""
_NEEDS = "a2a"


class _Absent(MetaPathFinder):
    """Says at once what the import would say after it has loaded two files."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname == _OPTIONAL and importlib.util.find_spec(_NEEDS) is None:
            raise ModuleNotFoundError(f"No module named {_NEEDS!r}", name=_NEEDS)
        return None


def import_optional() -> None:
    """ADK's optional part is loaded, or its absence is known (measured: 2.5 ms and 250 page faults a run)."""
    try:
        importlib.import_module(_OPTIONAL)
    except ImportError:
        if not any(isinstance(finder, _Absent) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Absent())


def declare_tools(settings: AgentSettings) -> None:
    """ADK has the declarations of all tools that preloaded agents have, as far as they are plain functions (measured:
    2.5 ms and 220 page faults a tool and run), and of the one that a standby runs. Agents that a function makes are
    not known yet: their runs declare their own."""
    from google.adk.agents import LlmAgent
    from google.adk.tools.function_tool import FunctionTool

    for agent in [standby.agent(), *_agents(settings)]:
        for tool in agent.tools if isinstance(agent, LlmAgent) else ():
            with contextlib.suppress(Exception):  # the run says what is wrong with it
                if inspect.isfunction(tool):
                    FunctionTool(tool)._get_declaration()
                elif type(tool) is FunctionTool:
                    tool._get_declaration()


def _agents(settings: AgentSettings) -> Iterator[BaseAgent]:
    """Those in the variables of imported modules that the pool allows, and all below them."""
    from google.adk.agents import BaseAgent
    from google.adk.apps import App

    modules = [
        module
        for name, module in list(sys.modules.items())
        if module_allowed(name, settings.modules) and isinstance(module, ModuleType)
    ]
    # by type(): a proxy's __class__ may be anything, or fail
    todo = [value for m in modules for value in vars(m).values() if issubclass(type(value), App | BaseAgent)]
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        agent = value.root_agent if isinstance(value, App) else value
        if isinstance(agent, BaseAgent) and id(agent) not in seen:
            seen.add(id(agent))
            yield agent
            todo.extend(agent.sub_agents)
