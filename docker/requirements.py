"""Print what a project needs, one requirement a line: ``requirements.py pyproject.toml operator worker``.

The names are extras; ``build-system`` is what its wheel is built with. So the image's layer of dependencies changes
only when pyproject.toml or constraints.txt do.
"""

from __future__ import annotations

import sys
import tomllib


def requirements(file: str, *names: str) -> list[str]:
    """The project's own dependencies, then those of the names."""
    with open(file, "rb") as opened:
        settings = tomllib.load(opened)
    project = settings["project"]
    groups = {**project["optional-dependencies"], "build-system": settings["build-system"]["requires"]}
    lines = [*project["dependencies"], *(line for name in names for line in groups[name])]
    return [line for line in lines if not line.startswith(project["name"] + "[")]


if __name__ == "__main__":
    print("\n".join(requirements(*sys.argv[1:])))
