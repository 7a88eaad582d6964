"""Every verb of the kubectl plugin on a real API server, as a user who has the role edit in one namespace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentjobs.cli.kubectl.apiserver import JOBS, ApiServer
from agentjobs.cli.kubectl.where import Where
from clusters import Cluster
from plugins import Plugin

pytestmark = pytest.mark.timeout(300)

USER = "alice"


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def plugin(cluster: Cluster, namespace: str) -> Plugin:
    """The plugin of a user with the chart's roles view and edit in this namespace, and nothing else."""
    api = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": ["agentjobs.dev"], "resources": ["agentjobs", "scheduledagentjobs"],
         "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]},
    ]  # fmt: skip
    subject = {"apiGroup": api, "kind": "User", "name": USER}
    reference = {"apiGroup": api, "kind": "Role", "name": "edit"}
    cluster.apply(
        [
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "edit"}, "rules": rules},
            {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "edit"}, "roleRef": reference,
             "subjects": [subject]},
        ],
        namespace,
    )  # fmt: skip
    return Plugin(cluster, namespace, USER)


def job(name: str, **spec: Any) -> dict[str, Any]:
    agent = {"inline": {"name": "helper", "model": "echo", "instruction": "Say it."}}
    return {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {"name": name},
        "spec": {"agent": agent, "message": "Hello", **spec},
    }


def put(cluster: Cluster, namespace: str, states: dict[str, dict[str, Any]]) -> None:
    """Makes jobs with these statuses, as an operator would leave them."""
    with ApiServer.open(Where(namespace, kubeconfig=str(cluster.kubeconfig))) as server:
        for name, status in states.items():
            made = server.done(server.request("POST", server.path_of(JOBS), None, job(name)), JOBS, name)
            path = f"{server.path_of(JOBS, name)}/status"
            server.done(
                server.request("PUT", path, None, {**made, "status": {"revision": 1, **status}}), JOBS, name
            )


@pytest.fixture(autouse=True)
def kubectl_on_path(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{cluster.kubectl_path.parent}{os.pathsep}{os.environ['PATH']}")


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def failed(reason: str = "ToolFailed", message: str = "A tool failed.") -> dict[str, Any]:
    return {
        "state": "Failed", "reason": reason, "message": message, "attempts": 3, "completionTime": ago(minutes=5),
        "startTime": ago(minutes=9), "duration": "4m",
        "recentAttempts": [{"number": 3, "reason": reason, "message": message, "startTime": ago(minutes=6),
                            "endTime": ago(minutes=5)}],
    }  # fmt: skip


def objects(cluster: Cluster, namespace: str) -> dict[str, dict[str, Any]]:
    found = json.loads(cluster.kubectl("get", "agentjobs", "-n", namespace, "-o", "json"))["items"]
    return {one["metadata"]["name"]: one for one in found}


def test_jobs_are_listed_by_what_the_user_names(cluster: Cluster, namespace: str, plugin: Plugin) -> None:
    put(cluster, namespace, {
        "a": failed(), "b": failed("OutOfMemory"), "c": {"state": "Complete", "result": "42"},
        "d": {"state": "Running", "reason": "Running", "worker": "w1"},
    })  # fmt: skip
    table = plugin("list").stdout.splitlines()
    assert table[0].split() == ["NAME", "QUEUE", "STATE", "REASON", "ATTEMPTS", "DURATION", "AGE"]
    assert {line.split()[0] for line in table[1:]} == set("abcd")
    assert "\x1b" not in "".join(table), "no colours in a pipe"
    for arguments, names in (
        (["--state=failed"], "ab"), (["--state=Failed,Running"], "abd"), (["--reason=OutOfMemory"], "b"),
        (["--reason=ToolFailed"], "a"), (["--agent=help*"], "abcd"), (["--model=gemini*"], ""),
        (["--user=system"], "abcd"), (["--since=1h"], "abcd"), (["--queue=other"], ""), (["-l", "no=such"], ""),
    ):  # fmt: skip
        found = plugin("list", "-o", "name", *arguments).stdout.split()
        assert sorted(line.rpartition("/")[2] for line in found) == list(names), arguments
    whole = json.loads(plugin("list", "-o", "json").stdout)
    assert (whole["apiVersion"], whole["kind"], len(whole["items"])) == (
        "agentjobs.dev/v1alpha1",
        "AgentJobList",
        4,
    )
    assert plugin("list", "--state=Complete", "-o", "jsonpath={.items[*].status.result}").stdout == "42\n"
    assert "A tool failed." in plugin("list", "-o", "wide").stdout
    assert "forbidden" in plugin("list", "-A", status=1).stderr, "the user sees his namespace alone"
    assert "wants a duration" in plugin("list", "--since=soon", status=2).stderr


def test_why_and_describe_name_the_cause_and_what_to_do(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    put(cluster, namespace, {"a": failed("ToolFailed", "KeyError: 'customer' at shop.py:24\x1b[2J")})
    told = plugin("why", "a").stdout
    assert told.startswith(f"agentjob {namespace}/a: Failed (ToolFailed)\n")
    for part in (
        "KeyError: 'customer' at shop.py:24",
        "3 of 3 charged",
        f"kubectl agentjobs retry a -n {namespace}",
    ):
        assert part in told
    assert "\x1b" not in told
    assert json.loads(plugin("why", "a", "-o", "json").stdout)["cause"] == "ToolFailed"
    assert "Message:\n  Hello" in plugin("describe", "a").stdout
    missing = plugin("why", "nobody", status=1).stderr
    assert missing == (
        f"error: agentjob {namespace}/nobody is not found. Those that are there: kubectl agentjobs list -n {namespace}"
        f" --kubeconfig={cluster.kubeconfig} --as={USER}\n"
    )


def test_a_job_is_submitted_and_its_end_is_the_exit_status(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    plain = ("--inline=echo", "--instruction=Say it.", "-m", "Hello", "--name=one")
    assert plugin("submit", *plain, "--dry-run").stdout == "agentjob.agentjobs.dev/one created (dry run)\n"
    assert objects(cluster, namespace) == {}
    assert plugin("submit", *plain, "--because=a test").stdout == "agentjob.agentjobs.dev/one created\n"
    said = json.loads(objects(cluster, namespace)["one"]["metadata"]["annotations"]["agentjobs.dev/act"])
    assert (said["by"], said["verb"], said["reason"]) == (USER, "create", "a test")
    assert "is there already" in plugin("submit", *plain, status=2).stderr
    assert "not within 1 s: one" in plugin("wait", "one", "--timeout=1s", status=2).stderr
    generated = plugin(
        "submit", "-f", "-", "-o", "name", input=json.dumps({**job("x"), "metadata": {"generateName": "g-"}})
    )
    assert re.fullmatch(r"agentjob\.agentjobs\.dev/g-\w{5}\n", generated.stdout)
    wrong = plugin("submit", "-f", "-", input=json.dumps(job("y", mesage="typo")), status=1).stderr
    assert "mesage" in wrong
    for state, status, output in (("Complete", 0, "42\n"), ("Failed", 1, "")):
        name = f"run-{state.lower()}"
        command = plugin.command(
            "run", "--inline=echo", "--instruction=Say it.", "-m", "Hello", f"--name={name}"
        )
        process = subprocess.Popen(
            command, env=plugin.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert "created" in process.stderr.readline()
        finished = json.dumps({"status": {"state": state, "revision": 1, "result": "42"}})
        cluster.kubectl(
            "patch", "aj", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", finished
        )
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (status, output)


def test_the_end_before_a_retry_that_was_asked_for_is_not_waited_for(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    put(cluster, namespace, {"again": failed()})
    assert plugin("wait", "again", status=1).stderr.startswith("again: Failed (ToolFailed)")
    plugin("retry", "again")
    process = subprocess.Popen(
        plugin.command("wait", "again", "--timeout=60s"),
        env=plugin.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):  # it would have ended by then
        process.wait(3)
    with ApiServer.open(Where(namespace, kubeconfig=str(cluster.kubeconfig))) as server:
        for revision, state in enumerate(("Running", "Complete"), 2):
            one = server.get(JOBS, "again")
            status = {"state": state, "round": 2, "revision": revision}
            reply = server.request(
                "PUT", f"{server.path_of(JOBS, 'again')}/status", None, {**one, "status": status}
            )
            server.done(reply, JOBS, "again")
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 0, told
    assert "Failed" not in told
    put(cluster, namespace, {"alone": failed()})
    plugin("retry", "alone")  # no operator takes it up: not waited for without an end
    assert "Failed" in plugin("wait", "alone", status=1).stderr


def test_each_act_asks_for_its_change_and_names_who_and_why(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    put(cluster, namespace, {"a": {"state": "Queued"}, "b": failed()})
    for verb, name, key in (
        ("suspend", "a", "suspend"),
        ("resume", "a", "suspend"),
        ("cancel", "a", "cancel"),
    ):
        plugin(verb, name, "--because=a test")
        found = objects(cluster, namespace)[name]
        assert found["spec"][key] is (verb != "resume")
        said = json.loads(found["metadata"]["annotations"]["agentjobs.dev/act"])
        assert (said["by"], said["verb"], said["reason"], said["via"]) == (USER, verb, "a test", "kubectl")
    plugin("retry", "b")
    assert "asked to be retried already" in plugin("retry", "b", status=1).stderr
    assert "only Failed and Cancelled" in plugin("retry", "a", status=1).stderr
    assert "add --yes" in plugin("delete", "b", status=2).stderr
    plugin("delete", "b", "--yes")
    assert set(objects(cluster, namespace)) == {"a"}
    assert "Which?" in plugin("cancel", status=2).stderr


def test_a_thousand_failed_jobs_are_retried_once_each_through_an_interruption(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    put(cluster, namespace, {f"j{n:04}": failed("ModelUnavailable") for n in range(1000)})
    put(cluster, namespace, {"other": failed("ToolFailed")})
    before = objects(cluster, namespace)
    meant = ("--state=Failed", "--reason=ModelUnavailable", "--yes")
    preview = plugin("retry", *meant, "--dry-run").stderr
    assert (
        f"Retry 1,000 agentjobs in namespace {namespace} with state Failed, reason ModelUnavailable?"
        in preview
    )
    assert objects(cluster, namespace) == before

    process = subprocess.Popen(
        plugin.command("retry", *meant, "--spread=60s"),
        env=plugin.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("100 of 1,000"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    told = re.match(r"(\d+) of 1,000 agentjobs: retry requested\.", out)
    assert told is not None, out
    first = {name: one for name, one in objects(cluster, namespace).items() if _asked(one)}
    assert len(first) == int(told[1])
    assert f"{1000 - len(first):,} are left; go on with the same command: kubectl agentjobs retry" in err

    again = plugin("retry", *meant)
    assert f"{1000 - len(first):,} of {1000 - len(first):,} agentjobs: retry requested." in again.stdout
    assert f"({len(first):,} are asked already)" in again.stderr
    after = objects(cluster, namespace)
    assert sum(map(_asked, after.values())) == 1000
    assert not _asked(after["other"])
    assert all(
        after[name]["metadata"]["resourceVersion"] == one["metadata"]["resourceVersion"]
        for name, one in first.items()
    )
    assert "No agentjobs to retry" in plugin("retry", *meant).stderr


def _asked(one: dict[str, Any]) -> bool:
    return "agentjobs.dev/retry-requested-at" in (one["metadata"].get("annotations") or {})


def test_questions_are_listed_and_answered(cluster: Cluster, namespace: str, plugin: Plugin) -> None:
    request = {"id": "q-1", "tool": "refund", "arguments": '{"order": "A-1"}', "askedTime": ago(minutes=3)}
    put(cluster, namespace, {"a": {"state": "InputRequired", "inputRequest": request}, "b": failed()})
    row = plugin("inbox", "--no-headers").stdout.split()
    assert row[:2] == ["a", "refund"]
    assert plugin("approve", "a", "--yes").stdout == "agentjob.agentjobs.dev/a approved: refund\n"
    answer = objects(cluster, namespace)["a"]["metadata"]["annotations"]["agentjobs.dev/input-response"]
    assert (json.loads(answer)["approved"], json.loads(answer)["by"]) == (True, USER)
    assert "answered already" in plugin("reject", "a", "--yes", status=1).stderr


def test_schedules_are_listed_triggered_foretold_and_filled(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    spec = {"schedule": "0 * * * *", "timeZone": "Europe/Berlin",
            "jobTemplate": {"spec": {**job("x")["spec"], "message": "Of $(SCHEDULED_TIME)"}}}  # fmt: skip
    cluster.apply({"apiVersion": "agentjobs.dev/v1alpha1", "kind": "ScheduledAgentJob", "metadata": {"name": "hourly"},
                   "spec": spec}, namespace)  # fmt: skip
    assert plugin("schedules", "--no-headers").stdout.split()[:6] == ["hourly", "0", "*", "*", "*", "*"]
    child = plugin("trigger", "hourly").stdout.split()[-1]
    assert child.startswith("hourly-manual-")
    times = json.loads(plugin("next", "hourly", "-c", "3", "-o", "json").stdout)["times"]
    assert len(times) == 3
    assert all(time.endswith(":00:00Z") for time in times)

    window = ("--start=2026-03-01T00:00:00Z", "--end=2026-03-01T05:00:00Z")
    assert "6 times, 0 with a job, 6 without" in plugin("backfill", "hourly", *window, "--dry-run").stderr
    assert "there are 6" in plugin("backfill", "hourly", *window, "--max=5", status=2).stderr
    assert "6 of 6 agentjobs: created." in plugin("backfill", "hourly", *window, "--yes").stdout
    assert "6 times, 6 with a job, 0 without" in plugin("backfill", "hourly", *window, "--yes").stderr
    made = objects(cluster, namespace)
    assert len(made) == 6
    assert {one["spec"]["queue"] for one in made.values()} == {"scheduled"}
    assert "Of 2026-03-01T01:00:00+01:00" in {one["spec"]["message"] for one in made.values()}
    assert plugin("submit", "--from=hourly", "-m", "Now", "-o", "name").stdout.startswith(
        "agentjob.agentjobs.dev/hourly-"
    )


def test_a_schedule_is_suspended_and_resumed_by_its_name(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    put(cluster, namespace, {"both": {"state": "Queued"}})
    for name in ("nightly", "both"):
        cluster.apply({"apiVersion": "agentjobs.dev/v1alpha1", "kind": "ScheduledAgentJob", "metadata": {"name": name},
                       "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job("x")["spec"]}}}, namespace)  # fmt: skip

    def suspended(kind: str, name: str) -> bool:
        return bool(cluster.get(kind, name, namespace)["spec"].get("suspend"))

    told = plugin("suspend", "nightly", "--because=a test").stdout
    assert told == "scheduledagentjob.agentjobs.dev/nightly suspended\n"
    assert suspended("saj", "nightly")
    said = json.loads(
        cluster.get("saj", "nightly", namespace)["metadata"]["annotations"]["agentjobs.dev/act"]
    )
    assert (said["by"], said["verb"], said["reason"]) == (USER, "suspend", "a test")
    assert "suspended already" in plugin("suspend", "saj/nightly", status=1).stderr
    plugin("resume", "scheduledagentjob.agentjobs.dev/nightly")
    assert not suspended("saj", "nightly")

    plugin("suspend", "both")
    assert suspended("aj", "both")
    assert not suspended("saj", "both"), "a job of that name goes first"
    plugin("resume", "agentjob.agentjobs.dev/both")
    assert not suspended("aj", "both")
    assert "there are suspend and resume" in plugin("cancel", "schedule/both", status=1).stderr
    assert "agentjob" in plugin("cancel", "nightly", status=1).stderr, "cancel means jobs"


def test_the_namespace_of_jobs_without_an_object_says_what_lists_them(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    for verb in ("list", "why"):
        command = (verb, "some-uid") if verb == "why" else (verb,)
        assert "kubectl get agentruns -n -" in Plugin(cluster, "-", USER)(*command, status=2).stderr


def test_the_doctor_tells_what_he_sees_and_what_he_may_not_look_at(
    cluster: Cluster, namespace: str, plugin: Plugin
) -> None:
    checks = {c["name"]: c for c in json.loads(plugin("doctor", "-o", "json").stdout)["checks"]}
    assert checks["API server"]["verdict"] == "ok"
    assert checks["clock"]["verdict"] == "ok"
    assert checks["rights on agentjobs"]["verdict"] == "ok"
    assert checks["operator"]["verdict"] == "unknown"
    assert checks["runs API"]["verdict"] in ("warning", "ok")
    stranger = Plugin(cluster, namespace, "mallory")("doctor", status=1).stdout
    assert "ask for the role view" in stranger
    # whatever other tests have left in this cluster, a Lease without a holder for one
    admin = Plugin(cluster, namespace, None)("doctor", "-o", "json", status=None).stdout
    assert {c["name"]: c["verdict"] for c in json.loads(admin)["checks"]}["CRD agentjobs"] == "ok"


def test_names_are_completed_where_the_command_acts(cluster: Cluster, namespace: str, plugin: Plugin) -> None:
    put(cluster, namespace, {"refund-1": failed(), "report": failed()})
    main = "from agentjobs.cli.kubectl.completing import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, "why", f"--kubeconfig={cluster.kubeconfig}", "-n", namespace, "ref"],
        env=plugin.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "refund-1\n:4\n"


def test_a_cluster_that_does_not_answer_is_told_in_one_line(
    tmp_path: Path, cluster: Cluster, plugin: Plugin
) -> None:
    text = re.sub(r"https://[^\s\x27\"]+", "https://127.0.0.1:1", cluster.kubeconfig.read_text())
    (tmp_path / "config").write_text(text)
    plugin.flags = [f"--kubeconfig={tmp_path}/config"]
    told = plugin("list", status=1).stderr
    assert told.startswith("error: ")
    assert "cannot be reached" in told
    assert len(told.splitlines()) == 1
