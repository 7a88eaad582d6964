"""``audit.ownName``: the chart's admission policy on a real API server lets nobody write another's name, in whatever form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agentjobs.api.act import ObjectAct, parse, text_of
from agentjobs.values.verbs import Verb
from charts import LEAST, Helm, in_force_in
from clusters import Cluster
from operators import agent_job
from people import binding, merge, role, says

KEY = "agentjobs.dev/act"
ODD = 'system:odd "one" \\ ß'
RESTORES = "system:serviceaccount:velero:velero"


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[dict[str, Any]]:
    rendered = helm.render({**LEAST, "audit": {"ownName": True, "trustedWriters": [RESTORES]}})
    return [o for o in rendered if o["kind"].startswith("ValidatingAdmissionPolicy")]


@pytest.fixture
def namespace(cluster: Cluster, objects: list[dict[str, Any]]) -> Iterator[str]:
    with cluster.namespace() as name:
        cluster.apply(in_force_in(name, objects))
        users = ("alice", "bob", ODD, RESTORES)
        bindings = [
            binding(user, {"kind": "Role", "name": "author"}, f"u{n}") for n, user in enumerate(users)
        ]
        cluster.apply([role("author", ["agentjobs", "scheduledagentjobs"]), *bindings], name)
        try:
            yield name
        finally:
            for found in objects:
                cluster.kubectl("delete", found["kind"], found["metadata"]["name"], "--ignore-not-found")


def test_nobody_writes_anothers_name_into_a_change(cluster: Cluster, namespace: str) -> None:
    def create(user: str, name: str, value: str) -> str:
        body = agent_job(name, annotations={KEY: value} if value else {})
        return says(cluster, namespace, user, "create", "-f", "-", input=json.dumps(body))

    def suspend(user: str, value: str | None) -> str:
        body = {"metadata": {"annotations": {KEY: value}}, "spec": {"suspend": True}}
        return says(cluster, namespace, user, *merge("plain", body))

    alice = text_of(ObjectAct("alice", Verb.SUSPEND, "too dear", "2026-03-01T10:00:00Z", "kubectl"))
    bob = text_of(ObjectAct("bob", Verb.SUSPEND))
    # the policy is in force some moments after it is stored
    for _ in range(200):
        if create("bob", "early", alice):
            break
        says(cluster, namespace, "bob", "delete", "agentjob", "early")
    assert create("bob", "plain", "") == ""
    refused = {
        "created": create("bob", "sly", alice),
        "changed": suspend("bob", alice),
        "behind the own name, twice": suspend("bob", '{"by": "bobby", "verb": "suspend"}'),
        "before the own name": suspend("bob", '{"by":  "bob", "verb": "suspend"}'),
        "in another order": suspend("bob", '{"verb": "suspend", "by": "alice"}'),
        "escaped": suspend("bob", '{"by": "\\u0062ob", "verb": "suspend"}'),
        "no JSON": suspend("bob", "alice did it"),
        "annotated": says(cluster, namespace, "bob", "annotate", "agentjob", "plain", f"{KEY}={alice}"),
        "a schedule": says(
            cluster, namespace, "bob", "create", "-f", "-",
            input=json.dumps(
                agent_job("nightly", annotations={KEY: alice})
                | {"kind": "ScheduledAgentJob", "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": agent_job("x")["spec"]}}}
            ),
        ),
    }  # fmt: skip
    assert {how: "forbidden" in text.lower() for how, text in refused.items()} == dict.fromkeys(refused, True)
    assert 'it has to begin with {"by": "bob"' in refused["changed"]
    # what passes the policy, and names another for a reader that takes the last, is no act
    assert suspend("bob", '{"by": "bob", "verb": "suspend", "by": "alice"}') == ""
    with pytest.raises(ValueError, match="twice"):
        parse('{"by": "bob", "verb": "suspend", "by": "alice"}')
    assert suspend("bob", bob) == ""
    assert suspend("alice", bob) == "", "the same value stays"
    assert suspend("alice", alice) == ""
    assert suspend(ODD, text_of(ObjectAct(ODD, Verb.SUSPEND, "ß"))) == ""
    assert suspend("bob", '{"by":"bob","verb":"suspend"}') == "", "without the space"
    assert suspend("bob", None) == "", "and taken away"
    assert create(RESTORES, "restored", alice) == "", "who restores writes what was there"
