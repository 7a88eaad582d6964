"""``make demo``: what a new user sees first ends well, with a cluster and without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clusters import Cluster

pytestmark = pytest.mark.timeout(450)

ROOT = Path(__file__).parents[2]
EXAMPLES = {"booking", "greeter", "refund", "reminder", "urgent", "weather", "whenever"}


def demo(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Without a terminal, as in a pipeline."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )


def test_the_demo_shows_every_example_from_apply_to_its_answer(cluster: Cluster) -> None:
    path = f"{cluster.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}"
    done = demo({**os.environ, "DEMO_KUBECONFIG": str(cluster.kubeconfig), "PATH": path})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    finished = done.stdout.split("kubectl get agentjobs -o wide")[1]
    assert set(re.findall(r"^(\w+) +agents +Complete", finished, re.M)) == EXAMPLES
    assert "$ kubectl agentjobs approve refund --yes" in done.stdout
    assert "JobCompleted" in done.stdout
    pids = [int(pid) for pid in re.findall(r"\(pid (\d+),", done.stdout)]
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_demo_without_an_api_server_says_what_is_left_out_and_shows_the_examples(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),  # no cache with a control plane in it
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}",  # neither kind nor go
    }
    done = demo(environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "left out: kind" in done.stdout
    assert "left out: a control plane of our own" in done.stdout
    assert set(re.findall(r"^(\w+): Complete", done.stderr, re.M)) == EXAMPLES
