"""The notes after an installation: what they add up for the values, and what they warn of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import CHART, LEAST, Helm

Notes = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def notes(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """The notes for some values. `helm template` leaves them out, so a copy of the chart has them in an object."""
    chart = Path(shutil.copytree(CHART, tmp_path_factory.mktemp("notes") / "agentjobs"))
    (chart / "templates" / "told.yaml").write_text(
        'told: |\n  {{- include (print .Template.BasePath "/NOTES.txt") . | nindent 2 }}\n'
    )

    def told(values: dict[str, Any]) -> str:
        arguments = ("--namespace=agents", "--show-only=templates/told.yaml")
        done = helm.run("template", "agentjobs", str(chart), *arguments, values={**LEAST, **values})
        assert done.returncode == 0, done.stderr
        return str(yaml.safe_load(done.stdout)["told"])

    return told


def pool(**values: Any) -> dict[str, Any]:
    return {"pools": {"default": values}}


def test_memory_of_jobs_is_added_up_and_warned_of_where_it_is_more_than_the_containers(notes: Notes) -> None:
    fits = notes(pool(memoryLimitMib=136))
    assert "pool default: 15 slots x 136 MiB = 2040 MiB of 2Gi" in fits
    assert "WARNING" not in fits
    assert "no limit per job" not in fits

    over = notes(pool(memoryLimitMib=400, resources={"limits": {"memory": "3Gi"}}))
    assert "pool default: 15 slots x 400 MiB = 6000 MiB of 3Gi" in over
    assert over.count("WARNING") == 1
    assert "raise pools.default.resources.limits.memory" in over


def test_pools_without_a_limit_per_job_are_named_once(notes: Notes) -> None:
    more = {"queues": {"more": {"slotsPerPod": 1}}}
    told = notes({"pools": {"second": more, "third": {**more, "memoryLimitMib": 100}}})
    assert told.count("no limit per job") == 1
    assert "pools default, second: no limit per job" in told
    assert "pool default: no limit per job" in notes({})


def test_one_pod_is_not_told_as_pods(notes: Notes) -> None:
    assert "a pod, 1 pod; models of inline agents: echo" in notes({})
    assert "pool default: 1 pod x (6 + 15 slots + 1 standby)" in notes({})
    assert "2 pods x (6" in notes(pool(replicas=2))


def test_the_sum_of_connections_is_that_of_the_documentation(notes: Notes) -> None:
    # as docs/install.md says it: 6 x operator pods + 8 x web pods + pods x (6 + slots + standbys)
    assert f"= {6 * 2 + 8 * 2 + 3 * (6 + 15 + 1)}, and as much again" in notes(pool(replicas=3))


def test_a_release_of_pools_alone_is_told_how_it_is_upgraded(notes: Notes) -> None:
    told = notes({"operator": {"enabled": False}})
    assert "helm upgrade agentjobs CHART -n agents --reset-then-reuse-values" in told
    assert "It has no operator" in told
    assert "helm test" not in told
