"""Agents run in a cluster: the examples, what a worker's pod looks like from inside, a team's own pool."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime

import pytest

from charts import Helm
from pods import (
    DRAIN_SECONDS,
    NAMESPACE,
    OPERATOR,
    TO_BE_SEEN,
    WORKER,
    Jobs,
    Pods,
    restricted_namespace,
    until,
)

EXAMPLES = ("inline-agent", "module-agent", "priority", "retry", "delayed")


def test_all_examples_complete_and_their_answers_are_in_the_status(pods: Pods, jobs: Jobs) -> None:
    files = [*(f"examples/{name}.yaml" for name in EXAMPLES), "examples/custom-worker/job.yaml"]
    for file in files:
        pods.kubectl("apply", f"--namespace={jobs.namespace}", "-f", file)
    names = list(jobs.statuses())
    assert len(names) == 7
    jobs.complete(names, attempts=None)
    assert jobs.statuses()["booking"]["attempts"] == 3
    assert jobs.statuses()["trip"]["result"] == 'To Porto by train:\n{"hours": 3}'
    pods.kubectl("wait", f"--namespace={jobs.namespace}", "--for=condition=Complete", "agentjob/weather")


def test_a_person_who_watches_sees_each_step_of_a_job(pods: Pods, jobs: Jobs) -> None:
    command = [str(pods.cluster.kubectl_path), f"--kubeconfig={pods.cluster.kubeconfig}", "get", "agentjobs", "-w",
               f"--namespace={jobs.namespace}", "--no-headers", "--request-timeout=170s"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:

        def shown(state: str) -> list[str]:
            assert watching.stdout is not None
            for line in watching.stdout:
                if state in (columns := line.split()):
                    return columns
            pytest.fail(f"kubectl ended before it showed {state}")

        try:
            jobs.create(["seen"], "echo:sleep 120")
            assert shown("Running")[:3] == ["seen", "agents", "Running"]
            pods.kubectl(
                "patch", "agentjob/seen", f"-n{jobs.namespace}", "--type=merge", '-p={"spec":{"cancel":true}}'
            )
            assert shown("Cancelled")[:5] == ["seen", "agents", "Cancelled", "Cancelled", "1"]
        finally:
            watching.kill()


def test_a_conversation_is_pruned_once_its_jobs_record_is_gone(pods: Pods, jobs: Jobs) -> None:
    jobs.create(["said"], "Hello.")
    jobs.complete(["said"])
    (uid,) = [item["metadata"]["uid"] for item in pods.objects("agentjobs", jobs.namespace)]
    pods.sql(
        "update adk.sessions set update_time = update_time - interval '31 days'; update adk.fence set raised_at ="
        " raised_at - interval '31 days'"
    )

    def prune(name: str) -> str:
        job = f"job/{name}"
        pods.kubectl("create", "job", name, f"-n{NAMESPACE}", "--from=cronjob/agentjobs-session-retention")
        pods.kubectl("wait", job, f"-n{NAMESPACE}", "--for=condition=Complete", "--timeout=120s")
        told = pods.kubectl("logs", job, f"-n{NAMESPACE}")
        pods.kubectl("delete", job, f"-n{NAMESPACE}")
        return told + pods.sql(f"select count(*) from adk.sessions where id = 'job-{uid}'")

    assert re.match(r"0 conversations were removed: .* stays?: [^\n]+\n1$", prune("too-early").strip())
    pods.sql("select agentjobs.prune(interval '0', 100000)")
    assert re.match(r"[1-9]\d* conversations? w[^\n]+\n0$", prune("in-time").strip())


def test_a_schedule_fires_in_a_cluster_with_the_charts_rights(pods: Pods, jobs: Jobs) -> None:
    inline = {"type": "llm", "name": "echo", "model": "echo", "instruction": "Answer."}
    spec = {
        "schedule": "0 0 1 1 *",
        "jobTemplate": {"spec": {"agent": {"inline": inline}, "message": "Hello."}},
    }
    nightly = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "ScheduledAgentJob",
        "metadata": {"name": "nightly"},
    }
    pods.cluster.apply({**nightly, "spec": spec}, jobs.namespace)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pods.kubectl("annotate", "saj/nightly", f"-n{jobs.namespace}", f"agentjobs.dev/run-requested-at={now}")
    (child,) = until(lambda: list(jobs.statuses()))
    assert child.startswith("nightly-manual-")
    jobs.complete([child])
    until(
        lambda: [o.get("status", {}) for o in pods.objects("scheduledagentjobs", jobs.namespace)],
        lambda found: [status.get("lastResult") for status in found] == ["Complete"],
    )


def test_helm_test_runs_a_job(pods: Pods, jobs: Jobs) -> None:
    said = pods.ask_helm("test", "agentjobs", f"--namespace={NAMESPACE}", "--logs", "--timeout=110s")
    assert said.count("TEST SUITE:") == 1
    assert "Phase:          Succeeded" in said
    assert "Hello from helm test." in said


def test_invariant_12_a_worker_has_no_token_and_can_write_nowhere_but_tmp(pods: Pods, jobs: Jobs) -> None:
    worker = pods.names("worker")[0]
    found = pods.inside(
        worker, "sh", "-c",
        "id -u; ls /var/run/secrets 2>&1; touch /x 2>&1; touch /opt/agentjobs/x 2>&1; touch /tmp/x && echo written;"
        " env | grep -c postgresql://; cat /proc/1/environ 2>&1 | head -c 100",
    )  # fmt: skip
    lines = found.splitlines()
    assert lines[0] == "10001"
    assert "kubernetes.io" not in found
    assert found.count("Read-only file system") == 2
    assert "written" in lines
    assert "0" in lines, "no variable holds a URL"
    assert "Permission denied" in lines[-1], "the supervisor's environment cannot be read"


@pytest.mark.parametrize("component", ["worker", "operator"])
def test_pid_1_leaves_no_zombies(pods: Pods, jobs: Jobs, component: str) -> None:
    pod = pods.names(component)[0]
    pods.inside(pod, "sh", "-c", "(sleep 0.1 &); (sleep 0.2 &)")
    look = ("sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l")
    until(lambda: pods.inside(pod, *look).strip(), lambda count: count == "0", within=30)


def test_the_operator_may_do_its_work_and_no_more(pods: Pods, jobs: Jobs) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{OPERATOR}"

    def may(*what: str) -> bool:
        return pods.kubectl("auth", "can-i", *what, account, check=False).strip().endswith("yes")

    assert may("list", "agentjobs.agentjobs.dev", "--all-namespaces")
    assert may("patch", "agentjobs.agentjobs.dev", "--subresource=status", "-n", "default")
    assert may("update", "leases/agentjobs-operator", "-n", NAMESPACE)
    assert not may("get", "secrets", "-n", NAMESPACE)
    assert not may("create", "pods", "-n", NAMESPACE)
    assert not may("update", "leases/other", "-n", NAMESPACE)
    assert not may("watch", "customresourcedefinitions")


def test_metrics_are_served_by_every_pod(pods: Pods, jobs: Jobs) -> None:
    ask = "import urllib.request as r; print(r.urlopen('http://localhost:8080/metrics').read().decode())"
    assert "agentjobs_worker_slots" in pods.inside(pods.names("worker")[0], "python", "-c", ask)
    assert "agentjobs_operator_" in pods.inside(pods.names("operator")[0], "python", "-c", ask)


def test_a_team_installs_a_pool_of_its_own_and_only_its_namespace_may_use_it(pods: Pods, jobs: Jobs) -> None:
    team = f"{jobs.namespace}-team"
    restricted_namespace(pods, team)
    url = {
        "stringData": {
            "url": f"postgresql://agentjobs:agentjobs@db-agentjobs-dev-postgres.{NAMESPACE}:5432/agentjobs"
        }
    }
    pods.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "database"}, **url}, team)
    access = {"team": {"allowedNamespaces": [team]}}
    pods.install("agentjobs", pods.values(queues=access))
    pool = {
        **pods.values(),
        "database": {"existingSecret": "database"},
        "crds": {"enabled": False},
        "operator": {"enabled": False},
        "pools": {"default": None, "team": {"queues": {"team": {"slotsPerPod": 2}}, "replicas": 1}},
    }
    try:
        pods.install("team", pool, namespace=team)
        inside = Jobs(pods, team)
        inside.complete(inside.create(["ours"], queue="team"))
        assert inside.workers(["ours"])[0].startswith("team-agentjobs-worker-team-")
        jobs.create(["theirs"], queue="team")
        until(lambda: jobs.statuses()["theirs"].get("reason"), lambda reason: reason == "QueueNotAllowed")
    finally:
        pods.ask_helm("uninstall", "team", f"--namespace={team}")
        pods.kubectl("delete", "namespace", team, "--wait=false")
        pods.install("agentjobs", pods.values())


def test_the_query_that_keda_asks_counts_what_runs_and_what_could(pods: Pods, helm: Helm, jobs: Jobs) -> None:
    scaled = helm.render({**pods.values(), "pools": {"default": {"autoscaling": {"type": "keda"}}}})
    query = next(o for o in scaled if o["kind"] == "ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]
    names = jobs.create([f"busy-{n}" for n in range(3)], TO_BE_SEEN)
    jobs.create(["later"], delaySeconds=3600)
    until(lambda: pods.sql(query), lambda count: count == "3")
    jobs.complete(names)
    until(lambda: pods.sql(query), lambda count: count == "0")


def test_the_deployment_says_what_it_runs(pods: Pods, jobs: Jobs) -> None:
    (pod, *_) = pods.objects("pods", NAMESPACE, "agentjobs.dev/pool=default")
    assert pod["metadata"]["name"].startswith(WORKER)
    assert pod["spec"]["containers"][0]["image"] == f"agentjobs-pods:{pods.tag}"
    assert pod["spec"]["terminationGracePeriodSeconds"] == DRAIN_SECONDS + 10
