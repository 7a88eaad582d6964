"""Requirements of a project, one a line: ``requirements.py pyproject.toml operator worker``.

The names are extras; ``build-system`` stands for the requirements of building its wheel. The image installs
from this list, so its layer of dependencies changes only with pyproject.toml and constraints.txt.
"""

from __future__ import annotations

import sys
import tomllib


def requirements(file: str, *names: str) -> list[str]:
    """The requirements of the project itself, then those of the named extras."""
    with open(file, "rb") as opened:
        settings = tomllib.load(opened)
    project = settings["project"]
    groups = {**project["optional-dependencies"], "build-system": settings["build-system"]["requires"]}
    lines = [*project["dependencies"], *(line for name in names for line in groups[name])]
    return [line for line in lines if not line.startswith(project["name"] + "[")]


if __name__ == "__main__":
    print("\n".join(requirements(*sys.argv[1:])))
