"""Agent modules for tests, written into a folder and importable from it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

Write = Callable[[str, str], str]
"""(module's name, its source) → the module's name."""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules under ``tmp_path``, which is on the path; forgets them at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, source: str) -> str:
        path = tmp_path.joinpath(*name.split("."))
        if path.is_dir():
            path = path / "__init__"
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.parents:
            if parent == tmp_path:
                break
            (parent / "__init__.py").touch()
        path.with_name(f"{path.name}.py").write_text(textwrap.dedent(source))
        return name

    yield write
    for name in [name for name in set(sys.modules) - before if _is_below(sys.modules[name], str(tmp_path))]:
        del sys.modules[name]


def _is_below(module: ModuleType, folder: str) -> bool:
    """Whether a module, or a folder without an ``__init__.py``, was imported from ``folder``."""
    places = [vars(module).get("__file__") or "", *vars(module).get("__path__", ())]
    return any(str(place).startswith(folder) for place in places)
