"""The Helm chart for the tests: rendered, or refused, by a real helm (on PATH, or where ``HELM_BIN`` says)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiers import leave_out

CHART = Path(__file__).parents[2] / "charts" / "agentjobs"
Object = dict[str, Any]
Values = Mapping[str, Any]
LEAST: Values = {"database": {"existingSecret": "db"}}
"""The least that an installation must say."""


@dataclass(frozen=True)
class Helm:
    """One helm binary and our chart."""

    binary: Path

    def run(self, *arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        """Run helm; ``values`` go in as a file of values."""
        given = [] if values is None else ["--values", "-"]
        return subprocess.run(
            [str(self.binary), *arguments, *given],
            input=None if values is None else json.dumps(dict(values)),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def text(self, values: Values = LEAST, *arguments: str, release: str = "agentjobs") -> str:
        """What the chart renders to, as text."""
        done = self.run(
            "template", release, str(CHART), "--namespace=agents", "--kube-version=1.34.0", *arguments,
            values=values,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def render(self, values: Values = LEAST, *arguments: str, release: str = "agentjobs") -> list[Object]:
        """What the chart renders to, as objects."""
        return [
            found for found in yaml.safe_load_all(self.text(values, *arguments, release=release)) if found
        ]

    def refusal(self, values: Values) -> str:
        """What helm says about values that it must refuse."""
        done = self.run("template", "agentjobs", str(CHART), values=values)
        assert done.returncode != 0, f"accepted: {values}"
        return done.stderr


def pick(objects: Sequence[Object], kind: str, name: str | None = None) -> Object:
    """The one object of this kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]


def pod_specs(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that comes of these objects: what makes it, and its spec."""
    for found in objects:
        name = f"{found['kind']}/{found['metadata']['name']}"
        if found["kind"] == "Pod":
            yield name, found["spec"]
        elif found["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, found["spec"]["template"]["spec"]
        elif found["kind"] == "CronJob":
            yield name, found["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def environment(objects: Sequence[Object], name: str) -> dict[str, str]:
    """Plain variables of a Deployment's first container."""
    container = pick(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm, where there is one."""
    found = os.environ.get("HELM_BIN") or shutil.which("helm")
    if found is None:
        leave_out("no `helm` on PATH")
    return Helm(Path(found))


def in_force_in(namespace: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These objects, their admission policies bound to one namespace: an API server keeps to a policy for a moment after it is deleted,
    and other tests share it."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return [
        {**found, "spec": {**found["spec"], "matchResources": {"namespaceSelector": selector}}}
        if found["kind"] == "ValidatingAdmissionPolicyBinding"
        else found
        for found in objects
    ]
