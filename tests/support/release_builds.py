"""`make release` for the tests: built by its script from a commit of what git knows here, changes that are not committed included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_HELM = "/no/helm/here"
"""``HELM_BIN`` for a build without the chart."""
_GIT = {
    **{
        f"GIT_{who}_{what}": "tests@agentjobs.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    **{f"GIT_{who}_DATE": "2026-01-02T03:04:05Z" for who in ("AUTHOR", "COMMITTER")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def outside() -> dict[str, str]:
    """The environment of a user who knows nothing of this checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AGENTJOBS_", "PYTHON", "VIRTUAL_ENV"))}


def git(folder: Path, *arguments: str) -> str:
    """Git's answer in a folder."""
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **_GIT}, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def checkout(folder: Path) -> Path:
    """A repository with one commit, of the files of this one."""
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A release")
    return folder


def release(sources: Path, *, umask: int = 0o022, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a checkout, without images: the tier of pods builds those."""
    return subprocess.run(
        ["bash", "scripts/release.sh"],
        cwd=sources,
        env={**outside(), "BIN": str(Path(sys.executable).parent), "IMAGES": "0", **settings},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=120,
    )


def built(sources: Path, *, umask: int = 0o022, **settings: str) -> Path:
    """The folder with a release of a checkout."""
    done = release(sources, umask=umask, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return sources / "dist"
