"""``.env`` files beside a worker's agents: keys that ``adk create`` wrote, and an image's build copied.

Whoever can pull the image has them, and they stay in its layers when a later one deletes the file. A worker never reads
them: its keys are in its environment, from Secrets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from agentjobs.cli.errors import BadInput
from agentjobs.values.setting_names import both_names

NAME = ".env"
DEEPEST = 6
"""Levels below a folder of the path that are looked at."""
MOST_FOLDERS = 20_000
"""Folders that are looked at: a start must not wait for a large tree."""
NEVER = frozenset({"site-packages", "node_modules", "__pycache__"})
"""Folders of installed packages; those whose name begins with a dot are not looked at either."""
SHOWN = 3


def refuse_env_files(path: Sequence[str], modules: Iterable[str], pool: str) -> None:
    """Looks for ``.env`` files that are not empty: below the folders of ``path``, and in those of the allowed modules.

    :raises BadInput: there are some.
    """
    found = sorted({*_below(map(Path, path)), *_beside(modules, path)})
    if not found:
        return
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise BadInput(
        f"{', '.join(map(str, found[:SHOWN]))}{more}: a .env beside the agents. In an image it gives its keys to everybody who "
        "can pull it. Leave it out (.dockerignore: **/.env), make the keys anew if the image was pushed, and give them to the "
        f"worker from a Secret (pools.{pool}.env of the chart). To start all the same, set "
        f"{both_names('allow_env_files', pool=pool)}, to true."
    )


def _below(roots: Iterable[Path]) -> Iterator[Path]:
    left = MOST_FOLDERS
    for root in roots:
        for folder, inner, files in os.walk(root):
            depth = len(Path(folder).relative_to(root).parts)
            inner[:] = [
                name for name in inner if depth < DEEPEST and name not in NEVER and not name.startswith(".")
            ]
            left -= 1
            if left < 0:
                return
            if NAME in files and _is_filled(Path(folder) / NAME):
                yield Path(folder) / NAME


def _beside(modules: Iterable[str], path: Sequence[str]) -> Iterator[Path]:
    """The files in the folders of the modules, and in that of a module's top package."""
    for module in modules:
        places: Sequence[str] | None = [*path, *sys.path]
        for part in module.split("."):
            spec = PathFinder.find_spec(part, places)
            places = list(spec.submodule_search_locations or ()) if spec is not None else []
            for folder in places:
                if _is_filled(file := Path(folder) / NAME):
                    yield file


def _is_filled(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size > 0
    except OSError:
        return False
