"""Installs the peers into the user's cache, each version pinned, so that figures can be compared over time."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GRAPHILE = "0.18.0"
NODE = "24.9.0"
"""graphile-worker wants Node ≥ 22.18; where PATH has an older one, this one comes from npm."""
PGQUEUER, PROCRASTINATE, OBAN = "1.6.0", "3.10.0", "0.7.0"
_INSTALL_SECONDS = 300


class Missing(Exception):
    """A peer that this machine cannot have; says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A client of another queue: ``command`` + ``seed DSN JOBS`` or ``drain DSN``."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]


def cache() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "agentjobs" / "bench"


def graphile() -> Peer:
    """Raises Missing without npm, or without a Node that it works with."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not on PATH")
    folder = cache() / f"graphile-worker-{GRAPHILE}"
    own = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine()) if sys.platform == "linux" else None
    packages = [f"graphile-worker@{GRAPHILE}"]
    node = shutil.which("node")
    if not _new_enough(node):
        if own is None:
            raise Missing("Node ≥ 22.18 is not on PATH")
        packages.append(f"node-linux-{own}@{NODE}")
        node = str(folder / "node_modules" / f"node-linux-{own}" / "bin" / "node")
    if not _complete(folder, packages):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"name": "bench", "private": True}))
        _run([npm, "install", "--no-audit", "--no-fund", "--save-exact", *packages], folder)
        _mark(folder, packages)
    assert node is not None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return Peer(
        f"graphile-worker {GRAPHILE} (Node {version[1:]})",
        (node, str(Path(__file__).with_name("graphile.js"))),
        {"NODE_PATH": str(folder / "node_modules"), "NODE_ENV": "production"},
    )


def pgqueuer() -> Peer:
    return _python(f"pgqueuer {PGQUEUER}", "pgqueuer", sys.executable, [f"pgqueuer[asyncpg]=={PGQUEUER}"])


def procrastinate() -> Peer:
    wanted = [f"procrastinate=={PROCRASTINATE}", "psycopg[binary]"]
    return _python(f"procrastinate {PROCRASTINATE}", "procrastinate", sys.executable, wanted)


def oban() -> Peer:
    """Raises Missing without Python ≥ 3.12."""
    return _python(f"oban-py {OBAN}", "oban", _python_312(), [f"oban=={OBAN}", "psycopg[binary]"])


def _python(name: str, module: str, python: str, wanted: list[str]) -> Peer:
    folder = cache() / name.replace(" ", "-")
    own = folder / "bin" / "python"
    wanted = [*wanted, "uvloop"]
    if not _complete(folder, [python, *wanted]):
        _run([python, "-m", "venv", "--clear", str(folder)], Path.cwd())
        _run([str(own), "-m", "pip", "install", "-q", *wanted], Path.cwd())
        _mark(folder, [python, *wanted])
    return Peer(name, (str(own), "-m", f"benchmarks.peers.{module}_client"), {})


def _python_312() -> str:
    if sys.version_info >= (3, 12):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    newest = sorted(pyenv.glob("3.1[2-9].*/bin/python3"), reverse=True)
    for name in ("python3.14", "python3.13", "python3.12", *map(str, newest)):
        found = shutil.which(name)
        if found:
            asked = subprocess.run(
                [found, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
            )
            if asked.returncode == 0:  # a version manager's shim may be there without the version
                return asked.stdout.strip()
    raise Missing("it needs Python ≥ 3.12, and none is on PATH")


def _new_enough(node: str | None) -> bool:
    if node is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    try:
        return tuple(int(part) for part in said.removeprefix("v").split(".")[:2]) >= (22, 18)
    except ValueError:
        return False


def _complete(folder: Path, wanted: Sequence[str]) -> bool:
    mark = folder / "installed.json"
    return mark.exists() and json.loads(mark.read_text()) == list(wanted)


def _mark(folder: Path, wanted: Sequence[str]) -> None:
    (folder / "installed.json").write_text(json.dumps(list(wanted)))


def _run(command: Sequence[str], folder: Path) -> None:
    print(f"installing: {' '.join(command)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"its installation failed: {error}") from error
    if done.returncode != 0:
        raise Missing(f"its installation failed: {(done.stderr or done.stdout).strip()[-300:]}")
