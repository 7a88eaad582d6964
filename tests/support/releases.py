"""Releases of the queue's SQL: this program's, and two that a test makes of it (``tests/queue/releases``)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import agentjobs.queue
from agentjobs.local.postgres import find_binaries
from agentjobs.queue.release import RELEASE, Release, load

OVERLAYS = Path(__file__).parents[1] / "queue" / "releases"
PACKAGE = Path(agentjobs.queue.__file__).parent / "sql"


def releases(folder: Path) -> list[Release]:
    """This program's release and the two after it; ``folder`` is for their files."""
    made = [load(PACKAGE, RELEASE)]
    shutil.copytree(PACKAGE, folder, dirs_exist_ok=True)
    for overlay in sorted(OVERLAYS.glob("[0-9]*")):
        shutil.copytree(overlay, folder, dirs_exist_ok=True)
        for file in folder.rglob("*.sql"):
            if not file.read_text().strip():
                file.unlink()
        made.append(load(folder, RELEASE + len(made)))
    return made


def dump(dsn: str) -> list[str]:
    """The whole schema as ``pg_dump`` tells it; in order, but for grants, which have none."""
    command = [str(find_binaries() / "pg_dump"), "--schema-only", "--schema=agentjobs", f"--dbname={dsn}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    grants = [line for line in lines if line.startswith(("GRANT", "REVOKE"))]
    return [line for line in lines if not line.startswith(("GRANT", "REVOKE"))] + sorted(grants)
