"""Services by URI at the start of a worker: where ``services.yaml`` lies, and whether each service can be made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path

from agentjobs.agents.definition.settings import SERVICES_FILES, SERVICES_MODULE, AgentSettings
from agentjobs.cli.errors import BadInput

NAMES = (*SERVICES_FILES, f"{SERVICES_MODULE}.py")
CHECK_SECONDS = 60
"""Time that all services have to be made: the check imports ADK, and maybe asks for credentials."""


def services_folder(path: Iterable[Path | str], modules: Iterable[str]) -> str | None:
    """The folder of ``services.yaml`` and ``services.py``; None: there is neither.

    The first that has one of them: of the folders of ``path``, as ``adk web FOLDER`` looks there; then of those that hold the
    allowed modules' packages; then of the packages' own, as ``adk run`` looks there.
    """
    places = [Path(folder) for folder in path]
    packages = list(_folders_of(modules, places))
    parents = [
        folder.parent for folder in packages if folder.parent.name not in ("site-packages", "dist-packages")
    ]
    for folder in (*places, *parents, *packages):
        if any((folder / name).is_file() for name in NAMES):
            return str(folder.absolute())
    return None


def with_services(
    settings: AgentSettings, path: Iterable[Path | str], artifacts: str | None, memory: str | None
) -> AgentSettings:
    """The settings with services by URI. Without a URI nothing is looked for."""
    if not artifacts and not memory:
        return settings
    return replace(
        settings,
        artifact_service_uri=artifacts or None,
        memory_service_uri=memory or None,
        services_folder=services_folder(path, settings.modules),
    )


def _folders_of(modules: Iterable[str], path: Sequence[Path]) -> Iterator[Path]:
    """The folders of the modules that are packages. Nothing is imported."""
    for module in modules:
        places: Sequence[str] | None = [*map(str, path), *sys.path]
        for part in module.split("."):
            spec = PathFinder.find_spec(part, places)
            places = list(spec.submodule_search_locations or ()) if spec is not None else []
            yield from map(Path, places)


def check_services(
    settings: AgentSettings, path: Iterable[Path | str], environment: Mapping[str, str] | None = None
) -> None:
    """Makes each service by URI once, in a process of its own; where there is none, nothing is done.

    :param environment: of that process. None: that of this one.
    :raises BadInput: one cannot be made, with a line for each.
    """
    if settings.artifact_service_uri is None and settings.memory_service_uri is None:
        return
    asked = json.dumps({"settings": settings.as_json(), "path": [str(folder) for folder in path]})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "agentjobs.agents.sessions.services_check"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"The services by URI were not made within {CHECK_SECONDS} s: look at what they import and ask for."
        ) from None
    if found := done.stdout.strip():
        raise BadInput(found)
    if done.returncode != 0:
        raise BadInput(
            f"The check of the services by URI ended with status {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
