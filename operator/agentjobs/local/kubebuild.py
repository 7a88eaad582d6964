"""The build of the control plane from Go modules (``tools/``): about 8 minutes on 2 cores, then cached.

It needs the Go module proxy, and neither a download of a release nor an image registry.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentjobs.local import assets
from agentjobs.local.assets import COMPONENTS, Assets, AssetsError

Progress = Callable[[str], None]
PROGRESS_SECONDS = 10.0
FIRST_GO_WITH_TOOLCHAINS = (1, 21)  # since then, Go fetches a newer Go where it needs one
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
BUILD_DATE = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Go:
    """A Go installation: its version, such as ``(1, 24)``, and whether it may fetch another one."""

    path: Path
    version: tuple[int, int]
    fetches_toolchains: bool


def why_not(go: Go | None, wanted: tuple[int, int]) -> str | None:
    """Why this Go cannot build sources that want a version, and what to do. None: it can."""
    need = f"Go {wanted[0]}.{wanted[1]} or newer"
    if go is None:
        return f"no `go` on PATH; install {need}, or set {assets.VARIABLE} to a folder with etcd and kube-apiserver"
    newer = go.fetches_toolchains and go.version >= FIRST_GO_WITH_TOOLCHAINS
    if go.version < wanted and not newer:
        found = f"{go.version[0]}.{go.version[1]}"
        return f"{go.path} is Go {found}, and the build wants {need}: install that, or set {assets.VARIABLE}"
    return None


def find_go(environment: Mapping[str, str] = os.environ) -> Go | None:
    """The Go on PATH; None: there is none."""
    path = shutil.which("go", path=environment.get("PATH"))
    if path is None:
        return None
    asked = subprocess.run([path, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, cwd="/")
    version, _, toolchain = asked.stdout.strip().partition("\n")
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers is None:
        return Go(Path(path), (0, 0), False)
    return Go(Path(path), (int(numbers[1]), int(numbers[2])), not toolchain.startswith("local"))


def wanted_go(sources: Path) -> tuple[int, int]:
    """The version that the sources' ``go`` directive wants."""
    found = re.search(r"^go (\d+)\.(\d+)", (sources / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise AssetsError(f"{sources / 'go.mod'}: no go directive in it")
    return int(found[1]), int(found[2])


def obstacle(environment: Mapping[str, str] = os.environ, sources: Path = assets.SOURCES) -> str | None:
    """Why :func:`build` cannot work here; None: it can."""
    if assets.build_folder(environment, sources) is None:
        return f"no sources of a control plane in {sources}: they come with a checkout; set {assets.VARIABLE} instead"
    return why_not(find_go(environment), wanted_go(sources))


def build(
    progress: Progress, environment: Mapping[str, str] = os.environ, sources: Path = assets.SOURCES
) -> Assets:
    """The cached build; makes it where there is none, or waits for another process that is making it.

    Raises :class:`AssetsError` with the end of Go's output. A build that is stopped leaves Go's own cache
    warm, so the next one goes on from there.
    """
    target, reason = assets.build_folder(environment, sources), obstacle(environment, sources)
    if target is None or reason is not None:
        raise AssetsError(f"the control plane cannot be built: {reason}")
    with _locked(target.parent / ".lock", progress):
        if not (target / "kube-apiserver").exists():
            _build_into(target, progress, environment, sources)
    return assets.in_folder(target, f"the build in {target}")


def _build_into(target: Path, progress: Progress, environment: Mapping[str, str], sources: Path) -> None:
    version = assets.kubernetes_version(sources)
    go = shutil.which("go", path=environment.get("PATH")) or "go"
    env = {**environment, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    started = time.monotonic()

    def report(what: str) -> None:
        progress(f"[{time.monotonic() - started:4.0f} s] {what}")

    report(
        f"building a control plane (Kubernetes {version}) from its Go modules, once; about 8 minutes on 2 cores"
    )
    listed = _run([go, "list", "-deps", "."], sources, env, report, "modules downloaded")
    total = len(listed.splitlines())
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        command = [
            "build",
            "-v",
            "-trimpath",
            f"-ldflags={' '.join(linker_flags(version))}",
            "-o",
            str(folder / "kube"),
            ".",
        ]
        # nice: other work runs on the machine meanwhile
        _run(
            ["nice", "-n", "10", go, *command], sources, env, report, f"of at most {total} packages compiled"
        )
        for name in COMPONENTS:
            (folder / name).symlink_to("kube")
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(f"built {target}")


def linker_flags(version: str) -> Iterator[str]:
    """Linker flags: strip the binary, set its version, without which a server refuses its clients."""
    yield from ("-s", "-w")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "buildDate": BUILD_DATE,
    }
    for package in VERSION_PACKAGES:
        for name, value in values.items():
            yield from ("-X", f"{package}.{name}={value}")


def _run(
    command: Sequence[str],
    sources: Path,
    env: Mapping[str, str],
    report: Progress,
    counted: str,
) -> str:
    """Runs a command; returns its stdout. Reports the number of lines on its stderr every few seconds."""
    said: list[str] = []
    process = subprocess.Popen(
        command,
        cwd=sources,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lambda errors=process.stderr: said.extend(errors), daemon=True)
    reader.start()
    output: list[str] = []
    collector = threading.Thread(
        target=lambda answers=process.stdout: output.append(answers.read()), daemon=True
    )
    collector.start()
    try:
        while True:
            try:
                status = process.wait(PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                report(f"{len(said)} {counted}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    reader.join()
    collector.join()
    if status != 0:
        end = "".join(f"  {line}" for line in said[-15:])
        raise AssetsError(
            f"`{' '.join(command[:4])} …` ended with status {status}; the end of its output:\n{end}"
        )
    return output[0]


@contextmanager
def _locked(file: Path, progress: Progress) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process builds the control plane: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
