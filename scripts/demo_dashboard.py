"""The dashboard of `make demo`: the runs API behind the demo's own API server, and what a newcomer is told at the end."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from demo_clusters import AGENTJOBS, ROOT, DemoFailed, Kubectl, step

from agentjobs.local.process import free_port, wait_until

API = "/apis/runs.agentjobs.dev/v1alpha1"
SERVICE = "agentjobs-web"
SECRET = "agentjobs-web-tls"
SECONDS = 60.0
KEEP = "DEMO_KEEP"
SCHEDULES = ("hourly-monitor", "morning-brief")
YOURS = "refund-yours"
SEE = (
    ("Now", "what waits and runs, what ended minute by minute, the tokens of the day"),
    ("Jobs", "booking took three attempts: open it for why the first two failed, and the conversation"),
    ("Approvals", f"{YOURS} asks whether it may pay: approve it, or reject it"),
    ("Schedules", "two of them, with their next five times: run one now, and watch it among the jobs"),
    ("Audit", "who approved what"),
)
"""What to look at, page by page."""


@dataclass(frozen=True)
class RunsApi:
    """The runs API as a process of this machine, which the API server reaches by a Service of the demo's namespace.

    The parts that a cluster with nodes has and this one lacks are played here: the endpoint that becomes ready, and the
    Secret that becomes files. The operator makes the certificate and registers the API, as anywhere.
    """

    kubectl: Kubectl
    folder: Path
    port: int

    @classmethod
    def place(cls, kubectl: Kubectl, folder: Path) -> RunsApi:
        """Makes the Service, with an endpoint that is not ready yet."""
        found = cls(kubectl, folder / "web", free_port())
        found.folder.mkdir(mode=0o700)
        service = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": found.port}]}
        kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE}, "spec": service})
        found._endpoint(ready=False)
        return found

    @property
    def operators_environment(self) -> dict[str, str]:
        """What the operator is told."""
        return {
            "AGENTJOBS_RUNS_API_SERVICE": f"{self.kubectl.namespace}/{SERVICE}",
            "AGENTJOBS_RUNS_API_PORT": str(self.port),
            "AGENTJOBS_RUNS_API_SECRET": SECRET,
        }

    @property
    def arguments(self) -> list[str]:
        """Of the process, once the certificate is there."""
        return [
            "web",
            f"--tls-dir={self.folder}",
            f"--port={self.port}",
            f"--kubeconfig={self.kubectl.kubeconfig}",
        ]

    def fetch_certificate(self) -> None:
        """Writes the operator's certificate into files, as a kubelet would.

        :raises DemoFailed: the operator does not make it.
        """
        data: dict[str, str] = {}

        def there() -> bool:
            text = self.kubectl.run("get", "secret", SECRET, "-o", "json", "--ignore-not-found")
            data.update(json.loads(text)["data"] if text else {})
            return bool(data)

        if not wait_until(there, SECONDS, every_seconds=0.2):
            raise DemoFailed(f"the operator made no certificate within {SECONDS:.0f} s")
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).write_bytes(base64.b64decode(data[name]))

    def wait_until_registered(self) -> None:
        """Says that the endpoint is ready, and waits until the API server serves the API.

        :raises DemoFailed: it does not.
        """
        self._endpoint(ready=True)

        def served() -> bool:
            return "AgentRun" in self.kubectl.run("get", "--raw", API, check=False)

        if not wait_until(served, SECONDS, every_seconds=0.2):
            events = self.kubectl.run("describe", "service", SERVICE, check=False)
            raise DemoFailed(f"the runs API was not registered within {SECONDS:.0f} s:\n{events}")
        step("the operator has registered the runs API")

    def _endpoint(self, *, ready: bool) -> None:
        self.kubectl.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": ready}}],
                "ports": [{"port": self.port}],
            }
        )


def kept() -> bool:
    """Whether everything goes on until somebody ends it: as they say, else where there is a terminal to look from."""
    said = os.environ.get(KEEP, "")
    return said not in ("0", "no", "false") if said else sys.stdin.isatty() and sys.stdout.isatty()


def leave_something_to_do(kubectl: Kubectl) -> None:
    """A question of a tool, and schedules: what a person may answer, start and watch."""
    question: dict[str, Any] = yaml.safe_load((ROOT / "examples/approval.yaml").read_text())
    question["metadata"]["name"] = YOURS
    kubectl.apply(question)
    for name in SCHEDULES:
        kubectl.run("apply", "-f", str(ROOT / f"examples/schedules/{name}.yaml"))


def commands(kubectl: Kubectl, database: str, *, registered: bool) -> list[str]:
    """What opens the dashboard in another terminal."""
    if not registered:
        return [f"export AGENTJOBS_DATABASE_URL='{database}'", f"{AGENTJOBS} web --port {free_port()}"]
    folders = [str(AGENTJOBS.parent)]
    if shutil.which("kubectl") is None:
        folders.append(str(kubectl.path.parent))
    return [
        f"export KUBECONFIG={kubectl.kubeconfig} PATH={os.pathsep.join(folders)}{os.pathsep}$PATH",
        f"kubectl agentjobs web --namespace {kubectl.namespace}",
    ]


def keep(kubectl: Kubectl, database: str, *, registered: bool) -> None:
    """Says how the dashboard is opened and what there is to see, and waits until somebody ends it."""
    if registered:
        leave_something_to_do(kubectl)
    print("\nEverything goes on. The dashboard, from another terminal:\n")
    for line in commands(kubectl, database, registered=registered):
        print(f"  {line}")
    how = "through the API server, with your own rights" if registered else "by a door for administrators"
    print(f"\nIt opens in a browser ({how}). Look at\n")
    for page, what in SEE if registered else SEE[:2]:
        print(f"  {page:10} {what}")
    if registered:  # else the first of the commands says it
        print("\nA program or a worker of your own (docs/python.md) takes part with\n")
        print(f"  export AGENTJOBS_DATABASE_URL='{database}'")
    else:
        print(
            "\nThis cluster does not reach the demo's processes. `make kind` installs the dashboard in a cluster."
        )
    try:
        input("\nEnter ends it. ")
    except EOFError:  # nobody is there to press it
        signal.pause()
