"""An AgentJob beside a batch/v1 Job whose pod starts the same agent from the same image, in one kind cluster.

One at a time, then all at once; a job's end counts when a watch shows it. It takes a cluster in which the chart is
installed as ``make kind`` does it: ``BENCH_KUBECONFIG`` names it (``kind get kubeconfig --name agentjobs``). The Job
keeps its conversation in memory, the AgentJob in Postgres. Both are created by HTTP, alternately.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks import report
from benchmarks.cluster import Kind, Watched, watched
from benchmarks.report import Options, Table, number, percentile

GIVEN = "BENCH_KUBECONFIG"
RELEASE_NAMESPACE = "agentjobs"
JOBS = 20
_LIMIT_SECONDS = 300.0
_PAUSE_SECONDS = 0.5
"""Between two lone jobs: the next standby gets ready, the last pod is gone."""
_COMMAND = "python -m benchmarks.pods"
_AGENT = """
import asyncio
from google.adk.agents import LlmAgent
from google.adk.runners import InMemoryRunner
from google.genai import types
from agentjobs.agents.definition import echo

echo.register()
agent = LlmAgent(name="echo", model="echo", instruction="Repeat.")

async def main():
    runner = InMemoryRunner(agent=agent, app_name="bench")
    session = await runner.session_service.create_session(app_name="bench", user_id="u")
    message = types.UserContent(parts=[types.Part(text="hello")])
    async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message):
        print(event.content)

asyncio.run(main())
"""


class NoCluster(Exception):
    """What is missing, and how to get it."""


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    command = [os.environ.get("KUBECTL_BIN", "kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
    return subprocess.run(command, text=True, check=True, capture_output=True, timeout=120).stdout


def batch_job(image: str, name: str) -> dict[str, Any]:
    container = {"name": "agent", "image": image, "command": ["python", "-c", _AGENT]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def batch_state(job: dict[str, Any]) -> str:
    conditions = job.get("status", {}).get("conditions", [])
    return next(
        (c["type"] for c in conditions if c["status"] == "True" and c["type"] in ("Complete", "Failed")), ""
    )


async def one(jobs: Watched) -> float:
    """Seconds from the request to Complete."""
    name = f"bench-{uuid4().hex[:8]}"
    begin = time.perf_counter()
    await jobs.create(name)
    return (await jobs.all_complete([name], _LIMIT_SECONDS))[0] - begin


async def at_once(jobs: Watched, n: int) -> float:
    """Seconds from the first request to the last Complete."""
    names = [f"bench-{uuid4().hex[:8]}" for _ in range(n)]
    begin = time.perf_counter()
    await asyncio.gather(*(jobs.create(name) for name in names))
    return max(await jobs.all_complete(names, _LIMIT_SECONDS)) - begin


async def measure(kubeconfig: Path, namespace: str, image: str, options: Options) -> list[tuple[str, ...]]:
    batch = Kind(
        lambda where: f"/apis/batch/v1/namespaces/{where}/jobs",
        lambda name: batch_job(image, name),
        batch_state,
    )
    n = options.count(JOBS, 2)
    async with watched(kubeconfig, namespace) as ours, watched(kubeconfig, namespace, batch) as theirs:
        alone: dict[str, list[float]] = {"ours": [], "theirs": []}
        for i in range(-1, n):
            for name, jobs in (("ours", ours), ("theirs", theirs)):
                took = await one(jobs)
                if i >= 0:  # the first ones plan statements and fill caches
                    alone[name].append(took)
                await asyncio.sleep(_PAUSE_SECONDS)
        together: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(options.rounds):
            for name, jobs in (("ours", ours), ("theirs", theirs)):
                together[name].append(await at_once(jobs, n))
                await asyncio.sleep(_PAUSE_SECONDS)
    rows = []
    for name, label in (("ours", "**AgentJob**"), ("theirs", "batch/v1 Job, same image")):
        p50, p95 = (percentile(alone[name], share) for share in (0.5, 0.95))
        last = percentile(together[name], 0.5)
        faster = percentile(alone["theirs"], 0.5) / p50, percentile(together["theirs"], 0.5) / last
        rows.append(
            (
                label,
                number(p50 * 1000),
                number(p95 * 1000),
                number(last),
                number(n / last),
                *map(number, faster),
            )
        )
    return rows


def table(options: Options) -> Table:
    given = os.environ.get(GIVEN)
    if not given or not Path(given).is_file():
        raise NoCluster(f"no cluster with the chart in it: make kind, then {GIVEN}=FILE with its kubeconfig")
    kubeconfig, namespace = Path(given), f"bench-{uuid4().hex[:8]}"
    workers = json.loads(
        kubectl(
            kubeconfig,
            "get",
            "deploy",
            f"-n{RELEASE_NAMESPACE}",
            "-o",
            "json",
            "-l",
            "agentjobs.dev/pool=default",
        )
    )["items"]
    if not workers:
        raise NoCluster(f"{GIVEN}={given}: no pool `default` in the namespace {RELEASE_NAMESPACE}")
    image = workers[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    pods, n = workers[0]["spec"]["replicas"], options.count(JOBS, 2)
    kubectl(kubeconfig, "create", "namespace", namespace)
    try:
        rows = asyncio.run(measure(kubeconfig, namespace, image, options))
    finally:
        kubectl(kubeconfig, "delete", "namespace", namespace, "--wait=false")
    return Table(
        "In a cluster: an AgentJob beside a Job",
        _COMMAND,
        ("what", "alone, p50 ms", "p95 ms", f"{n} at once, s", "jobs/s", "faster alone", "faster at once"),
        rows,
        f"From creation to Complete, {n} one at a time, then {n} at once ({options.rounds} rounds, the median). "
        f"Worker pods: {pods}, 10 slots each. Aim: p50 ≤ 150 ms, 20 times faster",
    )


def ready_seconds(pod: dict[str, Any]) -> float:
    """From the start of a pod's container to its readiness, which Kubernetes tells in whole seconds."""
    (ready,) = [c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready"]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()


def image_table(options: Options) -> Table:
    """Size and start of the image that the operator's pods run; Docker must have it too."""
    kubeconfig = Path(os.environ[GIVEN])
    rows: list[tuple[str, str]] = []
    for component in ("operator", "worker"):
        label = f"app.kubernetes.io/component={component}"
        found = kubectl(kubeconfig, "get", "pods", f"-n{RELEASE_NAMESPACE}", "-l", label, "-o", "json")
        pods = json.loads(found)["items"]
        seconds = percentile([ready_seconds(pod) for pod in pods], 0.5)
        rows.append((f"{component}: container's start → ready", f"{seconds:.0f} s"))
        image = pods[0]["spec"]["containers"][0]["image"]
        if component == "operator":
            size = subprocess.check_output(
                ["docker", "image", "inspect", "-f", "{{.Size}}", image], text=True
            )
            rows.append(("size of the image, unpacked", f"{int(size) / 1e6:.0f} MB"))
            took = []
            for _ in range(options.count(5)):
                begin = time.perf_counter()
                subprocess.run(["docker", "run", "--rm", image, "--version"], check=True, capture_output=True)
                took.append(time.perf_counter() - begin)
            rows.append(
                (
                    "`docker run … agentjobs --version`, the container included",
                    f"{number(percentile(took, 0.5))} s",
                )
            )
    return Table("The image", _COMMAND, ("what", "median"), sorted(rows, key=lambda row: row[0][0] != "s"))


def run(options: Options) -> list[Table]:
    try:
        return [table(options), image_table(options)]
    except NoCluster as error:
        return [Table("In a cluster: an AgentJob beside a Job", _COMMAND, ("left out",), [(str(error),)])]


if __name__ == "__main__":
    report.main(run, __doc__)
