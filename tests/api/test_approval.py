"""The whole way of a question: applied, asked, shown by kubectl, answered by the plugin or the annotation, complete."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentjobs.local.process import wait_until
from clusters import Cluster
from processes import until
from stack import Stack, stack

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "approval.yaml"


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def parts(cluster: Cluster, namespace: str, dsn: str, tmp_path: Path) -> Iterator[Stack]:
    with stack(cluster, dsn, tmp_path) as started:
        started.operator(namespace)
        started.worker(
            "worker",
            "--queue=agents=1",
            "--module=agents",
            environment={"AGENTJOBS_PATH": str(ROOT / "examples")},
        )
        yield started


def plugin(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``kubectl agentjobs …``, as kubectl finds it on the path."""
    folders = (str(cluster.kubectl_path.parent), str(Path(sys.executable).parent), os.environ["PATH"])
    path = os.pathsep.join(folders)
    return subprocess.run(
        [str(cluster.kubectl_path), "agentjobs", *arguments, f"--kubeconfig={cluster.kubeconfig}"],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def apply(cluster: Cluster, namespace: str, name: str, message: str = "") -> None:
    manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"]["name"] = name
    if message:
        manifest["spec"]["message"] = message
    cluster.apply(manifest, namespace)


def events(cluster: Cluster, namespace: str, reason: str) -> str:
    """The names of the namespace's Events of that reason."""
    return cluster.kubectl(
        "get", "events", f"-n={namespace}", f"--field-selector=reason={reason}", "-o", "name"
    )


def wait(cluster: Cluster, namespace: str, name: str, condition: str) -> None:
    cluster.kubectl("wait", f"--for=condition={condition}", f"aj/{name}", f"-n={namespace}", "--timeout=90s")


def test_a_job_goes_from_apply_over_a_question_and_its_approval_to_its_answer(
    cluster: Cluster, namespace: str, parts: Stack
) -> None:
    apply(cluster, namespace, "refund")
    wait(cluster, namespace, "refund", "InputRequired")
    row = cluster.kubectl("get", "aj", "refund", f"-n={namespace}", "--no-headers").split()
    assert row[:4] == ["refund", "agents", "InputRequired", "InputRequired"]
    status = cluster.get("aj", "refund", namespace)["status"]
    request = status["inputRequest"]
    assert (request["tool"], request["arguments"]) == ("refund", '{"order": "A-17", "euros": 40}')
    assert status["attempts"] == 0
    # an Event is posted after the status
    assert wait_until(lambda: bool(events(cluster, namespace, "InputRequired")), 90, every_seconds=0.2)
    told_in_events = cluster.kubectl(
        "get", "events", f"-n={namespace}", "-o", "jsonpath={.items[*].reason} {.items[*].message}"
    )
    assert "InputRequired" in told_in_events
    assert "A-17" not in told_in_events, "the conversation is in no Event"

    # the slot is free: another job runs while this one waits
    apply(cluster, namespace, "other", "No tool is called.")
    wait(cluster, namespace, "other", "Complete")

    unsure = plugin(cluster, "approve", "refund", f"--namespace={namespace}")
    assert (unsure.returncode, unsure.stdout) == (2, "")
    assert "add --yes" in unsure.stderr
    wrong = plugin(cluster, "approve", "refund", "-n", namespace, "--yes", "--id=adk-0")
    assert wrong.returncode == 1
    assert f"asks the question {request['id']} now, not adk-0" in wrong.stderr

    approved = plugin(cluster, "approve", "refund", "-n", namespace, "--yes", "--reason=known customer")
    assert (approved.returncode, approved.stdout) == (
        0,
        "agentjob.agentjobs.dev/refund approved: refund\n",
    ), approved
    assert f"AgentJob {namespace}/refund asks: may the tool refund be called?" in approved.stderr
    wait(cluster, namespace, "refund", "Complete")
    status = cluster.get("aj", "refund", namespace)["status"]
    assert '"refunded": 40' in status["result"]
    assert status["attempts"] == 1
    assert "inputRequest" not in status
    (told,) = [c for c in status["conditions"] if c["type"] == "InputRequired"]
    assert (told["status"], told["reason"]) == ("False", "InputApproved")
    assert told["message"].startswith("tool refund, by ")
    assert told["message"].endswith(" as the answer says: known customer")

    late = plugin(cluster, "reject", "refund", "-n", namespace, "--yes")
    assert late.returncode == 1
    assert "does not wait for input: it is Complete" in late.stderr
    missing = plugin(cluster, "reject", "nobody", "-n", namespace, "--yes")
    assert (missing.returncode, missing.stderr) == (
        1,
        f"error: agentjob {namespace}/nobody is not found. Those that are there: kubectl agentjobs list -n {namespace}"
        f" --kubeconfig={cluster.kubeconfig}\n",
    )


async def test_the_annotation_answers_the_question_that_it_names_and_no_other(
    cluster: Cluster, namespace: str, parts: Stack
) -> None:
    apply(
        cluster, namespace, "two",
        'echo:call refund {"order": "A-1", "euros": 1}\necho:call refund {"order": "A-2", "euros": 2}\nDone:',
    )  # fmt: skip
    wait(cluster, namespace, "two", "InputRequired")
    first = cluster.get("aj", "two", namespace)["status"]["inputRequest"]

    def annotate(value: str) -> None:
        key = "agentjobs.dev/input-response"
        cluster.kubectl("annotate", "aj", "two", f"-n={namespace}", "--overwrite", f"{key}={value}")

    annotate("approve:adk-0")
    await until(
        lambda: events(cluster, namespace, "InputResponseRefused"), "an Event that the answer was refused"
    )
    annotate(f"approve:{first['id']}")
    cluster.kubectl(
        "wait", "--for=jsonpath={.status.inputRequest.arguments}={\"order\": \"A-2\", \"euros\": 2}", "aj/two",
        f"-n={namespace}", "--timeout=90s",
    )  # fmt: skip
    second = cluster.get("aj", "two", namespace)["status"]["inputRequest"]
    assert second["id"] != first["id"], "the approval that is still there answers no new question"
    rejected = plugin(cluster, "reject", "two", "-n", namespace, "--yes")
    assert rejected.returncode == 0, rejected
    wait(cluster, namespace, "two", "Complete")
    result = cluster.get("aj", "two", namespace)["status"]["result"]
    assert '"refunded": 1' in result
    assert "This tool call is rejected." in result


BUILDER = """
from google.adk.agents import LlmAgent
from google.adk.tools import LongRunningFunctionTool


def build(branch: str) -> dict[str, str]:
    "Builds."
    return {"status": "pending"}


root_agent = LlmAgent(name="builder", model="echo", instruction="i", tools=[LongRunningFunctionTool(build)])
"""


def test_the_result_of_a_long_running_tool_is_given_by_the_plugin_and_checked_before(
    cluster: Cluster, namespace: str, dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "builder.py").write_text(BUILDER)
    with stack(cluster, dsn, tmp_path) as started:
        started.operator(namespace)
        started.worker(
            "worker",
            "--queue=agents=1",
            "--module=builder",
            environment={"AGENTJOBS_PATH": str(tmp_path)},
        )
        manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
        manifest["metadata"]["name"] = "build"
        manifest["spec"] |= {
            "agent": {"module": "builder"},
            "message": 'echo:call build {"branch": "main"}',
        }
        cluster.apply(manifest, namespace)
        wait(cluster, namespace, "build", "InputRequired")
        request = cluster.get("aj", "build", namespace)["status"]["inputRequest"]
        assert (request["kind"], request["tool"], request["result"]) == (
            "LongRunning",
            "build",
            '{"status": "pending"}',
        )

        unfit = f'agentjobs.dev/input-response={{"id": "{request["id"]}", "payload": {{"status": 31337}}}}'
        cluster.kubectl("annotate", "aj", "build", f"-n={namespace}", unfit)
        assert wait_until(
            lambda: bool(events(cluster, namespace, "InputResponseRefused")), 90, every_seconds=0.2
        )
        told = cluster.kubectl("get", "events", f"-n={namespace}", "-o", "jsonpath={.items[*].message}")
        assert "payload.status is a whole number; a text is wanted. Mend the payload and answer again" in told
        assert "31337" not in told
        assert f"kubectl agentjobs answer build -n {namespace} --payload JSON" in told

        no = plugin(cluster, "reject", "build", "-n", namespace, "--yes")
        assert no.returncode == 1
        assert "does not ask for a yes or no" in no.stderr
        mended = '--payload={"status": "ok"}'
        given = plugin(cluster, "answer", "build", "-n", namespace, "--yes", mended, "--reason=by hand")
        assert (given.returncode, given.stdout) == (0, "agentjob.agentjobs.dev/build answered: build\n"), (
            given
        )
        wait(cluster, namespace, "build", "Complete")
        status = cluster.get("aj", "build", namespace)["status"]
        assert '"status": "ok"' in status["result"]
        (condition,) = [c for c in status["conditions"] if c["type"] == "InputRequired"]
        assert (condition["status"], condition["reason"]) == ("False", "InputAnswered")
