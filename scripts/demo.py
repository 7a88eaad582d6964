"""`make demo`: the examples on real parts, from `kubectl apply` to the answer and the dashboard: API server, operator, worker, web.

The cluster is the best at hand (demo_clusters.py). The demo ends each process that it started, by its pid.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo_clusters import (
    AGENTJOBS,
    EXAMPLE_ARGUMENTS,
    ROOT,
    STARTED,
    DemoFailed,
    Kubectl,
    choose,
    run_locally,
    step,
)
from demo_dashboard import RunsApi, keep, kept

from agentjobs.local.assets import AssetsError
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.local.process import LocalServerError, Terms, end, free_port, spawn, tail, wait_until

MODULES = "agents"  # the package of agents beside the manifests
READY_SECONDS = 90.0
FINISH_SECONDS = 180.0


@contextmanager
def part(
    name: str, *arguments: str, folder: Path, environment: Mapping[str, str], grace_seconds: float = 30
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, an operator or the dashboard, for the block: then it is ended with SIGTERM."""
    log = folder / f"{name}.log"
    process = spawn(
        [str(AGENTJOBS), *arguments], log=log, terms=Terms(signal.SIGTERM), env={**os.environ, **environment}
    )
    print(f"$ agentjobs {' '.join(arguments)}    (pid {process.pid}, log {log})", flush=True)
    try:
        yield process
    finally:
        end(process, signal.SIGTERM, grace_seconds)


def check_alive(parts: Mapping[str, subprocess.Popen[bytes]], folder: Path) -> None:
    """Checks that all processes run.

    :raises DemoFailed: one has ended; the message has the end of its log.
    """
    for name, process in parts.items():
        if process.poll() is not None:
            log = tail(folder / f"{name}.log", 30)
            raise DemoFailed(f"the {name} ended with status {process.returncode}; end of its log:\n{log}")


def wait_until_ready(
    name: str, port: int, parts: Mapping[str, subprocess.Popen[bytes]], folder: Path
) -> None:
    """Waits until the process's /readyz answers 200.

    :raises DemoFailed: it does not in time, or a process has ended.
    """

    def ready() -> bool:
        check_alive(parts, folder)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    if not wait_until(ready, READY_SECONDS, every_seconds=0.1):
        raise DemoFailed(
            f"the {name} was not ready after {READY_SECONDS:.0f} s:\n{tail(folder / f'{name}.log', 30)}"
        )
    step(f"the {name} is ready")


def watch_until_finished(
    kubectl: Kubectl, parts: Mapping[str, subprocess.Popen[bytes]], folder: Path
) -> None:
    """Prints `kubectl get agentjobs` at each change of a state or reason, until all jobs have finished.

    The demo approves the question of a tool, as a person would.
    """
    deadline = time.monotonic() + FINISH_SECONDS
    shown: list[list[str]] = []
    answered: set[str] = set()
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
        for each in objects:
            question = each.get("status", {}).get("inputRequest")
            if question is not None and question["id"] not in answered:
                answered.add(question["id"])
                kubectl.show("agentjobs", "approve", each["metadata"]["name"], "--yes")
        if all(finished(each) for each in objects):
            return
        if time.monotonic() > deadline:
            logs = "\n".join(f"{name}:\n{tail(folder / f'{name}.log')}" for name in parts)
            raise DemoFailed(f"not every job finished within {FINISH_SECONDS:.0f} s\n{logs}")
        time.sleep(0.5)


def finished(job: Mapping[str, Any]) -> bool:
    """Whether the job's condition Finished is true."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(each["type"] == "Finished" and each["status"] == "True" for each in conditions)


def run_on(kubectl: Kubectl, folder: Path) -> None:
    """Runs the demo on a cluster: CRDs, database, operator, worker, the examples, their answers."""
    with ExitStack() as stack:
        namespace = f"agentjobs-demo-{os.getpid()}"
        kubectl.run("create", "namespace", namespace)
        stack.callback(kubectl.run, "delete", "namespace", namespace, "--wait=false", check=False)
        kubectl = replace(kubectl, namespace=namespace)
        if kubectl.here:  # nobody else's: who uses it means the demo's namespace
            kubectl.run("config", "set-context", "--current", f"--namespace={namespace}")
        print(f"\nexport KUBECONFIG={kubectl.kubeconfig}    (namespace {namespace})")
        kubectl.show("apply", "--server-side", "-f", str(ROOT / "crds"))
        kubectl.run("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))

        step("starting Postgres, migrating its schema, starting the operator and a worker")
        server = stack.enter_context(EmbeddedPostgres())
        database = server.create_database("agentjobs")
        environment = {
            "AGENTJOBS_DATABASE_URL": database,
            "AGENTJOBS_PATH": str(ROOT / "examples"),
            "AGENTJOBS_LOG_FORMAT": "text",
        }
        migrated = subprocess.run(
            [str(AGENTJOBS), "migrate", "up"], env={**os.environ, **environment}, cwd=folder
        )
        if migrated.returncode != 0:
            raise DemoFailed(f"agentjobs migrate up ended with status {migrated.returncode}")
        operator = ["operator", f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={namespace}"]
        worker = ["worker", "--queue=agents=10,scheduled=5", f"--module={MODULES}", "--drain-seconds=5"]
        ports = {"operator": free_port(), "worker": free_port()}
        operator.append(f"--health-port={ports['operator']}")
        worker.append(f"--health-port={ports['worker']}")
        runs_api = RunsApi.place(kubectl, folder) if kubectl.here else None
        told = environment | (runs_api.operators_environment if runs_api else {})
        parts = {
            "operator": stack.enter_context(part("operator", *operator, folder=folder, environment=told)),
            "worker": stack.enter_context(part("worker", *worker, folder=folder, environment=environment)),
        }
        for name, port in ports.items():
            wait_until_ready(name, port, parts, folder)
        if runs_api is not None:
            runs_api.fetch_certificate()
            port = free_port()
            web = [*runs_api.arguments, f"--health-port={port}"]
            # its API server ends, too, so nobody is to be served to the end
            parts["dashboard"] = stack.enter_context(
                part("dashboard", *web, folder=folder, environment=environment, grace_seconds=1)
            )
            wait_until_ready("dashboard", port, parts, folder)
            runs_api.wait_until_registered()

        step("applying the examples")
        os.chdir(ROOT)
        kubectl.show("apply", *EXAMPLE_ARGUMENTS)
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
            print(textwrap.indent(f"{job['metadata']['name']}: {answer.strip()}", "  "))
        wait_for_event(kubectl)
        kubectl.show("describe", "agentjob", "weather")
        if runs_api is not None:
            kubectl.show("get", "agentruns")
        if kept():
            keep(kubectl, database, registered=runs_api is not None)
        step("ending what was started here")


def wait_for_event(kubectl: Kubectl) -> None:
    """Waits for the last Event, which the operator may post after the status."""
    deadline = time.monotonic() + 10
    while "JobCompleted" not in kubectl.run("get", "events") and time.monotonic() < deadline:
        time.sleep(0.2)


def main() -> int:
    """Runs the demo. Returns the exit status."""
    # SIGTERM ends the demo through the clean-up, as Ctrl-C does
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
    print(f"\ndone in {time.monotonic() - STARTED:.0f} s; nothing was left running")
    if not kept():
        print(
            "make demo KEEP=1 goes on, and names the command that opens the dashboard: kubectl agentjobs web"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
