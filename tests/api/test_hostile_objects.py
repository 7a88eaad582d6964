"""One object's value hurts only that object: hostile runs and manifests through operator and worker, beside innocents."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from agentjobs.values.bounds import MOST
from agentjobs.values.reasons import Reason
from clusters import Cluster
from hostile import MEMBERS, write_hostile_modules
from operators import bench, eventually
from worker_agents import write_modules
from workers import is_ready, running_worker, worker_config

pytestmark = pytest.mark.timeout(500)  # a real control plane and worker, on a busy machine

RUNS = [one for one in MEMBERS if not one.payload][::6]
"""The queue's tests run all of them."""
FINAL = {"Complete", "Failed", "Cancelled", "Rejected"}
MANIFESTS: dict[str, dict[str, Any]] = {
    "nul": {"spec": {"message": "a\x00b"}},
    "controls": {"spec": {"message": "\x1b[31m\u202e\x07" * 100}},
    "longest": {"spec": {"message": "\N{GRINNING FACE}" * 65_536}},
    "largest-numbers": {
        "spec": {
            "maxAttempts": 1000,
            "attemptTimeoutSeconds": 604_800,
            "activeDeadlineSeconds": 31_536_000,
            "budget": {"maxTokens": 10**12},
            "retryPolicy": {"initialDelaySeconds": 86_400, "factor": 100, "maxDelaySeconds": 604_800},
        }
    },
    "odd-annotations": {
        "annotations": {
            "agentjobs.dev/traceparent": "\x00",
            "agentjobs.dev/retry-requested-at": "9" * 1000,
            "agentjobs.dev/input-response": '{"id": "q", "approved": true, "payload": ' + "9" * 400 + "}",
        }
    },
    "unreadable-response": {"annotations": {"agentjobs.dev/input-response": "[" * 100_000}},
}


def ready(port: int | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_h6_twenty_innocent_objects_beside_hostile_ones_complete_and_each_hostile_one_says_how_it_ended(
    cluster: Cluster, dsn: str, tmp_path: Path
) -> None:
    path = write_modules(tmp_path / "modules")
    write_hostile_modules(Path(path))
    config = worker_config(dsn, path, queues={"agents": 8}, modules=("innocent", "hostile", "chatty"))
    async with (
        bench(cluster, dsn) as b,
        b.running(health_port=0) as operator,
        running_worker(config) as worker,
    ):
        hostile, innocents = [], []
        for number, one in enumerate(RUNS):
            spec = {
                "agent": {"module": one.module},
                "message": one.text(tmp_path),
                "maxAttempts": 1,
                "retryPolicy": {"initialDelaySeconds": 0, "maxDelaySeconds": 0, "maxWaitSeconds": 1},
            }
            hostile.append(f"run-{number}")
            await b.objects.create(hostile[-1], spec)
        for name, manifest in MANIFESTS.items():
            hostile.append(name)
            spec = {"agent": {"module": "innocent"}, **manifest.get("spec", {})}
            await b.objects.create(name, spec, annotations=manifest.get("annotations", {}))
        for number in range(20):
            innocents.append(f"innocent-{number}")
            spec = {"agent": {"module": "innocent"}, "message": f"answer {number}", "maxAttempts": 1}
            await b.objects.create(innocents[-1], spec)

        for number, name in enumerate(innocents):
            status = await b.objects.until(name, "Complete", within=300)
            assert status["result"] == f"answer {number}"
        for name in hostile:
            status = await eventually(
                lambda name=name: b.objects.status(name),  # type: ignore[misc]
                lambda status: status.get("state") in FINAL,
                within=300,
            )
            assert status["reason"] in {reason.value for reason in Reason}, (name, status)
            assert 0 <= status.get("usage", {}).get("totalTokens", 0) <= MOST, name
        # a template that a run has killed is made again
        await is_ready(worker)
        await eventually(
            lambda: asyncio.to_thread(ready, operator.port),
            lambda answer: answer == (200, '{"ok": true, "problems": {}}\n'),
        )
