"""What the data of a yaml agent names: code by its dotted name, and other files. Nothing is imported for it.

ADK's loader (``google.adk.agents.config_agent_utils``) decides by the types of a class's fields which values are names. Here
the fields of ADK's own classes are known by their names; a name in a field of somebody's own class is met when ADK
resolves it (``yaml_agents``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a value names."""

    FILE = "file"
    CLASS = "class"
    TOOL = "tool"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Named:
    """A value that names something."""

    field: str
    """Where in the file, such as ``tools[0].name``."""
    value: str
    kind: Kind


_CODE = ("_code", "_callback", "_callbacks", "input_schema", "output_schema", "state_schema")
"""Ends of the keys whose values name code."""
_ARGUMENTS = {
    "AgentTool": "agent",
    "ExampleTool": "examples",
    "FunctionTool": "func",
    "LongRunningFunctionTool": "func",
    "LangchainTool": "tool",
    "CrewaiTool": "tool",
}
"""Class of a tool of ADK's → the argument that names code, or an agent."""
_NODES = ("agent_class", "config_path", "func_code", "name")
"""Keys by which a mapping among a workflow's edges is a node and not a table of routes."""
_EDGE = ("from_node", "to_node")
"""Keys of an edge that is written out; its route is no node."""


def named_in(agent: Mapping[Any, Any], package: str, at: str = "") -> Iterator[Named]:
    """The values of an agent's mapping that name something.

    :param package: name of the file's folder: ADK puts it before a name that begins with a dot.
    :param at: the mapping's place in its file.
    """
    for key, value in agent.items():
        field = f"{at}{key}"
        if key == "agent_class":
            yield from _text(field, value, Kind.CLASS)
        elif key == "tools":
            for place, tool in _items(field, value):
                yield from _tool(place, tool)
        elif key == "sub_agents":
            for place, one in _items(field, value):
                yield from _agent(place, one)
        elif key == "edges":
            yield from _nodes(field, value, package)
        elif key == "model":  # a text is a model's name
            yield from _code(field, value, package) if isinstance(value, Mapping) else ()
        elif isinstance(key, str) and key.endswith(_CODE):
            yield from _code(field, value, package)


def is_dotted(name: str) -> bool:
    """Whether each part of ``name`` between dots may be a name of Python's."""
    return all(part.isidentifier() for part in name.split("."))


def _items(field: str, value: object) -> Iterator[tuple[str, Any]]:
    for number, one in enumerate(value if isinstance(value, list) else ()):
        yield f"{field}[{number}]", one


def _text(field: str, value: object, kind: Kind) -> Iterator[Named]:
    if isinstance(value, str) and value:
        yield Named(field, value, kind)


def _code(field: str, value: object, package: str = "") -> Iterator[Named]:
    if isinstance(value, Mapping):
        yield from _code(f"{field}.name", value["name"], package) if "name" in value else ()
    elif isinstance(value, list):
        for place, one in _items(field, value):
            yield from _code(place, one, package)
    elif isinstance(value, str):
        yield from _text(field, f"{package}{value}" if value.startswith(".") else value, Kind.CODE)


def _agent(field: str, value: object) -> Iterator[Named]:
    if isinstance(value, Mapping):
        yield from _text(f"{field}.config_path", value.get("config_path"), Kind.FILE)
        yield from _text(f"{field}.code", value.get("code"), Kind.CODE)
    else:
        yield from _text(field, value, Kind.FILE)


def _tool(field: str, value: object) -> Iterator[Named]:
    if not isinstance(value, Mapping):
        yield from _text(field, value, Kind.TOOL)
        return
    name, arguments = value.get("name"), value.get("args")
    yield from _text(f"{field}.name", name, Kind.TOOL)
    argument = _ARGUMENTS.get(str(name).rpartition(".")[2])
    if argument is not None and isinstance(arguments, Mapping):
        place, given = f"{field}.args.{argument}", arguments.get(argument)
        if isinstance(given, Mapping):
            yield from _agent(place, given)
        elif argument != "agent":  # ADK wants a mapping there
            yield from _text(place, given, Kind.CODE)


def _nodes(field: str, value: object, package: str) -> Iterator[Named]:
    """The names in a workflow's edges: chains, routes, agents that are written there, files and functions."""
    if isinstance(value, list):
        for place, one in _items(field, value):
            yield from _nodes(place, one, package)
    elif isinstance(value, Mapping):
        if any(key in value for key in _NODES) or [*value] == ["code"]:
            yield from _agent(field, value)
            yield from named_in(value, package, f"{field}.")
        else:
            for key, one in value.items():
                if not {*_EDGE} <= {*value} or key in _EDGE:
                    yield from _nodes(f"{field}.{key}", one, package)
    elif isinstance(value, str):
        if value.endswith((".yaml", ".yml")):
            yield Named(field, value, Kind.FILE)
        elif "." in value and is_dotted(value.removeprefix(".")):
            yield from _code(field, value, package)
