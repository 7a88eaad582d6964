"""Toolsets of a run: the executor hears of each that does not load.

ADK drops such a toolset and lets the model answer without its tools. For example, an MCP server is restarted just
then. So each toolset of an agent that begins is asked through :func:`watch`, which tells and then raises the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.adk.agents.readonly_context import ReadonlyContext
    from google.adk.tools.base_tool import BaseTool
    from google.adk.tools.base_toolset import BaseToolset

OnLost = Callable[[str, Exception], None]
"""(the toolset as people know it, the error)."""

_on_lost: ContextVar[OnLost | None] = ContextVar("agentjobs_toolset_lost", default=None)
_ASKED = "get_tools_with_prefix"


def watch(agent: Any) -> None:
    """Watches the toolsets in the agent's ``tools``. One is watched once, however many agents and runs share it."""
    from google.adk.tools.base_toolset import BaseToolset

    for tool in getattr(agent, "tools", None) or ():
        if isinstance(tool, BaseToolset) and _ASKED not in vars(tool):
            setattr(tool, _ASKED, partial(_load, tool))


@contextmanager
def telling(on_lost: OnLost) -> Iterator[None]:
    """Calls ``on_lost`` for toolsets that do not load in this task, and in the tasks and threads that it starts."""
    token = _on_lost.set(on_lost)
    try:
        yield
    finally:
        _on_lost.reset(token)


async def _load(toolset: BaseToolset, context: ReadonlyContext | None = None) -> list[BaseTool]:
    try:
        return await type(toolset).get_tools_with_prefix(toolset, context)
    except Exception as error:
        if (on_lost := _on_lost.get()) is not None:
            prefix = f" (prefix {toolset.tool_name_prefix!r})" if toolset.tool_name_prefix else ""
            agent = f" of agent {context.agent_name!r}" if context is not None else ""
            on_lost(f"Toolset {type(toolset).__name__!r}{prefix}{agent}", error)
        raise
