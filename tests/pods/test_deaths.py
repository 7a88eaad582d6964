"""Invariant 4 in a real cluster: whatever is taken away, every job ends once, and no attempt is burned for it."""

from __future__ import annotations

import subprocess

from pods import (
    AFTER_DRAIN_SECONDS,
    BEYOND_DRAIN,
    DATABASE_POD,
    NAMESPACE,
    TO_BE_SEEN,
    WORKER,
    Jobs,
    Pods,
    until,
)


def test_a_worker_pod_that_is_deleted_drains_and_gives_back_what_it_cannot_finish(
    pods: Pods, jobs: Jobs
) -> None:
    (short,) = jobs.create(["short"], TO_BE_SEEN)
    (long,) = jobs.create(["long"], BEYOND_DRAIN)
    jobs.in_state("Running", [short, long])
    first = dict(zip((short, long), jobs.workers([short, long]), strict=True))
    for worker in set(first.values()):
        pods.kubectl("delete", "pod", worker, f"--namespace={NAMESPACE}", "--wait=false")
    jobs.complete([short, long], AFTER_DRAIN_SECONDS)
    assert jobs.workers([short])[0] == first[short], "it finished during the drain"
    assert jobs.workers([long])[0] != first[long], "another pod ran it again"
    assert "WorkerLost" not in jobs.reasons()


def test_h14_a_worker_pod_that_is_killed_is_noticed_and_its_job_runs_elsewhere(
    pods: Pods, jobs: Jobs
) -> None:
    names = jobs.create(["job"], TO_BE_SEEN)
    jobs.in_state("Running", names)
    (worker,) = jobs.workers(names)
    pods.kubectl("delete", "pod", worker, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
    jobs.complete(names)
    assert jobs.workers(names) != [worker]
    until(jobs.reasons, lambda reasons: "WorkerLost" in reasons)


def test_a_node_that_is_drained_loses_nothing(pods: Pods, jobs: Jobs) -> None:
    node = f"{pods.kind.name}-worker"
    names = jobs.create([f"job-{n}" for n in range(12)], TO_BE_SEEN)
    jobs.in_state("Running", names)
    try:
        pods.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=110s")
        jobs.complete(names)
        jobs.complete(jobs.create(["afterwards"]))
    finally:
        pods.kubectl("uncordon", node)


def test_a_pool_scaled_to_zero_waits_and_says_so_and_goes_on_when_it_is_back(pods: Pods, jobs: Jobs) -> None:
    try:
        pods.kubectl("scale", f"deploy/{WORKER}", f"--namespace={NAMESPACE}", "--replicas=0")
        until(lambda: pods.objects("pods", NAMESPACE, "agentjobs.dev/pool=default"), lambda found: not found)
        names = jobs.create(["one", "two"])
        until(jobs.statuses, lambda found: {s.get("reason") for s in found.values()} == {"NoWorkers"})
    finally:
        pods.kubectl("scale", f"deploy/{WORKER}", f"--namespace={NAMESPACE}", "--replicas=2")
    jobs.complete(names)


def test_a_busy_worker_that_is_scaled_in_finishes_first(pods: Pods, jobs: Jobs) -> None:
    # what kedacore/keda#6719 is about: the autoscaler cannot know which pod is busy
    names = jobs.create([f"job-{n}" for n in range(8)], TO_BE_SEEN)
    jobs.in_state("Running", names)
    before = jobs.workers(names)
    try:
        pods.kubectl("scale", f"deploy/{WORKER}", f"--namespace={NAMESPACE}", "--replicas=0")
        jobs.complete(names)
        assert jobs.workers(names) == before
    finally:
        pods.kubectl("scale", f"deploy/{WORKER}", f"--namespace={NAMESPACE}", "--replicas=2")


def test_jobs_go_on_while_both_operators_are_killed(pods: Pods, jobs: Jobs) -> None:
    before = jobs.create([f"before-{n}" for n in range(10)], "echo:sleep 2")
    operators = pods.names("operator")
    pods.kubectl("delete", "pod", *operators, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
    after = jobs.create([f"after-{n}" for n in range(10)])
    jobs.complete([*before, *after])
    assert not set(operators) & set(pods.names("operator"))


def test_h11_a_restart_of_postgres_rescues_nobody_and_burns_no_attempt(pods: Pods, jobs: Jobs) -> None:
    operators, workers = pods.restarts("operator"), pods.restarts("worker")
    names = jobs.create([f"job-{n}" for n in range(10)], TO_BE_SEEN)
    jobs.in_state("Running", names)
    pods.kubectl("delete", "pod", DATABASE_POD, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
    more = jobs.create([f"meanwhile-{n}" for n in range(5)])
    jobs.complete([*names, *more])
    assert not set(jobs.interrupted()) & set(names), "runs wait for the database, and go on"
    assert "WorkerLost" not in jobs.reasons()
    assert (pods.restarts("operator"), pods.restarts("worker")) == (operators, workers)


def test_a_node_whose_kubelet_restarts_keeps_its_jobs(pods: Pods, jobs: Jobs) -> None:
    names = jobs.create([f"job-{n}" for n in range(6)], TO_BE_SEEN)
    jobs.in_state("Running", names)
    node = f"{pods.kind.name}-worker"
    subprocess.run(["docker", "exec", node, "systemctl", "restart", "kubelet"], check=True)
    jobs.complete(names)
