"""`make demo`: one AgentJob the whole way, on real parts: API server, operator, worker, kubectl, answer.

The cluster is the best at hand: the one that DEMO_KUBECONFIG names, kind where Docker works, a control plane of our own
from KUBEBUILDER_ASSETS or an earlier build, else one that is built now; the same examples run through `agentjobs local`
meanwhile. Everything that was started here is ended here, by its pid.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.local.process import LocalServerError, Terms, end, spawn, tail

ROOT = Path(__file__).parents[1]
AGENTJOBS = Path(sys.executable).with_name("agentjobs")
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
MODULES = "agents"  # the package of agents beside the manifests
GIVEN, KEEP = "DEMO_KUBECONFIG", "DEMO_KEEP"
KIND_NAME = "agentjobs-demo"
FINISH_SECONDS = 180.0
STARTED = time.monotonic()


class DemoFailed(RuntimeError):
    """The demo cannot go on; the message says why and what to look at."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster. ``show`` prints the command as a person would type it, and what came back."""

    path: Path
    kubeconfig: Path
    namespace: str = "default"

    def run(self, *arguments: str, check: bool = True) -> str:
        """Standard output."""
        command = [
            str(self.path),
            f"--kubeconfig={self.kubeconfig}",
            f"--namespace={self.namespace}",
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise DemoFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def show(self, *arguments: str) -> None:
        """Print the command and its output."""
        print(f"\n$ kubectl {' '.join(arguments)}", flush=True)
        print(self.run(*arguments).rstrip(), flush=True)


def step(what: str) -> None:
    """A line that says how far we are."""
    print(f"\n[{time.monotonic() - STARTED:5.1f} s] {what}", flush=True)


# ---- clusters


def kind_works() -> bool:
    """Whether kind is on PATH and a Docker engine answers."""
    kind, docker = shutil.which("kind"), shutil.which("docker")
    if kind is None or docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0


@contextmanager
def kind_cluster(folder: Path) -> Iterator[Kubectl]:
    """A kind cluster of the demo's own, deleted at the end."""
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
    """A control plane of our own."""
    if found.kubectl is None:
        raise DemoFailed(f"no kubectl in {found.origin}, and none on PATH")
    step(f"starting etcd and kube-apiserver ({found.origin})")
    with ControlPlane(found) as plane:
        yield Kubectl(found.kubectl, plane.kubeconfig)


def given_cluster() -> Kubectl | None:
    """The cluster that the user names."""
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
    """Build the control plane; the same examples run without a cluster meanwhile, so that there is something to see."""
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


# ---- the work


def run_locally(why: str) -> None:
    """`agentjobs local` on the examples."""
    files = [argument for file in EXAMPLES for argument in ("-f", str(file.relative_to(ROOT)))]
    step(why)
    print(f"\n$ agentjobs local {' '.join(files)}", flush=True)
    status = subprocess.run([str(AGENTJOBS), "local", *files], cwd=ROOT).returncode
    if status != 0:
        raise DemoFailed(f"agentjobs local ended with status {status}")


@contextmanager
def part(
    name: str, *arguments: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """One of our processes, ended in order with SIGTERM."""
    log = folder / f"{name}.log"
    process = spawn(
        [str(AGENTJOBS), *arguments], log=log, terms=Terms(signal.SIGTERM), env={**os.environ, **environment}
    )
    print(f"$ agentjobs {' '.join(arguments)}    (pid {process.pid}, log {log})", flush=True)
    try:
        yield process
    finally:
        end(process, signal.SIGTERM, 30)


def watch_until_finished(
    kubectl: Kubectl, parts: Mapping[str, subprocess.Popen[bytes]], folder: Path
) -> None:
    """Print `kubectl get agentjobs` whenever something but the age changes, until every job has finished."""
    deadline = time.monotonic() + FINISH_SECONDS
    shown: list[list[str]] = []
    while True:
        for name, process in parts.items():
            if process.poll() is not None:
                log = folder / f"{name}.log"
                raise DemoFailed(
                    f"the {name} ended with status {process.returncode}; end of its log:\n{tail(log, 30)}"
                )
        objects: list[dict[str, Any]] = json.loads(kubectl.run("get", "agentjobs", "-o", "json"))["items"]
        states = [
            [each.get("status", {}).get("state", ""), each.get("status", {}).get("reason", "")]
            for each in objects
        ]
        if states != shown:
            kubectl.show("get", "agentjobs")
            shown = states
        if all(finished(each) for each in objects):
            return
        if time.monotonic() > deadline:
            logs = "\n".join(f"{name}:\n{tail(folder / f'{name}.log')}" for name in parts)
            raise DemoFailed(f"not every job finished within {FINISH_SECONDS:.0f} s\n{logs}")
        time.sleep(0.5)


def finished(job: Mapping[str, Any]) -> bool:
    """Whether its condition Finished is true."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(each["type"] == "Finished" and each["status"] == "True" for each in conditions)


def run_on(kubectl: Kubectl, folder: Path) -> None:
    """Definitions, database, operator, worker, the examples, the answers."""
    with ExitStack() as stack:
        namespace = f"agentjobs-demo-{os.getpid()}"
        kubectl.run("create", "namespace", namespace)
        stack.callback(kubectl.run, "delete", "namespace", namespace, "--wait=false", check=False)
        kubectl = Kubectl(kubectl.path, kubectl.kubeconfig, namespace)
        print(f"\nexport KUBECONFIG={kubectl.kubeconfig}    (namespace {namespace})")
        kubectl.show("apply", "--server-side", "-f", str(ROOT / "crds"))
        kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))

        step("starting Postgres, migrating its schema, starting the operator and a worker")
        server = stack.enter_context(EmbeddedPostgres())
        environment = {
            "AGENTJOBS_DATABASE_URL": server.create_database("agentjobs"),
            "AGENTJOBS_PATH": str(ROOT / "examples"),
            "AGENTJOBS_LOG_FORMAT": "text",
        }
        migrated = subprocess.run(
            [str(AGENTJOBS), "migrate", "up"], env={**os.environ, **environment}, cwd=folder
        )
        if migrated.returncode != 0:
            raise DemoFailed(f"agentjobs migrate up ended with status {migrated.returncode}")
        operator = ["operator", f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={namespace}"]
        worker = ["worker", "--queue=agents=10", f"--module={MODULES}", "--drain-seconds=5"]
        parts = {
            "operator": stack.enter_context(
                part("operator", *operator, folder=folder, environment=environment)
            ),
            "worker": stack.enter_context(part("worker", *worker, folder=folder, environment=environment)),
        }

        step("applying the examples")
        files = [argument for file in EXAMPLES for argument in ("-f", str(file.relative_to(ROOT)))]
        os.chdir(ROOT)
        kubectl.show("apply", *files)
        applied = time.monotonic()
        watch_until_finished(kubectl, parts, folder)
        kubectl.show("wait", "--for=condition=Finished", "agentjobs", "--all", "--timeout=60s")
        kubectl.show("get", "agentjobs", "-o", "wide")
        step(f"all finished {time.monotonic() - applied:.1f} s after they were applied; the answers:")
        for job in json.loads(kubectl.run("get", "agentjobs", "-o", "json"))["items"]:
            status = job.get("status", {})
            answer = (
                status.get("result")
                or f"({status.get('state')}: {status.get('reason')} {status.get('message', '')})"
            )
            print(f"  {job['metadata']['name']}: {answer.strip()}")
        wait_for_event(kubectl)
        kubectl.show("describe", "agentjob", "weather")
        if os.environ.get(KEEP):
            print(f"\n{KEEP} is set: everything goes on. In another terminal:\n")
            print(
                f"  export KUBECONFIG={kubectl.kubeconfig}\n  kubectl --namespace {namespace} get agentjobs\n"
            )
            input("Enter ends it. ")
        step("ending what was started here")


def wait_for_event(kubectl: Kubectl) -> None:
    """Events are posted beside the status, not before it: give the last one its moment."""
    deadline = time.monotonic() + 10
    while "JobCompleted" not in kubectl.run("get", "events") and time.monotonic() < deadline:
        time.sleep(0.2)


def choose(stack: ExitStack, folder: Path) -> Kubectl | None:
    """The best cluster at hand; None where none can be had, which is said."""
    given = given_cluster()
    if given is not None:
        step(f"using the cluster that {GIVEN} names (its definitions of agentjobs.dev stay there)")
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


def main() -> int:
    """The exit status."""
    # SIGTERM ends the demo as Ctrl-C does: through the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentjobs-demo-")))
            kubectl = choose(stack, folder)
            if kubectl is None:
                run_locally("no API server can be had here: the same examples, without a cluster")
                print("\nThe part with Kubernetes was left out, for the reasons above.")
                return 0
            run_on(kubectl, folder)
    except (DemoFailed, LocalServerError, AssetsError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\ndone in {time.monotonic() - STARTED:.0f} s; nothing was left running", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
