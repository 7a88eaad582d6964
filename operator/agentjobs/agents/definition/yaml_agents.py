"""Yaml agents: the executor lets ADK build the agent of a ``root_agent.yaml``, once all that its files name is allowed.

The file is in the worker's image, as a module's code is: whoever builds the image wrote it. So its models need no allow list,
and its code does: the pool's ``modules``. ADK's loader imports whatever the data names, but for the standard library. So the
names in all files are checked before anything is imported, and the loader's own check of each name is made to ask again: it
also meets names that only the fields of somebody's own class give a meaning to.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from agentjobs.agents.definition.allow_lists import home_of, module_allowed
from agentjobs.agents.definition.importing import here, import_module, told
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.definition.yaml_files import Reference, references_in, shown
from agentjobs.agents.definition.yaml_references import Kind, is_dotted
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, AgentNotFound, ModuleNotAllowed
from agentjobs.agents.verdict.places import place_of
from agentjobs.values.setting_names import both_names

if TYPE_CHECKING:
    from google.adk.workflow import BaseNode

_built: dict[Path, BaseNode] = {}
"""Agents of this process by their files."""
_AGENTS = ("google.adk.agents", "google.adk.workflow")
"""Packages of ADK whose classes may be an ``agent_class``: ADK takes none that is no agent or node."""
_TOOLS = ("google.adk.tools", "google.adk.integrations")
"""Packages of ADK whose tools may be named, those alone that ``google.adk.tools`` exports, and these:"""
_WRAPPERS = frozenset({"LangchainTool", "CrewaiTool"})
"""Tools that need another package, and name code in their turn."""


def build(root: Path, settings: AgentSettings, *, package: str) -> BaseNode:
    """The agent of the file ``root``. This process makes it once, as it imports a module once: the agents of other modules that
    it names (``code``) may have one parent.

    :param package: the module of its folder.
    :raises ModuleNotAllowed: the pool does not allow what a file names.
    :raises AgentInvalid: a file is wrong, what it names is missing or fails at import, or ADK does not accept it.
    """
    references = import_named(root, settings, package=package)
    if root in _built:
        return _built[root]
    from google.adk.agents import config_agent_utils

    known = {reference.name for reference in references}
    try:
        with _asking(lambda name: None if name in known else _check_met(name, root, settings, package)):
            return _built.setdefault(root, config_agent_utils.from_config(str(root)))
    except (Exception, SystemExit) as error:
        link: BaseException | None = error
        while link is not None:  # ADK raises a ValueError from what its check of a name raised
            if isinstance(link, AgentError):
                raise link from None
            link = link.__cause__
        of_adk = isinstance(error, ValueError) and not place_of(
            error, package
        )  # told whole: its frames tell no more
        raise AgentInvalid("\n".join(_told_by_adk(error, root, package))) from (None if of_adk else error)


def check(root: Path, settings: AgentSettings, *, package: str) -> list[Reference]:
    """The dotted names in the agent's files, once all are known to be allowed. Nothing is imported.

    :raises ModuleNotAllowed: with each name that is not on a line, and what to do.
    :raises AgentInvalid: a file is wrong.
    """
    references = references_in(root)
    malformed = [one for one in references if "." in one.name and not is_dotted(one.name)]
    if malformed:
        raise AgentInvalid(
            "\n".join(
                f"agent.module: {shown(one.file, root)}: {one.field}: {one.name[:200]!r} is no dotted name. Write one such as "
                f"{package}.tools.roll."
                for one in malformed
            )
        )
    refused = [(one, why) for one in references if (why := _refusal(one.name, one.kind, settings))]
    if refused:
        raise _not_allowed(refused, root, settings, package)
    return references


def import_named(root: Path, settings: AgentSettings, *, package: str) -> list[Reference]:
    """Imports the modules that the agent's files name, once all are allowed.

    :returns: the dotted names in the files.
    :raises ModuleNotAllowed: the pool does not allow one of them.
    :raises AgentInvalid: a file is wrong, or a name leads to nothing.
    """
    references = check(root, settings, package=package)
    for reference in references:
        where = f"agent.module: {shown(reference.file, root)}: {reference.field}"
        if "." in reference.name:
            _import_one(reference, where, settings)
        elif reference.kind is Kind.TOOL and reference.name not in _exported_tools():
            near = difflib.get_close_matches(reference.name, _exported_tools(), 1)
            raise AgentInvalid(
                f"{where}: ADK has no tool {reference.name!r}.{f' Did you mean {near[0]}?' if near else ''} "
                f"Name a function of your own with its module, such as {package}.tools.{reference.name}."
            )
        else:  # ADK loads what it exports when that is asked for
            for exporting in _TOOLS[:1] if reference.kind is Kind.TOOL else _AGENTS:
                _attribute(import_module(exporting, settings), reference.name, where, settings)
    return references


def _import_one(reference: Reference, where: str, settings: AgentSettings) -> None:
    from google.adk.agents import config_agent_utils

    attribute = reference.name.rpartition(".")[2]
    try:
        config_agent_utils._validate_module_reference(reference.name)
        module = import_module(reference.module, settings, where=where)
    except AgentNotFound as error:  # there is an agent; what it names is missing
        raise AgentInvalid(str(error)) from None
    except (
        ValueError
    ) as error:  # ADK's own list of modules that no file may name is longer than the standard library
        raise AgentInvalid(f"{where}: {error}") from None
    value = _attribute(module, attribute, where, settings)
    if value is None:
        near = difflib.get_close_matches(attribute, dir(module), 1)
        raise AgentInvalid(
            f"{where}: {reference.module} has no {attribute!r}.{f' Did you mean {near[0]}?' if near else ''} Correct the "
            f"name, or define it there."
        )
    is_schema = reference.field.endswith(("_schema", "_schema.name"))
    home = home_of(value).partition(".")[0] if callable(value) and not is_schema else ""
    if home in sys.stdlib_module_names:
        # as of agent.module: a module's imports are no tools of its agents
        raise ModuleNotAllowed(
            f"{where}: {reference.name!r} is of the module {home!r}, which {reference.module} only imports. Define a "
            f"function there that calls it, and name that."
        )


def _attribute(module: ModuleType, name: str, where: str, settings: AgentSettings) -> object | None:
    """A module's attribute, which ADK may import only now. None: it has none."""
    try:
        return getattr(module, name, None)
    except ImportError as error:
        raise AgentInvalid(
            f"{where}: {name} of {module.__name__} needs the module {error.name!r}, which is not {here(settings)}. Install it "
            f"{'with pip' if settings.local else 'in the image'}."
        ) from error


def _refusal(name: str, kind: Kind, settings: AgentSettings) -> str:
    """Why a name may not be imported. Empty: it may."""
    module, dot, attribute = name.rpartition(".")
    if not dot:
        return ""  # one of ADK's, or nothing
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"is of Python's standard library ({top}), which no yaml file may name; define a function that calls it, and name that"
    if settings.local or module_allowed(module, settings.modules):
        return ""
    if kind is Kind.CLASS and module_allowed(module, _AGENTS):
        return ""
    if kind is Kind.TOOL and module_allowed(module, _TOOLS) and attribute in {*_exported_tools(), *_WRAPPERS}:
        return ""
    return f"is in module {module!r}"


def _not_allowed(
    refused: Sequence[tuple[Reference, str]], root: Path, settings: AgentSettings, package: str
) -> ModuleNotAllowed:
    lines = [
        f"agent.module: {shown(one.file, root)}: {one.field}: {one.name[:200]!r} {why}{_meant(one.name, package)}."
        for one, why in refused
    ]
    if any(why.startswith("is in module") for _, why in refused):
        lines.append(
            f"Worker pool {settings.pool!r} allows: {', '.join(settings.modules) or 'none'}, and ADK's own agents and tools. Name "
            f"what is in one of these, or have the module added to {both_names('modules', pool=settings.pool)}."
        )
    return ModuleNotAllowed("\n".join(lines))


def _meant(name: str, package: str) -> str:
    """A question: `adk run my_agents/weather` names tools weather.tools, and here they are my_agents.weather.tools."""
    around, _, folder = package.rpartition(".")
    return f"; did you mean {around}.{name}?" if around and name.startswith(f"{folder}.") else ""


def _check_met(name: str, root: Path, settings: AgentSettings, package: str) -> None:
    """Checks a name that the loader resolves, and that was not known to be one.

    :raises ModuleNotAllowed: the pool does not allow it.
    """
    if why := _refusal(name, Kind.CODE, settings):
        field = "a value that one of the agent's own classes takes for a name"
        raise _not_allowed([(Reference(root, field, name, Kind.CODE), why)], root, settings, package)


@contextmanager
def _asking(check_name: Callable[[str], None]) -> Iterator[None]:
    """Lets ADK's loader ask ``check_name`` about each dotted name, beside its own check of them.

    Where ADK no longer has such a check, this fails, and with it the run.
    """
    from google.adk.agents import config_agent_utils

    own = config_agent_utils._validate_module_reference

    @functools.wraps(own)
    def both(fully_qualified_name: str) -> None:
        own(fully_qualified_name)
        check_name(fully_qualified_name)

    config_agent_utils._validate_module_reference = both
    try:
        yield
    finally:
        config_agent_utils._validate_module_reference = own


def _exported_tools() -> frozenset[str]:
    return frozenset(importlib.import_module("google.adk.tools").__all__)


def _told_by_adk(error: BaseException, root: Path, package: str) -> Iterator[str]:
    """What ADK refuses, a line for each problem, with the file that it read."""
    from google.adk.agents import config_agent_utils
    from pydantic import ValidationError

    file, trace = root, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is config_agent_utils.from_config.__code__:
            file = Path(trace.tb_frame.f_locals["config_path"])
        trace = trace.tb_next
    where = f"agent.module: {shown(file, root)}"
    if isinstance(error, ValidationError):
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            field = ".".join(map(str, problem["loc"]))
            yield f"{where}: {f'{field}: ' if field else ''}{problem['msg'].rstrip('.')} ({error.title})."
    else:
        yield f"{where}: ADK does not accept it: {told(error, package).removeprefix('ValueError: ')}"
