"""The agents and nodes of an agent, found below its root. Runs in the executor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any


def nodes_under(root: Any, *, wrapped: bool = False) -> Iterator[Any]:
    """Each agent and node once: ``root``, its sub-agents, a workflow's nodes, and nodes that are an agent's tools.

    :param wrapped: also the agents that tools wrap (``AgentTool``), each of which runs in a session of its own.
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += _inner(node, wrapped=wrapped)


def _inner(node: Any, *, wrapped: bool) -> Iterator[Any]:
    from google.adk.workflow import BaseNode

    yield from getattr(node, "sub_agents", None) or ()
    graph = getattr(node, "graph", None)
    yield from graph.nodes if graph is not None else ()
    for tool in getattr(node, "tools", None) or ():
        if isinstance(found := getattr(tool, "node", tool), BaseNode):
            yield found
        elif wrapped:
            yield getattr(tool, "agent", None)


def is_a(thing: object, kind: str, module: str) -> bool:
    """Whether ``thing`` is of ADK's class ``kind`` in ``module``.

    The class is not imported, since each run would pay for that: if no module has imported it, nothing is one.
    """
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(thing, getattr(loaded, kind))
