"""The cluster of `make demo`: the best at hand, or the examples without a cluster where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentjobs.local import assets, kubebuild
from agentjobs.local.assets import Assets, AssetsError
from agentjobs.local.controlplane import ControlPlane

ROOT = Path(__file__).parents[1]
AGENTJOBS = Path(sys.executable).with_name("agentjobs")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
EXAMPLE_ARGUMENTS = [argument for file in EXAMPLES for argument in ("-f", str(file.relative_to(ROOT)))]
GIVEN = "DEMO_KUBECONFIG"
KIND_NAME = "agentjobs-demo"
STARTED = time.monotonic()


class DemoFailed(RuntimeError):
    """The demo cannot go on. The message has the cause and where to look."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster, with the agentjobs plugin on its path."""

    path: Path
    kubeconfig: Path
    namespace: str = "default"
    here: bool = False
    """Whether the API server is a process of this machine, so that it reaches ports of this machine."""

    def run(self, *arguments: str, check: bool = True, given: str | None = None) -> str:
        """Runs a command of kubectl, ``given`` as its input. Returns its standard output.

        :raises DemoFailed: the command fails, unless ``check`` is False.
        """
        # at the end: a plugin wants them after its own name
        where = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        # the plugin starts kubectl itself, which may be in the folder of the control plane alone
        folders = (str(AGENTJOBS.parent), os.environ.get("PATH", ""), str(self.path.parent))
        path = os.pathsep.join(folders)
        command = [str(self.path), *arguments, *where]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, input=given, capture_output=True, text=True
        )
        if check and done.returncode != 0:
            raise DemoFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, body: Mapping[str, Any]) -> None:
        """Applies an object.

        :raises DemoFailed: it is refused.
        """
        self.run("apply", "-f", "-", given=json.dumps(body))

    def show(self, *arguments: str) -> None:
        """Prints the command as a person would type it, and its output."""
        print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
        print(self.run(*arguments).rstrip(), flush=True)


def step(what: str) -> None:
    """Prints a line about the demo's next step."""
    print(f"\n[{time.monotonic() - STARTED:5.1f} s] {what}", flush=True)


def kind_works() -> bool:
    """Whether kind is on PATH and a Docker engine answers."""
    kind, docker = shutil.which("kind"), shutil.which("docker")
    if kind is None or docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0


@contextmanager
def kind_cluster(folder: Path) -> Iterator[Kubectl]:
    """A kind cluster for the block, deleted after it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise DemoFailed("kind is here, but no kubectl is on PATH")
    kubeconfig = folder / "kind.kubeconfig"
    image = ["--image", os.environ["KIND_NODE_IMAGE"]] if os.environ.get("KIND_NODE_IMAGE") else []
    create = [
        "kind",
        "create",
        "cluster",
        "--name",
        KIND_NAME,
        "--kubeconfig",
        str(kubeconfig),
        "--wait",
        "60s",
    ]
    step("kind: creating a cluster (about half a minute)")
    if subprocess.run([*create, *image]).returncode != 0:
        raise DemoFailed(f"kind could not create the cluster {KIND_NAME} (its words are above)")
    try:
        yield Kubectl(Path(kubectl), kubeconfig)
    finally:
        step("kind: deleting the cluster")
        subprocess.run(["kind", "delete", "cluster", "--name", KIND_NAME, "--kubeconfig", str(kubeconfig)])


@contextmanager
def own_cluster(found: Assets) -> Iterator[Kubectl]:
    """A local control plane (etcd and kube-apiserver) for the block."""
    if found.kubectl is None:
        raise DemoFailed(f"no kubectl in {found.origin}, and none on PATH")
    step(f"starting etcd and kube-apiserver ({found.origin})")
    with ControlPlane(found) as plane:
        yield Kubectl(found.kubectl, plane.kubeconfig, here=True)


def given_cluster() -> Kubectl | None:
    """The cluster that the user names with DEMO_KUBECONFIG. None: none is named."""
    named = os.environ.get(GIVEN)
    if not named:
        return None
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise DemoFailed(f"{GIVEN} is set, but no kubectl is on PATH")
    if not Path(named).is_file():
        raise DemoFailed(f"{GIVEN}={named}: no such file")
    return Kubectl(Path(kubectl), Path(named))


def build_while_running_locally() -> Assets:
    """Builds the control plane.

    Meanwhile the examples run without a cluster, so that there is something to see.
    """
    held: list[str] = []
    live = threading.Event()

    def progress(line: str) -> None:
        if live.is_set():
            print(f"control plane: {line}", flush=True)
        else:
            held.append(line)

    built: list[Assets] = []
    failures: list[AssetsError] = []

    def build() -> None:
        try:
            built.append(kubebuild.build(progress))
        except AssetsError as error:
            failures.append(error)

    step(
        "no control plane is at hand: building one from its Go modules, once, in the background (about 8 minutes)"
    )
    builder = threading.Thread(target=build, daemon=True)
    builder.start()
    run_locally("meanwhile the same examples, without a cluster")
    live.set()
    if builder.is_alive():
        step("the build goes on; it is kept for the next time")
        for line in held[-1:]:
            print(f"control plane: {line}", flush=True)
    builder.join()
    if failures:
        raise DemoFailed(str(failures[0]))
    return built[0]


def run_locally(why: str) -> None:
    """Runs `agentjobs local` on the examples, and approves each question of a tool."""
    step(why)
    arguments = ["local", "--yes", *EXAMPLE_ARGUMENTS]
    print(f"\n$ agentjobs {' '.join(arguments)}", flush=True)
    status = subprocess.run([str(AGENTJOBS), *arguments], cwd=ROOT).returncode
    if status != 0:
        raise DemoFailed(f"agentjobs local ended with status {status}")


def choose(stack: ExitStack, folder: Path) -> Kubectl | None:
    """The best cluster at hand. None: there is none, and the reasons are printed."""
    given = given_cluster()
    if given is not None:
        step(f"using the cluster that {GIVEN} names (its CRDs of agentjobs.dev stay there)")
        return given
    if kind_works():
        try:
            return stack.enter_context(kind_cluster(folder))
        except DemoFailed as error:
            print(f"left out: kind: {error}")
    else:
        print("left out: kind (it takes `kind` on PATH and a Docker engine that answers)")
    found = assets.find()
    if found is None:
        obstacle = kubebuild.obstacle()
        if obstacle is not None:
            print(f"left out: a control plane of our own: {obstacle}")
            return None
        found = build_while_running_locally()
    return stack.enter_context(own_cluster(found))
