"""The documented upgrades of a release: what the next chart brings arrives, what was set stays, and can be taken back."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentjobs.local.assets import Assets
from charts import CHART, Helm
from clusters import Cluster, own_cluster

MAIN = ["--set=database.existingSecret=agentjobs-database", "--set=watchNamespaces={shop,night}"]
TEAM = [
    "--set=crds.enabled=false,operator.enabled=false,pools.default.enabled=false",
    "--set=database.existingSecret=team-database",
    "--set=pools.team.queues.team.slotsPerPod=4",
]
"""As docs/install.md says it."""


@dataclass(frozen=True)
class Installed:
    """A helm with a cluster of its own. No pods run there, so hooks are left out."""

    helm: Helm
    cluster: Cluster

    def ask(self, *arguments: str) -> str:
        done = self.helm.run(*arguments, f"--kubeconfig={self.cluster.kubeconfig}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def release(self, name: str, *arguments: str, chart: Path = CHART) -> None:
        self.ask("upgrade", "--install", "--no-hooks", name, str(chart), f"--namespace={name}", *arguments)

    def variables(self, release: str, deployment: str) -> dict[str, str]:
        """The plain variables of a Deployment's container, as the API server has them."""
        spec = self.cluster.get("deployment", deployment, release)["spec"]["template"]["spec"]
        return {v["name"]: v["value"] for v in spec["containers"][0]["env"] if "value" in v}


@pytest.fixture(scope="module")
def installed(helm: Helm, own_assets: Assets) -> Iterator[Installed]:
    with own_cluster(own_assets, crds=False) as cluster:
        made = Installed(helm, cluster)
        for namespace in ("agentjobs", "team", "kept", "shop", "night"):
            cluster.kubectl("create", "namespace", namespace)
        made.release("agentjobs", *MAIN)
        made.release("team", *TEAM)
        yield made


@pytest.fixture(scope="module")
def next_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with a value of pools that it does not have today, and another default of one that it has."""
    chart = Path(shutil.copytree(CHART, tmp_path_factory.mktemp("next") / "agentjobs"))
    replace(chart / "values.yaml", "  drainSeconds: 300\n", "  drainSeconds: 301\n  novelty: 7\n")
    variable = "            - {name: AGENTJOBS_POOL,"
    replace(
        chart / "templates" / "pools.yaml",
        variable,
        f"            - {{name: NOVELTY, value: {{{{ int $pool.novelty | quote }}}}}}\n{variable}",
    )
    schema = json.loads((chart / "values.schema.json").read_text())
    schema["$defs"]["pool"]["properties"]["novelty"] = {"type": "integer"}
    (chart / "values.schema.json").write_text(json.dumps(schema))
    return chart


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name}: {old!r} is there {text.count(old)} times"
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("release", "pool"), [("agentjobs", "agentjobs-worker-default"), ("team", "team-agentjobs-worker-team")]
)
def test_an_upgrade_brings_the_next_charts_defaults_and_keeps_what_was_set(
    installed: Installed, next_chart: Path, release: str, pool: str
) -> None:
    installed.release(release, "--reset-then-reuse-values", chart=next_chart)
    told = installed.variables(release, pool)
    assert (told["NOVELTY"], told["AGENTJOBS_DRAIN_SECONDS"]) == ("7", "301")
    queues = {"agentjobs": "agents=10,scheduled=5", "team": "team=4"}
    assert told["AGENTJOBS_QUEUES"] == queues[release]
    made = installed.cluster.kubectl("get", "deployments", "-n", release, "-o", "name").split()
    operators = [name for name in made if name.endswith("-operator")]
    assert len(operators) == (release == "agentjobs"), "the release has become another one"


def test_what_was_set_is_taken_back_by_its_default(installed: Installed) -> None:
    watched = "AGENTJOBS_NAMESPACES"
    installed.release("agentjobs", "--reset-then-reuse-values", *MAIN)
    assert installed.variables("agentjobs", "agentjobs-operator")[watched] == "shop,night"
    installed.release("agentjobs", "--reset-then-reuse-values", "--set-json=watchNamespaces=[]")
    assert watched not in installed.variables("agentjobs", "agentjobs-operator")


def test_values_in_a_file_are_all_that_counts(installed: Installed, next_chart: Path, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    kept = {"crds": {"enabled": False}, "operator": {"enabled": False}, "database": {"existingSecret": "db"}}
    team: dict[str, object] = {"queues": {"team": {"slotsPerPod": 4}}}
    pools = {"default": None, "team": {**team, "drainSeconds": 9}}
    values.write_text(json.dumps({**kept, "pools": pools}))
    installed.release("kept", f"--values={values}")
    pool = "kept-agentjobs-worker-team"
    assert installed.variables("kept", pool)["AGENTJOBS_DRAIN_SECONDS"] == "9"

    values.write_text(json.dumps({**kept, "pools": {**pools, "team": team}}))
    installed.release("kept", f"--values={values}", chart=next_chart)
    told = installed.variables("kept", pool)
    assert (told["NOVELTY"], told["AGENTJOBS_DRAIN_SECONDS"]) == ("7", "301")
    assert "kept-agentjobs-worker-default" not in installed.cluster.kubectl(
        "get", "deployments", "-n", "kept"
    )


def test_the_documented_commands_are_those_that_are_tested_here() -> None:
    root = CHART.parents[1]
    page = (root / "docs" / "install.md").read_text().replace("\\\n      ", "")
    assert (
        "helm install team charts/agentjobs -n team-a --create-namespace "
        + " ".join(TEAM).replace("--set=", "--set ")
        in page
    )
    for folder in ("docs", "examples", "gitops", "charts"):
        for file in (root / folder).rglob("*"):
            if file.suffix in (".md", ".yaml", ".txt"):
                wrong = re.findall(r"helm upgrade[^\n`;(]* --reuse-values", file.read_text())
                assert wrong == [], f"{file}: leaves out the next chart's defaults"
