"""What must hold for every object that the chart renders to, whatever the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from charts import CHART, Helm, Object, pod_specs

HERE = Path(__file__).parent
CASES = sorted(file.stem for file in (HERE / "cases").glob("*.yaml"))
FOREIGN = ("cert-manager.io/", "keda.sh/", "monitoring.coreos.com/", "postgresql.cnpg.io/")
"""Groups whose schemas are not Kubernetes' own."""
VERSIONS = ("1.32", "1.34")


@pytest.fixture(scope="module", params=CASES)
def objects(request: pytest.FixtureRequest, helm: Helm) -> list[Object]:
    values = yaml.safe_load((HERE / "cases" / f"{request.param}.yaml").read_text())
    return helm.render(values)


def test_helm_lints_it(helm: Helm) -> None:
    for case in CASES:
        done = helm.run("lint", "--strict", str(CHART), "--values", str(HERE / "cases" / f"{case}.yaml"))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_for_the_api(objects: list[Object], version: str) -> None:
    for found in objects:
        if not found["apiVersion"].startswith(FOREIGN):
            kubernetes_validate.validate(found, version, strict=True)


def test_names_are_unique_short_enough_and_labelled(objects: list[Object]) -> None:
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))
    for found in objects:
        assert len(found["metadata"]["name"]) <= 63
        if found["kind"] != "CustomResourceDefinition":
            assert found["metadata"]["labels"]["app.kubernetes.io/name"] == "agentjobs"


def test_the_longest_names_fit(helm: Helm) -> None:
    longest = {"fullnameOverride": "a" * 30, "database": {"existingSecret": "db"}}
    pools = {"pools": {"b" * 16: {"queues": {"q": {"slotsPerPod": 1}}}}}
    metrics = {"metrics": {"service": {"enabled": True}}}
    for found in helm.render({**longest, **pools, **metrics}):
        assert len(found["metadata"]["name"]) <= 63, found["metadata"]["name"]


def problems(spec: Object) -> list[str]:
    """What the profile `restricted` of the Pod Security Standards would refuse, and a root that can be written."""
    found = []
    pod: dict[str, Any] = spec.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            found.append(key)
    for volume in spec.get("volumes", []):
        if set(volume) - {"name"} - {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}:
            found.append(f"volume {volume['name']}")
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        wanted = {
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "runAsUser": own.get("runAsUser", pod.get("runAsUser")) != 0,
            "seccompProfile": own.get("seccompProfile", pod.get("seccompProfile"))
            == {"type": "RuntimeDefault"},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "privileged": not own.get("privileged"),
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
            "memory limit": "memory" in container.get("resources", {}).get("limits", {}),
        }
        found += [f"{container['name']}: {name}" for name, good in wanted.items() if not good]
    return found


def test_every_pod_is_restricted(objects: list[Object]) -> None:
    assert {name: problems(spec) for name, spec in pod_specs(objects) if problems(spec)} == {}


def test_the_check_of_pods_finds_what_is_not_restricted() -> None:
    assert problems({"containers": [{"name": "c"}], "hostPID": True, "volumes": [{"name": "v", "hostPath": {}}]}) == [
        "hostPID", "volume v", "c: allowPrivilegeEscalation", "c: capabilities", "c: runAsNonRoot",
        "c: seccompProfile", "c: readOnlyRootFilesystem", "c: memory limit",
    ]  # fmt: skip


def test_invariant_12_workers_and_migrations_have_no_token(objects: list[Object]) -> None:
    for name, spec in pod_specs(objects):
        expected = name.endswith(("-operator", "-web", "-withdraw", "-test"))
        assert spec["automountServiceAccountToken"] is expected, name
        projected = [v["projected"]["sources"] for v in spec.get("volumes", []) if "projected" in v]
        assert not [source for sources in projected for source in sources if set(source) != {"secret"}], name


def test_no_url_of_a_database_is_in_an_environment_or_an_argument(objects: list[Object]) -> None:
    for name, spec in pod_specs(objects):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            for variable in container.get("env", []):
                if "DATABASE_URL" in variable["name"]:
                    assert variable["name"].endswith("_FILE"), name
            assert "postgresql://" not in str(container.get("args")), name
