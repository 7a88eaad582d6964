"""``approval.restrict``: the chart's admission policy on a real API server, with people of different rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from charts import LEAST, Helm, in_force_in
from clusters import Cluster
from operators import agent_job
from people import binding, merge, role, says

KEY = "agentjobs.dev/input-response"
ANSWER = {KEY: "approve:q-1"}


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[dict[str, Any]]:
    rendered = helm.render({**LEAST, "approval": {"restrict": True}})
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    return [o for o in rendered if o["kind"] in kinds or o["metadata"]["name"].endswith("-approve")]


@pytest.fixture
def namespace(cluster: Cluster, objects: list[dict[str, Any]]) -> Iterator[str]:
    """With an author, who has what `edit` has, and an approver."""
    with cluster.namespace() as name:
        cluster.apply(in_force_in(name, objects))
        cluster.apply(
            [
                role("author", ["agentjobs"]),
                binding("author", {"kind": "Role", "name": "author"}),
                binding("approver", {"kind": "ClusterRole", "name": "agents-agentjobs-approve"}),
            ],
            name,
        )
        try:
            yield name
        finally:
            for found in objects:
                cluster.kubectl("delete", found["kind"], found["metadata"]["name"], "--ignore-not-found")


def test_who_answers_is_a_privilege_of_its_own(cluster: Cluster, namespace: str) -> None:
    def create(user: str, name: str, annotations: dict[str, str], **meta: Any) -> str:
        body = agent_job(name, annotations=annotations, **meta)
        if not name:
            body["metadata"].pop("name")
        return says(cluster, namespace, user, "create", "-f", "-", input=json.dumps(body))

    def annotate(user: str, name: str, value: str) -> str:
        return says(cluster, namespace, user, "annotate", "--overwrite", "agentjob", name, value)

    # the policy is in force some moments after it is stored
    for _ in range(200):
        said = create("author", "early", ANSWER)
        if "agents-agentjobs-approve" in said:
            break
        if not said:  # else the author's role is not in force yet
            says(cluster, namespace, "author", "delete", "agentjob", "early")
    assert create("author", "plain", {"team": "a"}) == ""
    refused = {
        "created with an answer": create("author", "sly", ANSWER),
        "created with an answer and a generated name": create("author", "", ANSWER, generateName="sly-"),
        "annotated": annotate("author", "plain", f"{KEY}=approve:q-1"),
        "merged": says(cluster, namespace, "author", *merge("plain", {"metadata": {"annotations": ANSWER}})),
        "applied": says(
            cluster, namespace, "author", "apply", "--server-side", "-f", "-",
            input=json.dumps(agent_job("plain", annotations=ANSWER)),
        ),
        "json": says(
            cluster, namespace, "author", "patch", "agentjob", "plain", "--type=json", "-p",
            json.dumps([{"op": "add", "path": f"/metadata/annotations/{KEY.replace('/', '~1')}", "value": "approve:q-1"}]),
        ),
    }  # fmt: skip
    whole = json.loads(cluster.kubectl("get", "agentjob", "plain", f"-n={namespace}", "-o", "json"))
    whole["metadata"]["annotations"] = ANSWER
    refused["replaced"] = says(cluster, namespace, "author", "replace", "-f", "-", input=json.dumps(whole))
    assert {how: "forbidden" in text.lower() for how, text in refused.items()} == dict.fromkeys(refused, True)
    assert "agents-agentjobs-approve has that right" in refused["annotated"].replace("\n", " ")
    # everything else of the author's is as it was
    assert says(cluster, namespace, "author", *merge("plain", {"spec": {"suspend": True}})) == ""
    assert annotate("author", "plain", "team=b") == ""
    assert annotate("approver", "plain", f"{KEY}=approve:q-1") == ""
    assert says(cluster, namespace, "author", *merge("plain", {"spec": {"suspend": False}})) == "", "it stays"
    assert "forbidden" in annotate("author", "plain", f"{KEY}-").lower(), "nor takes it away"
    assert annotate("approver", "plain", f"{KEY}-") == ""
    assert create("approver", "theirs", {}) != "", "who approves does not create"
    # status writes, as the operator makes them, are not concerned
    cluster.kubectl(
        "patch", "agentjob", "plain", f"-n={namespace}", "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {"revision": 1, "state": "Queued"}}),
    )  # fmt: skip
