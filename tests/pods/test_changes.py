"""Upgrades, definitions that change, other scopes, and the end of an installation."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from charts import CHART
from pods import (
    BEYOND_DRAIN,
    NAMESPACE,
    OPERATOR,
    TO_BE_SEEN,
    WORKER,
    Jobs,
    Pods,
    restricted_namespace,
    until,
)


def test_a_rolling_upgrade_under_load_loses_nothing_and_burns_no_attempt(pods: Pods, jobs: Jobs) -> None:
    long = jobs.create(["long"], BEYOND_DRAIN)
    first = jobs.create([f"first-{n}" for n in range(40)], "echo:sleep 2")
    jobs.in_state("Running", long)
    old = set(pods.names("worker"))
    values = pods.values(operator={"podAnnotations": {"example.org/upgrade": "1"}})
    values["poolDefaults"] = {**values["poolDefaults"], "podAnnotations": {"example.org/upgrade": "1"}}
    # by hook, not waited for: the load goes on meanwhile
    pods.ask_helm("upgrade", "agentjobs", str(CHART), f"--namespace={NAMESPACE}", values=values)
    second = jobs.create([f"second-{n}" for n in range(40)], "echo:sleep 2")
    pods.ready(WORKER)
    pods.ready(OPERATOR)
    jobs.complete([*first, *second, *long])
    assert not old & set(pods.names("worker"))
    assert "WorkerLost" not in jobs.reasons()
    pods.install("agentjobs", pods.values())


def test_the_operator_survives_a_change_of_the_definitions(pods: Pods, jobs: Jobs, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "agentjobs")
    file = chart / "files" / "crds" / "agentjobs.yaml"
    definition = yaml.safe_load(file.read_text())
    version = definition["spec"]["versions"][0]
    version["additionalPrinterColumns"].append(
        {"name": "FLAVOUR", "type": "string", "jsonPath": ".spec.flavour"}
    )
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["flavour"] = {
        "type": "string",
        "maxLength": 16,
    }
    file.write_text("# changed\n" + yaml.safe_dump(definition, sort_keys=False))
    restarts, operators = pods.restarts("operator"), pods.names("operator")
    running = jobs.create(["running"], TO_BE_SEEN)
    jobs.in_state("Running", running)

    pods.install("agentjobs", pods.values(), chart=chart)
    jobs.complete([*running, *jobs.create(["new"], flavour="salty")])
    assert "salty" in pods.kubectl("get", "agentjobs", f"--namespace={jobs.namespace}")

    pods.install("agentjobs", pods.values())
    jobs.complete(jobs.create(["newer"]))
    assert (pods.restarts("operator"), pods.names("operator")) == (restarts, operators)


def test_h30_workers_of_the_previous_version_start_and_run_on_the_next_schema(pods: Pods, jobs: Jobs) -> None:
    pods.sql("update agentjobs.bundle set release = release + 1")
    try:
        pod = pods.names("worker")[0]
        pods.kubectl("delete", "pod", pod, f"--namespace={NAMESPACE}")
        pods.ready(WORKER)
        jobs.complete(jobs.create([f"job-{n}" for n in range(6)]))
        # what an init container of that version says
        migrate = (
            "sh",
            "-c",
            "AGENTJOBS_DATABASE_URL_FILE=/run/secrets/agentjobs/url agentjobs migrate up $0",
        )
        assert "newer" in pods.inside(pods.names("worker")[0], *migrate, "--accept-newer")
    finally:
        pods.sql("update agentjobs.bundle set release = release - 1")


def test_uninstalling_leaves_definitions_objects_and_data(pods: Pods, jobs: Jobs) -> None:
    done = jobs.create(["done"])
    jobs.complete(done)
    waiting = jobs.create(["waiting"], suspend=True)
    jobs.in_state("Suspended", waiting)
    runs = pods.sql("select count(*) from agentjobs.attempt")

    pods.ask_helm("uninstall", "agentjobs", f"--namespace={NAMESPACE}", "--wait", "--timeout=110s")
    try:
        assert pods.kubectl("get", "crd", "agentjobs.agentjobs.dev", "scheduledagentjobs.agentjobs.dev")
        assert jobs.states([*done, *waiting]) == ["Complete", "Suspended"]
        assert pods.sql("select count(*) from agentjobs.attempt") == runs
        jobs.create(["meanwhile"])
    finally:
        pods.install("agentjobs", pods.values())
    jobs.complete(["meanwhile"])
    pods.kubectl(
        "patch",
        f"--namespace={jobs.namespace}",
        "aj/waiting",
        "--type=merge",
        "-p",
        '{"spec":{"suspend":false}}',
    )
    jobs.complete(waiting)
    assert jobs.statuses()["done"]["attempts"] == 1, "it was not run again"


def test_an_operator_of_two_namespaces_has_rights_there_alone(pods: Pods, jobs: Jobs) -> None:
    # it has a database of its own, so ours must not take its jobs
    home, other = f"{jobs.namespace}-home", f"{jobs.namespace}-other"
    for name in (home, other):
        restricted_namespace(pods, name)
    pods.kubectl("scale", f"deploy/{OPERATOR}", f"--namespace={NAMESPACE}", "--replicas=0")
    until(
        lambda: pods.objects("pods", NAMESPACE, "app.kubernetes.io/component=operator"),
        lambda found: not found,
    )
    values = pods.values(
        database={},
        devPostgres={"enabled": True, "image": f"agentjobs-dev-postgres:{pods.tag}"},
        crds={"enabled": False},
        rbac={"aggregate": False},
        watchNamespaces=[home, jobs.namespace],
        pools={"default": {"replicas": 1}},
    )
    try:
        pods.install("scoped", values, namespace=home)
        Jobs(pods, other).create(["unseen"])
        for namespace in (home, jobs.namespace):
            seen = Jobs(pods, namespace)
            seen.complete(seen.create(["seen"]))
        assert Jobs(pods, other).states(["unseen"]) == [""]
        account = f"--as=system:serviceaccount:{home}:scoped-agentjobs-operator"
        for namespace, may in ((home, "yes"), (jobs.namespace, "yes"), (other, "no")):
            said = pods.kubectl("auth", "can-i", "list", "agentjobs", "-n", namespace, account, check=False)
            assert said.strip().endswith(may), (namespace, said)
        assert "Succeeded" in pods.ask_helm("test", "scoped", f"--namespace={home}", "--timeout=110s")
    finally:
        pods.ask_helm("uninstall", "scoped", f"--namespace={home}")
        pods.kubectl("scale", f"deploy/{OPERATOR}", f"--namespace={NAMESPACE}", "--replicas=2")
        pods.kubectl("delete", "namespace", home, other, "--wait=false")
