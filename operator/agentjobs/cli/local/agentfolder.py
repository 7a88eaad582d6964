"""Folders of agents: where an agent's code and its ``.env`` are, by the rules of ``adk``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

from agentjobs.agents.definition import yaml_agents
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.definition.yaml_files import ROOT
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.cli.errors import BadInput
from agentjobs.cli.local.manifests import SUFFIXES
from agentjobs.cli.manifest_url import is_url

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z]\w*)?", re.ASCII)

_AGENTS = ("app", "root_agent", "agent")
"""What a run looks for in a module (agents.definition.resolve)."""


def locate(agent: str, here: Path) -> tuple[str, Path]:
    """The module reference of an agent, and the folder that Python's path needs for it.

    :param agent: as the user typed it: a folder (``my_agent``, ``agents/my_agent/``), a file
        (``my_agent.py``), or a module (``pkg.mod[:attr]``) that is installed or below ``here``.
    :raises BadInput: there is no such agent.
    """
    refuse_manifest(agent)
    path = (here / agent).resolve()
    if path.is_dir() or path.suffix == ".py":
        return _of_path(agent, path)
    if not REFERENCE.fullmatch(agent):
        raise BadInput(
            f"AGENT '{agent}': there is no such folder, and it is no module either. Name an agent's folder "
            "(my_agent, as `adk create` makes it), or a module (pkg.mod or pkg.mod:attribute)."
        )
    top = re.split(r"[.:]", agent)[0]
    if not is_there(top, [here]):
        near = ", ".join(sorted(_agent_folders(here))) or "none"
        raise BadInput(
            f"AGENT '{agent}': there is no folder or module '{top}' in {here}, nor is one installed. "
            f"Agent folders here: {near}. Make one with: adk create {top}"
        )
    return agent, here


def is_there(package: str, folders: Iterable[Path]) -> bool:
    """Whether a top-level package or module is in one of the folders, or installed. Nothing is imported."""
    return (
        PathFinder.find_spec(package, [str(folder) for folder in folders]) is not None
        or PathFinder.find_spec(package) is not None
    )


def refuse_manifest(agent: str) -> None:
    """Checks that AGENT names no manifest, for which there is a flag.

    :raises BadInput: it does.
    """
    if Path(agent).name == ROOT:
        raise BadInput(
            f"AGENT '{agent}' is the file of an agent. Name its folder: agentjobs local {Path(agent).parent}"
        )
    if agent.endswith(SUFFIXES) or is_url(agent):
        raise BadInput(f"AGENT '{agent}' is a manifest. Run it with: agentjobs local -f {agent}")


def env_file(start: Path) -> Path | None:
    """The nearest ``.env`` in ``start`` or above, as ADK looks for it. None: there is none."""
    return next((f / ".env" for f in (start, *start.parents) if (f / ".env").is_file()), None)


def folder_of(module: str, root: Path) -> Path:
    """The deepest folder below ``root`` on the way to a module: the first place to look for its ``.env``."""
    folder = root
    for part in module.partition(":")[0].split("."):
        if not (folder / part).is_dir():
            break
        folder = folder / part
    return folder


def read_env(files: Iterable[Path]) -> tuple[dict[str, str], list[str]]:
    """The variables of these files, and a warning for each on which two files disagree: the first file
    counts."""
    from dotenv import dotenv_values

    found: dict[str, tuple[str, Path]] = {}
    warnings = []
    for file in dict.fromkeys(files):
        for name, value in dotenv_values(file).items():
            if value is None:
                continue
            if name in found and found[name][0] != value:
                warnings.append(f"{name} differs between {found[name][1]} and {file}: the first one counts.")
            found.setdefault(name, (value, file))
    return {name: value for name, (value, _) in found.items()}, warnings


def check_yaml(module: str, root: Path) -> None:
    """Checks the files of an agent that is a ``root_agent.yaml``, as a run does before it imports what they name.

    :param module: ``agent.module``; one that is not below ``root``, or has its agent in Python, is left to the run.
    :raises BadInput: with each problem.
    """
    name, attribute, _ = module.partition(":")
    folder = root.joinpath(*name.split("."))
    if attribute or not (folder / ROOT).is_file() or _may_have_an_agent(folder):
        return
    try:
        yaml_agents.check(folder / ROOT, AgentSettings(local=True), package=name)
    except AgentError as error:
        raise BadInput(str(error)) from error


def _of_path(agent: str, path: Path) -> tuple[str, Path]:
    if path.is_dir() and not any((path / name).is_file() for name in ("agent.py", "__init__.py", ROOT)):
        manifests = any(f.suffix in SUFFIXES for f in path.iterdir())
        way_out = (
            f"Its manifests are run with: agentjobs local -f {agent}"
            if manifests
            else "`adk create NAME` makes one that has."
        )
        raise BadInput(
            f"AGENT '{agent}': the folder has no agent.py, no __init__.py and no {ROOT}. {way_out}"
        )
    if not path.exists():
        raise BadInput(f"AGENT '{agent}': there is no such file.")
    name = path.name.removesuffix(".py")
    if not REFERENCE.fullmatch(name) or "." in name:
        raise BadInput(
            f"AGENT '{agent}': '{name}' is not a Python name. Rename it: letters, digits and underscores."
        )
    if path.is_dir() and not (path / "__init__.py").is_file():
        installed = PathFinder.find_spec(name, [str(path.parent), *sys.path])
        if installed is not None and installed.origin is not None:
            raise BadInput(
                f"AGENT '{agent}': Python would import {installed.origin} by the name '{name}', since the folder has no "
                f"__init__.py. Rename the folder, or make that file in it."
            )
    return name, path.parent


def _may_have_an_agent(folder: Path) -> bool:
    """Whether the folder's code may name an agent, as far as it can be told without running it."""
    if (folder / "agent.py").is_file():
        return True
    try:
        code = ast.parse((folder / "__init__.py").read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, SyntaxError, ValueError):  # the import says it better
        return True
    return any(_may_name_an_agent(one) for one in code.body)


def _may_name_an_agent(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.Expr() | ast.Pass():
            return False
        case ast.ImportFrom(names=names):
            return any((alias.asname or alias.name) in (*_AGENTS, "*") for alias in names)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in _AGENTS
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name in _AGENTS
        case _:
            return True


def _agent_folders(here: Path) -> Iterable[str]:
    return (
        f.name
        for f in here.iterdir()
        if f.is_dir() and any((f / name).is_file() for name in ("agent.py", ROOT))
    )
