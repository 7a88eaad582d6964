"""The limit on open files is raised as far as is needed, and as the machine lets it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from agentjobs.open_files import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, 512))
print(allow_open_files({needed}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "needed", "told"),
    [(256, 400, "400 400"), (256, 4000, "512 512"), (256, 100, "256 256"), (512, 400, "512 512")],
)
def test_the_limit_is_raised_and_never_lowered(soft: int, needed: int, told: str) -> None:
    program = PROGRAM.format(soft=soft, needed=needed)  # in a process of its own, whose limit it is
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == told
