"""The health checks for Argo CD (Lua) and Flux (CEL), run on the statuses that the operator really writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from lupa import LuaRuntime

from agentjobs.controller.agentjob.status import status_of
from agentjobs.queue.records import State
from controller_builders import job

GITOPS = Path(__file__).parents[3] / "gitops"
EXPECTED = {
    State.SCHEDULED: "Progressing",
    State.SUSPENDED: "Suspended",
    State.QUEUED: "Progressing",
    State.RUNNING: "Progressing",
    State.RETRYING: "Progressing",
    State.INPUT_REQUIRED: "Suspended",
    State.COMPLETE: "Healthy",
    State.FAILED: "Degraded",
    State.CANCELLED: "Degraded",
    State.REJECTED: "Degraded",
}


def agent_job(state: State) -> dict[str, Any]:
    return {"metadata": {"generation": 0}, "status": status_of(job(state), 1)}


def schedule(**conditions: str) -> dict[str, Any]:
    listed = [
        {"type": kind, "status": value, "reason": "R", "message": "M"} for kind, value in conditions.items()
    ]
    return {
        "metadata": {"generation": 1},
        "status": {"conditions": listed, "nextScheduleTime": "2026-12-24T18:00:00Z"},
    }


def argo(script: str, found: dict[str, Any]) -> dict[str, str]:
    """What Argo CD makes of an object: the script runs with ``obj`` as a global, and returns a table."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(found, recursive=True)
    return dict(lua.execute((GITOPS / "argocd" / script).read_text()))


def flux(kind: str, found: dict[str, Any]) -> str:
    """What Flux makes of an object: `failed` is asked first, then `current`."""
    kustomization = yaml.safe_load((GITOPS / "flux" / "kustomization.yaml").read_text())
    (checks,) = [c for c in kustomization["spec"]["healthCheckExprs"] if c["kind"] == kind]
    environment = celpy.Environment()
    for outcome in ("failed", "current"):
        program = environment.program(environment.compile(checks[outcome]))
        if program.evaluate({key: json_to_cel(value) for key, value in found.items()}):
            return outcome
    return "in progress"


def test_every_state_is_expected_here() -> None:
    assert set(EXPECTED) == set(State)


@pytest.mark.parametrize("state", State)
def test_argo_cd_shows_how_a_job_is(state: State) -> None:
    assert argo("agentjob-health.lua", agent_job(state))["status"] == EXPECTED[state]


def test_argo_cd_says_why_a_job_failed() -> None:
    failed = {
        "metadata": {"generation": 0},
        "status": status_of(job(State.FAILED, reason="DeadlineExceeded"), 1),
    }
    assert argo("agentjob-health.lua", failed)["message"].startswith("DeadlineExceeded")


def test_argo_cd_waits_for_an_object_that_nobody_has_seen_or_that_has_changed() -> None:
    assert argo("agentjob-health.lua", {"metadata": {"generation": 1}})["status"] == "Progressing"
    done = agent_job(State.COMPLETE)
    done["metadata"]["generation"] = done["status"]["observedGeneration"] + 1
    assert argo("agentjob-health.lua", done)["status"] == "Progressing"


@pytest.mark.parametrize("state", State)
def test_flux_waits_for_the_end_of_a_job(state: State) -> None:
    wanted = {"Healthy": "current", "Degraded": "failed"}.get(EXPECTED[state], "in progress")
    assert flux("AgentJob", agent_job(state)) == wanted


@pytest.mark.parametrize(
    ("conditions", "in_argo", "in_flux"),
    [
        ({"Accepted": "True"}, "Healthy", "current"),
        ({"Accepted": "False"}, "Degraded", "failed"),
        ({"Accepted": "True", "Suspended": "True"}, "Suspended", "current"),
        ({"Accepted": "True", "Suspended": "False"}, "Healthy", "current"),
        ({}, "Progressing", "in progress"),
    ],
)
def test_a_schedule_is_healthy_while_it_is_accepted(
    conditions: dict[str, str], in_argo: str, in_flux: str
) -> None:
    found = schedule(**conditions)
    assert argo("scheduledagentjob-health.lua", found)["status"] == in_argo
    assert flux("ScheduledAgentJob", found) == in_flux


def test_the_patch_of_argo_cd_is_made_of_the_scripts() -> None:
    file = GITOPS / "argocd" / "patch.py"
    spec = importlib.util.spec_from_file_location("argocd_patch", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = (GITOPS / "argocd" / "argocd-cm-patch.yaml").read_text()
    assert committed == module.patch(), "python gitops/argocd/patch.py > gitops/argocd/argocd-cm-patch.yaml"
    data = yaml.safe_load(committed)["data"]
    script = data["resource.customizations.health.agentjobs.dev_AgentJob"]
    assert script == (GITOPS / "argocd" / "agentjob-health.lua").read_text()


def test_manifests_for_gitops_use_values_that_the_chart_has() -> None:
    application = yaml.safe_load((GITOPS / "argocd" / "application.yaml").read_text())
    release = list(yaml.safe_load_all((GITOPS / "flux" / "release.yaml").read_text()))[1]
    chart = yaml.safe_load((GITOPS.parent / "charts" / "agentjobs" / "values.yaml").read_text())
    for values in (application["spec"]["sources"][1]["helm"]["valuesObject"], release["spec"]["values"]):
        for key, inner in values.items():
            assert set(inner) <= set(chart[key])
