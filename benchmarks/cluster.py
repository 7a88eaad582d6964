"""A local control plane with our definitions, and a client that creates objects and watches them finish."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from agentjobs.controller.apiserver.client import load_configuration, ssl_context_of
from agentjobs.controller.apiserver.resources import AGENT_JOBS
from agentjobs.local import assets
from agentjobs.local.controlplane import ControlPlane
from benchmarks.clients import ROOT


class NoControlPlane(Exception):
    """This machine has no etcd and kube-apiserver at hand; says what would help."""


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Started, with our definitions served. Raises NoControlPlane."""
    found = assets.find()
    if found is None:
        raise NoControlPlane(
            f"no control plane is at hand: set {assets.VARIABLE} to a folder with etcd and kube-apiserver,"
            " or run `make build-kube` once"
        )
    if found.kubectl is None:
        raise NoControlPlane(f"{found.origin} has no kubectl, and none is on PATH")
    with ControlPlane(found) as plane:
        crds = [f"--filename={file}" for file in sorted((ROOT / "crds").glob("*.yaml"))]
        kubectl(plane, "apply", "--server-side", *crds)
        kubectl(plane, "wait", "--for=condition=Established", "--timeout=60s", *crds)
        yield plane


def kubectl(plane: ControlPlane, *arguments: str, said: str | None = None) -> None:
    assert plane.assets.kubectl is not None
    command = [str(plane.assets.kubectl), f"--kubeconfig={plane.kubeconfig}", *arguments]
    subprocess.run(command, input=said, text=True, check=True, capture_output=True, timeout=120)


def echo_job(name: str) -> dict[str, Any]:
    return {
        "apiVersion": AGENT_JOBS.api_version,
        "kind": AGENT_JOBS.kind,
        "metadata": {"name": name},
        "spec": {
            "agent": {"inline": {"type": "llm", "name": "echo", "model": "echo", "instruction": "Repeat."}},
            "message": "hello",
        },
    }


def state_of(job: dict[str, Any]) -> str:
    """An AgentJob's state; empty: none yet."""
    found: str = job.get("status", {}).get("state", "")
    return found


@dataclass(frozen=True, slots=True)
class Kind:
    """What is created and watched: AgentJobs, unless a bench compares them with something else."""

    collection: Callable[[str], str] = AGENT_JOBS.collection
    """The path of a namespace's objects."""
    make: Callable[[str], dict[str, Any]] = echo_job
    state: Callable[[dict[str, Any]], str] = state_of


class Watched:
    """Creates objects in one namespace, and knows when each was seen to be Complete."""

    def __init__(self, http: aiohttp.ClientSession, host: str, namespace: str, kind: Kind) -> None:
        self._http, self._kind, self._url = http, kind, host + kind.collection(namespace)
        self._completed: dict[str, asyncio.Future[float]] = {}
        self._last: dict[str, Any] = {}
        self.watches = 0
        """That ended early."""

    async def create(self, name: str) -> None:
        """Raises for any answer but success."""
        async with self._http.post(self._url, json=self._kind.make(name)) as answer:
            answer.raise_for_status()

    def completion(self, name: str) -> asyncio.Future[float]:
        """Done with the ``perf_counter`` at which the watch showed it. To be asked for before it is created."""
        return self._completed.setdefault(name, asyncio.get_running_loop().create_future())

    async def all_complete(self, names: Sequence[str], within: float) -> list[float]:
        """When each was seen Complete. Raises RuntimeError that says what the others showed last."""
        done = [self.completion(name) for name in names]
        await asyncio.wait(done, timeout=within)
        left = [name for name, one in zip(names, done, strict=True) if not one.done()]
        if left:
            shown = json.dumps(self._last.get(left[0]))
            raise RuntimeError(
                f"{len(left)} of {len(names)} jobs were not Complete after {within:.0f} s; {left[0]} showed {shown}"
            )
        return [one.result() for one in done]

    async def watch(self, watching: asyncio.Event) -> None:
        """Until cancelled. An API server may end a watch whenever it likes: then everything is listed again."""
        while True:
            async with self._http.get(self._url) as answer:
                found = await answer.json()
            for job in found["items"]:
                self._see(job)
            params = {"watch": "1", "resourceVersion": found["metadata"]["resourceVersion"]}
            no_limit = aiohttp.ClientTimeout(total=None)
            async with self._http.get(self._url, params=params, timeout=no_limit) as answer:
                watching.set()
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    self._see(event["object"])
            self.watches += 1

    def _see(self, job: dict[str, Any]) -> None:
        name, state = job["metadata"]["name"], self._kind.state(job)
        seen = self.completion(name)
        self._last[name] = job.get("status", {})
        if state == "Complete" and not seen.done():
            seen.set_result(time.perf_counter())
        elif state in ("Failed", "Cancelled", "Rejected") and not seen.done():
            seen.set_exception(RuntimeError(f"{name} ended {state}: {job['status'].get('message')}"))


@asynccontextmanager
async def watched(kubeconfig: Path, namespace: str, kind: Kind | None = None) -> AsyncIterator[Watched]:
    configuration = await load_configuration(str(kubeconfig))
    connector = aiohttp.TCPConnector(ssl=ssl_context_of(configuration), limit=64)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**22) as http:
        jobs, watching = Watched(http, configuration.host, namespace, kind or Kind()), asyncio.Event()
        task = asyncio.create_task(jobs.watch(watching))
        try:
            await watching.wait()
            yield jobs
        finally:
            failed = task.done()
            task.cancel()
            (what,) = await asyncio.gather(task, return_exceptions=True)
            if failed:
                raise RuntimeError(f"the watch failed: {what!r}")
