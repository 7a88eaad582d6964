"""A kind cluster with our images and chart in it, for the tests that need pods. One for all of them.

Postgres is a release of its own, as a database is in real life: uninstalling agentjobs leaves it alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from pytest_kind import KindCluster

from charts import CHART, Helm, Values
from clusters import Cluster, docker_answers
from tiers import leave_out

ROOT = Path(__file__).parents[2]
NAMESPACE = "agentjobs"
DATABASE_SECRET = "db-agentjobs-dev-postgres"
DATABASE_POD = "db-agentjobs-dev-postgres-0"
OPERATOR, WORKER, WEB = "agentjobs-operator", "agentjobs-worker-default", "agentjobs-web"
SERVICES = "10.96.0.0/16"
"""kind's range of Services."""
DEADLINE_SECONDS = 90.0
DRAIN_SECONDS = 20
TO_BE_SEEN = "echo:sleep 12"
"""A script for jobs that are all seen running at once, on a machine that is busy, and end within a drain."""
BEYOND_DRAIN = "echo:sleep 40"
"""A script for a job that is seen running, and that a worker gives back when its drain is over."""
AFTER_DRAIN_SECONDS = DRAIN_SECONDS + 40 + DEADLINE_SECONDS
"""A deadline for such a job: what it sleeps before the drain is over and in its next run, and what every other has."""
NODES = """
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    kubeadmConfigPatches:
      - |
        kind: InitConfiguration
        nodeRegistration: {taints: []}
  - role: worker
"""
T = TypeVar("T")


def until(look: Callable[[], T], accept: Callable[[T], object] = bool, within: float = DEADLINE_SECONDS) -> T:
    """The first answer that is accepted; fails with the last one after the deadline."""
    deadline = time.monotonic() + within
    while True:
        answer = look()
        if accept(answer):
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within} s; the last answer was {answer!r}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Pods:
    """The cluster, helm, and the tag of the images that are in its nodes."""

    cluster: Cluster
    helm: Helm
    tag: str
    kind: KindCluster = field(repr=False)

    def kubectl(self, *arguments: str, check: bool = True, input: str | None = None) -> str:
        return self.cluster.kubectl(*arguments, check=check, input=input)

    def ask_helm(self, *arguments: str, values: Values | None = None, ok: bool = True) -> str:
        done = self.helm.run(f"--kubeconfig={self.cluster.kubeconfig}", *arguments, values=values)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(
        self, release: str, values: Values, *arguments: str, namespace: str = NAMESPACE, chart: Path = CHART
    ) -> str:
        """Install or upgrade a release, and wait until its pods are ready."""
        command = (
            "upgrade",
            "--install",
            release,
            str(chart),
            f"--namespace={namespace}",
            "--create-namespace",
        )
        return self.ask_helm(*command, "--wait", "--timeout=110s", *arguments, values=values)

    def values(self, **overrides: Any) -> dict[str, Any]:
        """What the tests' own release is installed with."""
        worker = {
            "image": {"repository": "agentjobs-pods", "tag": self.tag},
            "replicas": 2,
            "modules": ["agents", "planner"],
            "preload": ["agents.weather"],
            "drainSeconds": DRAIN_SECONDS,
            "stopGraceSeconds": 1,
            "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "2Gi"}},
        }
        base: dict[str, Any] = {
            "image": {"tag": self.tag},
            "database": {"existingSecret": DATABASE_SECRET},
            "poolDefaults": worker,
            # a test lets it run
            "sessionRetention": {"enabled": True, "schedule": "0 0 1 1 *"},
        }
        return {**base, **overrides}

    def database_values(self, **persistence: Any) -> dict[str, Any]:
        """A Postgres and nothing else."""
        postgres = {
            "enabled": True,
            "image": f"agentjobs-dev-postgres:{self.tag}",
            "persistence": persistence,
        }
        nothing = {"crds": {"enabled": False}, "operator": {"enabled": False}, "pools": {"default": None}}
        return {**nothing, "devPostgres": postgres, "tests": {"enabled": False}}

    def names(self, component: str, namespace: str = NAMESPACE) -> list[str]:
        """Pods of a component that are not about to go."""
        found = self.objects("pods", namespace, f"app.kubernetes.io/component={component}")
        return [p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"]]

    def objects(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        listed = json.loads(
            self.kubectl("get", kind, f"--namespace={namespace}", f"--selector={selector}", "-o", "json")
        )
        items: list[dict[str, Any]] = listed["items"]
        return items

    def ready(self, deployment: str, namespace: str = NAMESPACE) -> None:
        self.kubectl(
            "rollout", "status", f"deploy/{deployment}", f"--namespace={namespace}", "--timeout=110s"
        )

    def inside(self, pod: str, *command: str, namespace: str = NAMESPACE, check: bool = True) -> str:
        """The output of a command in a pod's first container."""
        return self.kubectl("exec", f"--namespace={namespace}", pod, "--", *command, check=check)

    def sql(self, query: str, pod: str = DATABASE_POD, namespace: str = NAMESPACE) -> str:
        url = "postgresql://agentjobs:agentjobs@localhost/agentjobs"
        return self.inside(pod, "psql", "-XAtq", url, "-c", query, namespace=namespace).strip()

    def restarts(self, component: str) -> int:
        pods = self.objects("pods", NAMESPACE, f"app.kubernetes.io/component={component}")
        return sum(c["restartCount"] for pod in pods for c in pod["status"].get("containerStatuses", []))


@dataclass(frozen=True)
class Jobs:
    """AgentJobs of one namespace."""

    pods: Pods
    namespace: str

    def create(self, names: Sequence[str], message: str = "", **spec: Any) -> list[str]:
        """Jobs with the model echo; ``message`` is a script of it."""
        inline = {"type": "llm", "name": "echo", "model": "echo", "instruction": "Answer."}
        self.pods.cluster.apply(
            [
                {
                    "apiVersion": "agentjobs.dev/v1alpha1",
                    "kind": "AgentJob",
                    "metadata": {"name": name},
                    "spec": {"agent": {"inline": inline}, "message": f"Hello.\n{message}", **spec},
                }
                for name in names
            ],
            self.namespace,
        )
        return list(names)

    def statuses(self) -> dict[str, Mapping[str, Any]]:
        return {
            o["metadata"]["name"]: o.get("status", {}) for o in self.pods.objects("agentjobs", self.namespace)
        }

    def states(self, names: Sequence[str]) -> list[str]:
        found = self.statuses()
        return [found.get(name, {}).get("state", "") for name in names]

    def in_state(self, state: str, names: Sequence[str], within: float = DEADLINE_SECONDS) -> None:
        """Wait until all of them are."""
        until(lambda: self.states(names), lambda found: set(found) == {state}, within)

    def complete(
        self, names: Sequence[str], within: float = DEADLINE_SECONDS, attempts: int | None = 1
    ) -> None:
        """Wait until all are finished; every one must be Complete, with this many attempts charged."""
        finished = {"Complete", "Failed", "Cancelled", "Rejected"}
        until(lambda: self.states(names), lambda found: set(found) <= finished, within)
        found = self.statuses()
        wrong = {n: found[n] for n in names if found[n]["state"] != "Complete"}
        assert not wrong, wrong
        if attempts is not None:
            assert {n: found[n]["attempts"] for n in names if found[n]["attempts"] != attempts} == {}

    def workers(self, names: Sequence[str]) -> list[str]:
        found = self.statuses()
        return [found[name].get("worker", "") for name in names]

    def reasons(self) -> list[str]:
        """Of the Events."""
        return [event["reason"] for event in self.pods.objects("events", self.namespace)]

    def interrupted(self) -> list[str]:
        """Names of the jobs of which a run ended, and another one had to follow."""
        return sorted({run.partition("|")[0] for run in self.ended_runs()})

    def ended_runs(self) -> list[str]:
        """The runs that ended without their job's end, each in a line: job, run, worker, start, end, kind, reason, message."""
        told = "name, run, worker_name, started_at, ended_at, kind, reason, translate(message, E'\\n', ' ')"
        ended = f"select {told} from attempt join job using (id) where namespace = '{self.namespace}' order by 1, 2"
        return self.pods.sql(ended).splitlines()

    def story(self) -> str:
        """What became of every job and its runs, and the pods as they are, for whoever asks why a test failed."""
        told = ("state", "reason", "attempts", "worker", "message")
        jobs = [f"{name}: {[status.get(key) for key in told]}" for name, status in self.statuses().items()]
        pods = self.pods.kubectl("get", "pods", f"--namespace={NAMESPACE}")
        return "\n".join([*jobs, "", *self.ended_runs(), "", pods])


def images() -> str:
    """Build all images from this checkout; their tag, which is their content."""
    # by its tag: these tests may run where the base image was loaded, and no registry answers for a digest
    base = re.findall(r"^ARG BASE_IMAGE=(.*)@sha256", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    environment = {"DOCKER_BUILDKIT": "0", "BASE_IMAGE": base, **os.environ}

    def command(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    command("bash", "scripts/image.sh")
    build = ("docker", "build", "-q", "--build-arg")
    command(*build, "BASE=agentjobs-worker:dev", "-t", "custom-worker:dev", "examples/custom-worker")
    command(
        *build,
        "BASE=custom-worker:dev",
        "-t",
        "agentjobs-pods:dev",
        "-f",
        "tests/pods/Dockerfile",
        "examples",
    )
    identity = command("docker", "image", "inspect", "-f", "{{.Id}}", "agentjobs:dev")
    tag = f"test-{identity.removeprefix('sha256:')[:12]}"
    for name in ("agentjobs", "agentjobs-pods", "agentjobs-dev-postgres"):
        command("docker", "tag", f"{name}:dev", f"{name}:{tag}")
    return tag


@contextmanager
def kind_with_images(config: pytest.Config, folder: Path, helm: Helm) -> Iterator[Pods]:
    """Two nodes, both of which take pods, with the images in them. Kept with ``--keep-cluster``."""
    binary = config.getoption("kind_bin") or os.environ.get("KIND_BIN") or shutil.which("kind")
    kubectl = config.getoption("kind_kubectl_bin") or os.environ.get("KUBECTL_BIN") or shutil.which("kubectl")
    if binary is None or kubectl is None:
        leave_out("kind and kubectl are needed, and one of them is not on PATH")
    if not docker_answers():
        leave_out("no Docker engine answers")
    kind = KindCluster(
        f"{config.getoption('cluster_name')}-pods",
        image=config.getoption("kind_image") or os.environ.get("KIND_NODE_IMAGE"),
        kind_path=Path(binary),
        kubectl_path=Path(kubectl),
    )
    nodes = folder / "nodes.yaml"
    nodes.write_text(NODES)
    try:
        with ThreadPoolExecutor() as beside:  # the one works while the other waits
            building = beside.submit(images)
            kind.create(config_file=nodes)
            tag = building.result()
        cluster = Cluster(kind.kubeconfig_path.absolute(), Path(kubectl), "kind")
        for node in (f"{kind.name}-control-plane", f"{kind.name}-worker"):
            keep_services_inside(node)
        names = [f"{name}:{tag}" for name in ("agentjobs", "agentjobs-pods", "agentjobs-dev-postgres")]
        subprocess.run([binary, "load", "docker-image", f"--name={kind.name}", *names], check=True)
        cluster.kubectl("rollout", "status", "deploy/coredns", "--namespace=kube-system", "--timeout=110s")
        yield Pods(cluster, helm, tag, kind)
    finally:
        if not config.getoption("keep_cluster"):
            kind.delete()


def keep_services_inside(node: str) -> None:
    """Refuses what goes to a Service without an endpoint. On its way out of the node some networks would answer it, TLS and
    all, and the API server would take their words for those of the Service's pods, on that connection for as long as it lasts."""
    for chain in ("OUTPUT", "FORWARD"):
        rule = ["iptables", "-A", chain, "-d", SERVICES, "-j", "REJECT"]
        subprocess.run(["docker", "exec", node, *rule], check=True)


def disk_for_postgres(pods: Pods) -> str:
    """A claim on a folder of the first node that anybody may write to; its name. It outlives every pod."""
    node = f"{pods.kind.name}-control-plane"
    folder = "/var/lib/agentjobs-postgres"
    subprocess.run(["docker", "exec", node, "install", "-d", "-m", "0777", folder], check=True)
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "postgres"}
    volume = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": folder},
        "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
                        ]
                    }
                ]
            }
        },
    }
    pods.cluster.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": "postgres"},
                "spec": volume,
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "postgres", "namespace": NAMESPACE},
                "spec": {**claim, "resources": {"requests": {"storage": "1Gi"}}},
            },
        ]
    )
    return "postgres"


def restricted_namespace(pods: Pods, name: str) -> None:
    """A namespace that admits nothing but pods of the profile `restricted`."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    pods.cluster.apply(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": label}})
    )
