"""Queues, workers, models and the dashboard's files behind a real API server."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import uuid4

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind
from agentjobs.queue.schedules import SeenSchedule
from agentjobs.schedule.names import tick_child
from agentjobs.values.usage import Usage
from agentjobs.web.answers import CSP
from agentjobs.web.ui.pages import SHELLS
from queue_builders import CLUSTER, TestWorker, mirrored_job, new_job, until
from runs_apis import Served


async def test_a_namespace_sees_its_own_counts_its_queues_and_the_workers_that_serve_them(
    api: Served, queue: Queue
) -> None:
    worker = await TestWorker(queue, {"agents": 3, "secret": 2}).register()
    await queue.enqueue([mirrored_job("mine"), mirrored_job("theirs", "other"), new_job(queue="secret")])
    await queue.set_queue("agents", paused=False, max_running=7, by="ops")
    (mine,) = (await api.ask("view", "namespaces/team/queuestats")).json["items"]
    assert mine["metadata"] == {"name": "agents", "namespace": "team"}
    assert mine["status"] | {"oldestWaitSeconds": 0} == {
        "waiting": 1, "running": 0, "byState": {"Queued": 1}, "slots": 3, "oldestWaitSeconds": 0, "maxRunning": 7,
        "paused": False,
    }  # fmt: skip
    (one,) = (await api.ask("view", "namespaces/team/workers")).json["items"]
    assert one["status"]["queues"] == {"agents": 3}
    assert "running" not in one["status"]
    everything = (await api.ask("", "queuestats")).json["items"]
    assert {(item["metadata"]["name"], item["status"]["waiting"]) for item in everything} == {
        ("agents", 2),
        ("secret", 1),
    }
    assert (await api.ask("", "workers")).json["items"][0]["status"]["running"] == 0
    assert (await api.ask("view", "namespaces/other/queuestats")).code == 403
    assert (await api.ask("view", "queuestats")).code == 403
    assert "WAITING" in await api.kubectl("view", "get", "qs", "agents", "-n", "team")

    await worker.one()

    async def counted() -> bool:
        found = (await api.ask("", "queuestats/agents", method="GET")).code == 404
        listed = (await api.ask("", "queuestats")).json["items"]
        return found and any(item["status"]["running"] for item in listed)

    await until(counted, 20)


async def test_every_page_of_the_dashboard_is_served_to_whoever_is_known_and_to_nobody_else(
    api: Served,
) -> None:
    for name in SHELLS:
        page = await api.ask("nobody", f"ui/{name}.html", accept="text/html")
        assert page.code == 200, page.text
        assert page.headers["Content-Security-Policy"] == CSP
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        for file in re.findall(r'(?:src|href)="([\w.-]+)"', page.text):
            assert (await api.ask("nobody", f"ui/{file}", accept="*/*")).code == 200
    tag = page.headers["ETag"]
    assert (await api.ask("nobody", f"ui/{name}.html", If_None_Match=tag)).code == 304
    for path in (
        "ui/none.html",
        "ui/now.html/x",
        "ui/..",
        "ui/%2e%2e",
        "ui/now.html%2f..",
        "namespaces/team/ui/now.html",
    ):
        assert (await api.ask("", path)).code in (404, 405), path
    assert (await api.ask("nobody", "ui")).code == 403


async def test_a_fragment_comes_from_the_route_of_its_data_and_says_whether_objects_can_be_changed(
    api: Served, queue: Queue
) -> None:
    await queue.enqueue([mirrored_job("mine")])
    rows = await api.ask("view", "namespaces/team/agentruns", accept="text/html")
    assert rows.code == 200
    assert "mine" in rows.text
    assert rows.headers["Content-Security-Policy"] == CSP
    board = await api.ask("view", "namespaces/team/queuestats", accept="text/html")
    assert 'data-queue="agents"' in board.text
    refused = await api.ask("view", "namespaces/other/agentruns", accept="text/html")
    assert refused.code == 403


async def test_what_has_ended_is_counted_by_time_in_ones_own_namespace(api: Served, queue: Queue) -> None:
    worker = await TestWorker(queue).register()
    await queue.enqueue([mirrored_job("mine"), mirrored_job("again"), mirrored_job("theirs", "other")])
    for job in await worker.claim(3):
        await worker.ack(job, AckKind.FAIL, reason="AgentFailed", usage=Usage(2, 3, 5, 1, 0))
    found = (await api.ask("view", "namespaces/team/runseries?by=reason&since=1h")).json
    assert (found["kind"], found["by"], found["stepSeconds"]) == ("RunSeries", "reason", 60)
    assert [(p["key"], p["outcome"], p["count"], p["totalTokens"]) for p in found["items"]] == [
        ("AgentFailed", "Failed", 2, 10)
    ]
    assert (await api.ask("view", "runseries")).code == 403
    everything = (await api.ask("", "runseries?by=namespace&since=24h")).json["items"]
    assert {(item["key"], item["count"]) for item in everything} == {("team", 2), ("other", 1)}
    for query in ("by=user", "since=40d", "step=61", "step=1"):
        assert (await api.ask("view", f"namespaces/team/runseries?{query}")).code == 400, query
    for part in ("ends", "tokens"):
        shown = await api.ask("view", f"namespaces/team/runseries?by=reason&part={part}", accept="text/html")
        assert "AgentFailed" in shown.text


async def test_schedules_are_listed_with_their_next_times_in_ones_own_namespace(
    api: Served, queue: Queue
) -> None:
    now = datetime.now(UTC)
    for namespace, name in (("team", "brief"), ("team", "audit"), ("other", "theirs")):
        seen = SeenSchedule(
            uuid4(), CLUSTER, namespace, name, 1, "0 6 * * * in Europe/Berlin", now, None, True, False
        )
        await queue.save_schedules([seen], now)
    await queue.enqueue([mirrored_job(tick_child("brief", now))])
    found = (await api.ask("view", "namespaces/team/schedulestats")).json["items"]
    assert [item["metadata"]["name"] for item in found] == ["audit", "brief"]
    status = found[1]["status"]
    assert len(status["nextTimes"]) == 5
    assert [(run["name"], run["state"]) for run in status["last"]] == [(tick_child("brief", now), "Queued")]
    page = (await api.ask("", "schedulestats?limit=2")).json
    assert [item["metadata"]["name"] for item in page["items"]] == ["theirs", "audit"]
    rest = (await api.ask("", f"schedulestats?limit=2&continue={page['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in rest["items"]] == ["brief"]
    assert "continue" not in rest["metadata"]
    assert (await api.ask("view", "schedulestats")).code == 403
    assert (await api.ask("view", "namespaces/team/schedulestats?continue=x")).code == 410
    html = await api.ask("view", "namespaces/team/schedulestats", accept="text/html")
    assert "brief" in html.text
    assert "0 6 * * *" in await api.kubectl("view", "get", "schedulestats", "-n", "team")
    refused = SeenSchedule(
        uuid4(), CLUSTER, "team", "bad", 1, "0 6 * * * in Atlantis", now, None, False, False
    )
    await queue.save_schedules([refused], now)
    wrong = (await api.ask("view", "namespaces/team/schedulestats?accepted=false")).json["items"]
    assert [item["metadata"]["name"] for item in wrong] == ["bad"]
    assert (await api.ask("view", "namespaces/team/schedulestats?accepted=no")).code == 400
    path = "namespaces/team/schedulestats?accepted=false&part=refused"
    html = await api.ask("view", path, accept="text/html")
    assert "Atlantis" in html.text
