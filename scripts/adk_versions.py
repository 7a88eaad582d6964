"""The agents' tests against other versions of google-adk than the pinned one: `make adk`.

pyproject.toml says which versions users may have; locks/dev.txt pins one, with which `make test` runs. Here the lowest and the newest
that are allowed are tested, where they are others, each in an environment of its own in .cache/adk; their failure is one of this
command. The next one, a pre-release or one beyond what is allowed, is tested too: its failures are told, and fail nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".cache" / "adk"
LOCK = ROOT / "locks" / "dev.txt"
TESTS = (
    "tests/unit/agents", "tests/unit/transcript", "tests/queue/test_adk_agents.py", "tests/queue/test_agents_sessions.py",
    "tests/queue/test_agents_questions.py", "tests/queue/test_agents_question_histories.py", "tests/queue/test_agents_waiting.py",
    "tests/queue/test_artifacts.py", "tests/queue/test_budgets.py", "tests/queue/test_conformance.py",
    "tests/queue/test_conformance_failures.py", "tests/queue/test_credentials.py", "tests/queue/test_memory.py",
    "tests/queue/test_saved_files.py", "tests/queue/test_session_stores.py", "tests/queue/test_session_tables.py",
    "tests/queue/test_state.py", "tests/queue/test_transcript.py", "tests/queue/test_yaml_agents.py",
)  # fmt: skip
"""What knows ADK: agents, their verdicts, sessions, files, memory, questions, transcripts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which versions are tested beside the pinned one."""

    required: tuple[Version, ...]
    next: Version | None


def plan(published: Sequence[Version], allowed: SpecifierSet, pinned: Version) -> Plan:
    """The lowest and the newest allowed version, without the pinned one, and the newest one of all if it is newer than these."""
    releases = [version for version in published if version in allowed and not version.is_prerelease]
    if not releases:
        raise SystemExit(f"none of the published versions of google-adk is {allowed}: correct pyproject.toml")
    ends = {min(releases), max(releases)}
    last = max(published)
    return Plan(tuple(sorted(ends - {pinned})), last if last > max(*ends, pinned) else None)


def allowed_versions() -> SpecifierSet:
    """What pyproject.toml says of google-adk."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = map(Requirement, project["optional-dependencies"]["worker"])
    return next(requirement.specifier for requirement in named if requirement.name == "google-adk")


def pinned_version() -> Version:
    """What locks/dev.txt says of google-adk."""
    found = re.search(r"^google-adk==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert found, "the lock names google-adk"
    return Version(found[1])


def pip(python: str | Path, arguments: str) -> list[str]:
    """pip's command line."""
    return [str(python), "-m", "pip", "--disable-pip-version-check", *arguments.split()]


def published_versions() -> list[Version]:
    """What the package index has, pre-releases too."""
    asked = pip(sys.executable, "index versions --pre google-adk")
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    if said.returncode:
        raise SystemExit(f"which versions of google-adk are there? The index does not say:\n{said.stderr}")
    line = next(line for line in said.stdout.splitlines() if line.startswith("Available versions:"))
    return [Version(text.strip()) for text in line.partition(":")[2].split(",")]


def environment(version: Version) -> Path:
    """Makes an environment with what the lock pins, but this version of google-adk and what it asks for. Answers its Python."""
    folder = ENVIRONMENTS / str(version)
    python = folder / "bin" / "python"
    if (folder / ".installed").exists() and (folder / ".installed").stat().st_mtime > LOCK.stat().st_mtime:
        return python
    print(f"agentjobs: an environment with google-adk {version} (a minute or two)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    for arguments in (
        "--no-deps --require-hashes -r locks/dev.txt",
        "--no-deps --no-build-isolation -e .",
        f"google-adk=={version}",  # pip says it if pyproject.toml does not allow this version
    ):
        subprocess.run(pip(python, f"install --quiet {arguments}"), cwd=ROOT, check=True)
    (folder / ".installed").touch()
    return python


def passes(version: Version, arguments: Sequence[str]) -> bool:
    """Whether the tests pass with this version."""
    python = environment(version)
    print(f"agentjobs: the agents' tests with google-adk {version}", flush=True)
    command = [str(python), "-m", "pytest", "-q", "-n", os.environ.get("JOBS", "2"), *(arguments or TESTS)]
    required = {"AGENTJOBS_REQUIRE": "" if arguments else "unit,queue"}
    return subprocess.run(command, cwd=ROOT, env=os.environ | required, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", type=Version, help="test this one alone, whatever is allowed")
    options, arguments = parser.parse_known_args()
    if options.version:
        return 0 if passes(options.version, arguments) else 1
    pinned, allowed = pinned_version(), allowed_versions()
    planned = plan(published_versions(), allowed, pinned)
    failed = [version for version in planned.required if not passes(version, arguments)]
    told = [f"{version}: {'failed' if version in failed else 'passed'}" for version in planned.required]
    if planned.next:
        end = "passed" if passes(planned.next, arguments) else "failed, which is told only"
        told.append(f"{planned.next}, the next one: {end}")
    others = "; ".join(told) or "no other one to test"
    print(f"agentjobs: google-adk{allowed}, pinned {pinned} (make test): {others}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
