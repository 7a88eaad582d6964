"""The files of a yaml agent: ``root_agent.yaml`` and those below it that ``config_path`` names, read without importing anything.

ADK reads the same files afterwards. Here they are bounded first: a few lines of YAML can stand for gigabytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agentjobs.agents.definition.yaml_references import Kind, Named, named_in
from agentjobs.agents.verdict.errors import AgentInvalid

ROOT = "root_agent.yaml"
"""Name of the file that `adk create --type config` makes."""
MAX_FILE_BYTES = 1024 * 1024
MAX_VALUES = 20_000
"""Keys and values of a file, those that an alias repeats counted each time."""
MAX_AGENTS = 500
"""Agents of a tree: a file that is named twice makes two."""
MAX_DEPTH = 40
"""Agents below each other: ADK builds them by recursion."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One dotted name in a file."""

    file: Path
    field: str
    name: str
    kind: Kind

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]


@dataclass(slots=True)
class _Reading:
    root: Path
    read: dict[Path, Mapping[Any, Any]] = field(default_factory=dict)
    references: dict[tuple[Path, str], Reference] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    agents: int = 0


class _Refused(Exception):
    """A file is not read, and why."""


def root_file(folders: Iterable[str | Path]) -> Path | None:
    """The first ``root_agent.yaml`` in ``folders``, as an absolute path. None: there is none."""
    files = (Path(os.path.abspath(folder)) / ROOT for folder in folders)
    return next((file for file in files if os.path.lexists(file)), None)


def shown(file: Path, root: Path) -> str:
    """A file of the agent of ``root`` in messages: with the name of the agent's folder, without what is above it."""
    for folder in (root.parent, root.parent.resolve()):
        if file.is_relative_to(folder):
            return f"{root.parent.name}/{file.relative_to(folder)}"
    return str(file)


def references_in(root: Path) -> list[Reference]:
    """The dotted names in ``root`` and in the files that it names, over any number of files.

    :raises AgentInvalid: with each problem of each file on a line: one that cannot be read, is no YAML mapping, is too large,
        leaves its folder, or names itself.
    """
    reading = _Reading(root)
    _read(root, (), reading)
    if reading.problems:
        raise AgentInvalid(
            "\n".join(f"agent.module: {problem}" for problem in dict.fromkeys(reading.problems))
        )
    return list(reading.references.values())


def _read(file: Path, above: tuple[Path, ...], reading: _Reading) -> None:
    reading.agents += 1
    if reading.agents > MAX_AGENTS:
        reading.problems.append(
            f"{shown(reading.root, reading.root)}: more than {MAX_AGENTS} agents. Make it smaller."
        )
        return
    try:
        data = reading.read.get(file) or _mapping(file)
    except _Refused as why:
        reading.problems.append(f"{shown(file, reading.root)}: {why}")
        return
    reading.read[file] = data
    trail = (*above, file)
    for named in named_in(data, file.parent.name):
        if named.kind is not Kind.FILE:
            reading.references[file, named.field] = Reference(file, named.field, named.value, named.kind)
            continue
        try:
            inner = _below(file, named)
            if inner in [one.resolve() for one in trail]:
                chain = " → ".join(shown(one, reading.root) for one in (*trail, inner))
                raise _Refused(f"the files name each other in a circle: {chain}. Take one of them out.")
            if len(trail) >= MAX_DEPTH:
                raise _Refused(f"more than {MAX_DEPTH} agents below each other. Make it flatter.")
        except _Refused as why:
            reading.problems.append(f"{shown(file, reading.root)}: {named.field}: {why}")
            continue
        if reading.agents <= MAX_AGENTS:
            _read(inner, trail, reading)


def _below(file: Path, named: Named) -> Path:
    """The file that ``named`` means. It is in the folder of ``file`` or below, as ADK demands."""
    path = named.value[:200]
    try:
        folder, inner = file.parent.resolve(), (file.parent / named.value).resolve()
        is_file = inner.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, a circle of links
        raise _Refused(f"{path!r} is no file's path: {error}. Correct it.") from error
    if os.path.isabs(named.value) or not inner.is_relative_to(folder):
        raise _Refused(
            f"{path!r} is absolute, or leads out of the file's folder. Keep the agent's files in its folder, and name them "
            f"from there."
        )
    if not is_file:
        raise _Refused(
            f"there is no file {path!r} beside it. Correct the name; it is looked for from the file's folder."
        )
    return inner


def _mapping(file: Path) -> Mapping[Any, Any]:
    text = _text(file)
    loader = yaml.SafeLoader(text)  # as ADK's
    try:
        node = loader.get_single_node()
        if node is not None and (problem := _too_much(node)):
            raise _Refused(problem)
        data = loader.construct_document(node) if node is not None else None
    except _Refused:
        raise
    except RecursionError as error:
        raise _Refused("it is nested too deep. Make it flatter.") from error
    except (
        Exception
    ) as error:  # besides its own errors PyYAML raises what int(), a date or a table of words raise
        words = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise _Refused(
            f"it is not YAML that ADK reads: {words[:500] or type(error).__name__}. Correct it."
        ) from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        what = "empty" if data is None else f"a {type(data).__name__}"
        raise _Refused(
            f"it is {what}, and an agent is a mapping. Write keys and values: name, model, instruction."
        )
    return data


def _text(file: Path) -> str:
    try:
        info = file.stat()
        if not stat.S_ISREG(info.st_mode):  # a pipe would be waited for
            raise _Refused("it is no regular file. Write the agent as one.")
        if info.st_size > MAX_FILE_BYTES:
            raise _Refused(f"{info.st_size} bytes; at most {MAX_FILE_BYTES}. Shorten it.")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise _Refused(f"it cannot be read: {error.strerror}. Make it readable, or leave it out.") from error
    except UnicodeDecodeError as error:
        raise _Refused("it is not UTF-8 text. Save it as UTF-8.") from error


def _too_much(node: yaml.Node) -> str:
    """Why a document is not to be constructed. Empty: it is."""
    try:
        values = _values(node, {})
    except ValueError as error:
        return str(error)
    if values > MAX_VALUES:
        return f"more than {MAX_VALUES} keys and values, those that aliases repeat included. Make it smaller."
    return ""


def _values(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Number of values that a node stands for.

    :param known: of the nodes that were counted already, by their identities. None: it is being counted.
    """
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise ValueError(
                f"line {node.start_mark.line + 1}: an alias stands within what it repeats. Write it out."
            )
        return count
    known[id(node)] = None
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = count = 1 + sum(_values(part, known) for part in parts)
    return count
