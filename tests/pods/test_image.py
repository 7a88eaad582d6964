"""The image by itself, without a cluster: who it runs as, what is in it, how it stops."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from pods import ROOT, Pods, until

HARDENED = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def run(image: str, *command: str, entrypoint: str | None = None) -> str:
    other = [f"--entrypoint={entrypoint}"] if entrypoint else []
    done = subprocess.run(
        ["docker", "run", *HARDENED, *other, image, *command], capture_output=True, text=True, timeout=120
    )
    return done.stdout + done.stderr


def inspected(image: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(subprocess.check_output(["docker", "image", "inspect", image]))
    return found[0]


def test_it_runs_as_nobody_in_particular_with_a_root_that_cannot_be_written(pods: Pods) -> None:
    image = f"agentjobs:{pods.tag}"
    assert run(image, "-c", "id -u; id -g; touch /opt/x", entrypoint="sh").split()[:2] == ["10001", "10001"]
    assert run(image, "--version").startswith("agentjobs ")


def test_every_part_finds_what_it_imports(pods: Pods) -> None:
    parts = (
        "controller.operator", "worker.supervisor.supervisor", "agents.run.runner", "web.server", "web.ui.fragments",
    )  # fmt: skip
    asked = "".join(f"import agentjobs.{part}\n" for part in parts) + "print('all')"
    assert run(f"agentjobs:{pods.tag}", "-c", asked, entrypoint="python3").split() == ["all"]


def test_it_says_what_it_is_and_how_it_is_stopped(pods: Pods) -> None:
    config = inspected(f"agentjobs:{pods.tag}")["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Labels"]["org.opencontainers.image.revision"]


def test_no_compiler_no_build_tool_and_no_wheel_is_left(pods: Pods) -> None:
    look = (
        "command -v gcc make git; ls /wheels /src /opt/agentjobs/bin/pip 2>/dev/null;"
        " python -c 'import hatchling' 2>/dev/null && echo hatchling; python -c 'import pip' 2>/dev/null && echo pip"
    )
    assert run(f"agentjobs:{pods.tag}", "-c", look, entrypoint="sh") == ""


def test_a_worker_image_can_have_packages_of_its_own(pods: Pods) -> None:
    said = run(
        f"agentjobs-pods:{pods.tag}", "-c", "pip --version; pip list | grep -i google-adk", entrypoint="sh"
    )
    assert "google-adk" in said, "pip works on what agentjobs itself uses"


def test_its_sbom_and_its_provenance_are_those_of_what_was_built(pods: Pods) -> None:
    image = f"agentjobs:{pods.tag}"
    components = json.loads((ROOT / "dist" / "agentjobs-dev.sbom.json").read_text())["components"]
    versions = {component["purl"].partition("@")[0]: component["version"] for component in components}
    asked = "import importlib.metadata as m; print(m.version('google-adk'), m.version('agentjobs'))"
    adk, own = run(image, "-c", asked, entrypoint="python3").split()
    assert (versions["pkg:pypi/google-adk"], versions["pkg:pypi/agentjobs"]) == (adk, own)
    assert versions["pkg:deb/debian/libc6"]
    statement = json.loads((ROOT / "dist" / "agentjobs-dev.provenance.json").read_text())
    assert f"sha256:{statement['subject'][0]['digest']['sha256']}" == inspected(image)["Id"]


def test_a_part_without_its_database_url_says_so_and_ends_with_2(pods: Pods) -> None:
    done = subprocess.run(
        ["docker", "run", *HARDENED, f"agentjobs:{pods.tag}", "worker"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "AGENTJOBS_DATABASE_URL" in done.stderr


def test_pid_1_ends_on_sigterm_as_soon_as_it_has_begun_even_while_its_database_is_away(pods: Pods) -> None:
    name = f"agentjobs-sigterm-{pods.tag}"
    url = "AGENTJOBS_DATABASE_URL=postgresql://nobody:x@127.0.0.1:1/none"

    def docker(*arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
        return done.stdout.strip()

    def handles_sigterm() -> bool:
        caught = docker("exec", name, "grep", "SigCgt", "/proc/1/status").partition(":")[2].strip()
        return bool(caught) and bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))

    docker("run", "-d", "--name", name, "-e", url, *HARDENED[1:], f"agentjobs:{pods.tag}", "worker")
    try:
        until(handles_sigterm)
        docker("stop", "--time=60", name)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", name) in ("0", "143"), (
            "137: it had to be killed"
        )
    finally:
        docker("rm", "-f", name)
