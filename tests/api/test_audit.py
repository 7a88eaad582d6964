"""Who changed an object, by a real API server and operator: from the annotation into the audit's row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentjobs.api.act import ObjectAct, text_of
from agentjobs.api.names import ACT
from agentjobs.queue.audit import AuditRow
from agentjobs.queue.queue import Queue
from agentjobs.values.verbs import Verb
from clusters import Cluster
from operators import agent_job
from queue_builders import until
from schedules import scheduled_agent_job
from stack import Stack, stack

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def parts(cluster: Cluster, namespace: str, dsn: str, tmp_path: Path) -> Iterator[Stack]:
    with stack(cluster, dsn, tmp_path) as started:
        started.operator(namespace)
        yield started


def said(verb: Verb, at: str = "2026-03-01T10:00:00Z", **more: str) -> dict[str, str]:
    return {ACT: text_of(ObjectAct("alice", verb, "because", at, "kubectl", **more))}


async def test_a_change_of_an_object_is_told_with_the_name_that_came_with_it(
    cluster: Cluster, namespace: str, parts: Stack, dsn: str
) -> None:
    def patch(kind: str, name: str, annotations: dict[str, str], spec: dict[str, Any] | None = None) -> None:
        body = {"metadata": {"annotations": annotations}, **({"spec": spec} if spec else {})}
        cluster.kubectl("patch", kind, name, f"-n={namespace}", "--type=merge", "-p", json.dumps(body))

    async with await Queue.open(dsn) as queue:

        async def rows(n: int) -> Sequence[AuditRow]:
            async def there() -> bool:
                return len(await queue.audit(namespace)) >= n

            await until(there, 60)
            found = await queue.audit(namespace)
            assert len(found) == n
            return found

        cluster.apply(agent_job("plain"), namespace)
        cluster.apply(
            agent_job("again", annotations=said(Verb.RUN_AGAIN, origin="plain"), spec={"suspend": True}),
            namespace,
        )
        (row,) = await rows(1)
        assert (row.verb, row.actor, row.name) == ("run-again", "alice", "again")
        assert row.before == {"origin": "plain"}

        patch("aj", "again", said(Verb.RESUME, "2026-03-01T11:00:00Z"), {"suspend": False})
        row = (await rows(2))[0]
        assert (row.verb, row.actor, row.reason, row.source) == ("resume", "alice", "because", "kubectl")
        patch("aj", "again", {}, {"priority": 7})
        row = (await rows(3))[0]
        assert (row.verb, row.actor, row.source) == ("reprioritise", "", "object"), (
            "the old annotation is spent"
        )

        patch("aj", "again", said(Verb.DELETE, "2026-03-01T12:00:00Z"))
        cluster.kubectl("delete", "aj", "again", f"-n={namespace}")
        row = (await rows(4))[0]
        assert (row.verb, row.actor, row.name) == ("delete", "alice", "again")

        cluster.apply(scheduled_agent_job("nightly", {"schedule": "0 0 1 1 *"}), namespace)
        asked = "2026-03-01T13:00:00Z"
        patch("saj", "nightly", {"agentjobs.dev/run-requested-at": asked, **said(Verb.RUN_NOW, asked)})
        row = (await rows(5))[0]
        assert (row.verb, row.actor, row.name) == ("run-now", "alice", "nightly")
        assert row.after is not None
        assert row.after["child"].startswith("nightly-manual-")
        patch("saj", "nightly", {"agentjobs.dev/run-requested-at": "2026-03-01T14:00:00Z"})
        row = (await rows(6))[0]
        assert (row.verb, row.actor) == ("run-now", "")
