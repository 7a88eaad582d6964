"""``make demo``: what a new user sees first ends well, with a cluster and without one."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from agentjobs.cli.kubectl.door import START
from agentjobs.local.assets import Assets
from agentjobs.web.names import ROOT as RUNS
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


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process with its input and output at hand, until the block ends."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)


def until_line(output: IO[str] | None, start: str) -> list[str]:
    """The lines up to the one that begins so."""
    assert output is not None
    lines: list[str] = []
    for line in output:
        lines.append(line.rstrip("\n"))
        if line.startswith(start):
            return lines
    pytest.fail("it ended:\n" + "\n".join(lines[-60:]))


def fetched(link: str, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, text and cookie, as a browser at the door asks."""
    connection = http.client.HTTPConnection(link.split("/")[2], timeout=30)
    try:
        connection.request(
            "GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), (answer.getheader("Set-Cookie") or "").split(";")[0]
    finally:
        connection.close()


@contextmanager
def kept_demo(environment: dict[str, str]) -> Iterator[list[str]]:
    """What the demo has printed when it waits for Enter; after the block it ends, and has left nothing running."""
    command = [sys.executable, str(ROOT / "scripts" / "demo.py")]
    with started(command, environment | {"DEMO_KEEP": "1"}) as process:
        told = until_line(process.stdout, "It opens in a browser")
        yield told
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        until_line(process.stdout, "done in ")
        assert process.wait(30) == 0
    pids = [int(pid) for line in told for pid in re.findall(r"\(pid (\d+),", line)]
    assert len(pids) >= 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@contextmanager
def opened(told: list[str], web: str, says: str) -> Iterator[tuple[str, str]]:
    """The link that the named command prints, and the cookie that it gives."""
    (export,) = [line.strip() for line in told if line.startswith("  export ")]
    with started(["/bin/bash", "-c", f"{export}\nexec {web}"], dict(os.environ)) as door:
        link = until_line(door.stdout, says)[-1].split()[-1]
        yield link, fetched(link, link[link.index("/open/") :])[2]


def own_page(cookie: str) -> dict[str, str]:
    return {"Cookie": cookie, "Sec_Fetch_Site": "same-origin", "Accept": "text/html"}


@pytest.mark.timeout(300)
def test_the_command_that_the_demo_names_at_its_end_opens_the_dashboard_on_what_it_left(
    own_assets: Assets, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "KUBEBUILDER_ASSETS": str(own_assets.etcd.parent),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}",  # neither kind nor kubectl
    }
    with kept_demo(environment) as told:
        (web,) = [line.strip() for line in told if line.startswith("  kubectl agentjobs web ")]
        namespace = f"{RUNS}/namespaces/{web.split()[-1]}"
        with opened(told, f"{web} --no-open", "The dashboard: ") as (link, cookie):
            status, shell, _ = fetched(link, START, **own_page(cookie))
            assert (status, "<!doctype html" in shell.lower()) == (200, True)
            _, jobs, _ = fetched(link, f"{namespace}/agentruns", **own_page(cookie))
            assert {name for name in EXAMPLES if f">{name}<" in jobs} == EXAMPLES
            _, asks, _ = fetched(link, f"{namespace}/agentruns?state=InputRequired", **own_page(cookie))
            assert ">refund-yours<" in asks
            _, schedules, _ = fetched(link, f"{namespace}/schedulestats", **own_page(cookie))
            assert "hourly-monitor" in schedules


@pytest.mark.timeout(300)
def test_where_the_cluster_does_not_reach_it_the_demo_names_the_door_of_administrators(
    cluster: Cluster,
) -> None:
    path = f"{cluster.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "DEMO_KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    with kept_demo(environment) as told:
        (web,) = [line.strip() for line in told if "agentjobs web --port" in line]
        with opened(told, web, "Open ") as (link, cookie):
            _, jobs, _ = fetched(link, f"{RUNS}/agentruns", **own_page(cookie))
            assert {name for name in EXAMPLES if f">{name}<" in jobs} == EXAMPLES


def test_the_demo_shows_every_example_from_apply_to_its_answer(cluster: Cluster) -> None:
    path = f"{cluster.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}"
    done = demo({**os.environ, "DEMO_KUBECONFIG": str(cluster.kubeconfig), "PATH": path})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    finished = done.stdout.split("kubectl get agentjobs -o wide")[1]
    assert set(re.findall(r"^(\w+) +agents +Complete", finished, re.M)) == EXAMPLES
    assert "$ kubectl agentjobs approve refund --yes" in done.stdout
    assert "JobCompleted" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].endswith("opens the dashboard: kubectl agentjobs web")
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
