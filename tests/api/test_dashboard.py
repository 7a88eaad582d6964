"""The dashboard as people have it: through ``kubectl agentjobs web`` and a real API server, while the operator and a worker run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentjobs.local.assets import Assets
from agentjobs.web.names import ROOT
from clusters import Cluster
from dashboard_stage import Scene, plane_of, scene

pytestmark = pytest.mark.timeout(420)

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script><b hx-get="/stolen" hx-trigger="load">x</b>'


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    with plane_of(own_assets) as found:
        yield found


async def test_what_runs_is_seen_and_steered_while_it_runs(plane: Cluster, dsn: str, tmp_path: Path) -> None:
    async with scene(plane, dsn, tmp_path) as play:
        await play(_steps)


def _steps(at: Scene) -> None:
    _a_new_job_is_announced_and_its_conversation_followed(at)
    _failed_jobs_are_filtered_counted_and_retried(at)
    _a_question_is_approved(at)
    _hostile_words_are_text(at)
    _a_queue_is_paused_and_resumed(at)
    _a_schedule_is_run_now_and_paused(at)
    _what_ended_is_drawn(at)


def _a_new_job_is_announced_and_its_conversation_followed(at: Scene) -> None:
    gate = at.folder / "gate"
    at.submit("first", "hello")
    at.until("first", "Complete")
    at.open("jobs")
    at.page.wait_text("#list", "first")
    at.submit("talker", f'Wait with me.\necho:call wait_for {{"file": "{gate}"}}')
    at.page.wait_text("#fresh", "1 new job")
    assert "talker" not in at.page.text("#list")
    at.page.click("#fresh")
    at.page.wait_text("#list", "talker")
    at.page.wait_text("tr:has(a[href*='name=talker'])", "Running")
    at.page.click("a[href*='name=talker']")
    at.page.wait_text("#talk", "Wait with me.")
    at.page.wait_text("#talk", "desk calls wait_for")
    assert at.state("talker") == "Running"
    gate.write_text("the gate is open")
    at.page.wait_text("#talk", "the gate is open")
    at.page.wait_text("#talk-told", "That is all")
    at.page.wait_text("#result", "the gate is open")
    ids = at.page.run("[...document.querySelectorAll('#talk li')].map(e => e.id)")
    assert len(ids) == len(set(ids)) >= 4


def _failed_jobs_are_filtered_counted_and_retried(at: Scene) -> None:
    for n in range(3):
        at.submit(f"bad-{n}", "echo:fail 400 1\nanswer")
    for n in range(3):
        at.until(f"bad-{n}", "Failed")
    at.open("jobs")
    at.page.wait_text("#list", "first")
    at.page.run("document.querySelector('#f-state').value = 'Failed'")
    at.page.click("#filter button.main")
    at.page.wait(
        "location.search.includes('state=Failed') && document.querySelectorAll('tbody tr').length === 3"
    )
    at.act("button[data-bulk=retry]", "the provider is back")
    at.page.wait_text("#work-told", "3 of 3: asked for")
    for n in range(3):
        at.until(f"bad-{n}", "Complete")
    act = json.loads(at.plane.get("aj", "bad-0", "team")["metadata"]["annotations"]["agentjobs.dev/act"])
    assert (act["by"], act["verb"], act["reason"]) == ("edit", "retry", "the provider is back")


def _a_queue_is_paused_and_resumed(at: Scene) -> None:
    at.submit("later", "answer", delaySeconds=3600)  # a namespace shows the queues of its jobs
    at.until("later", "Scheduled")
    at.open("queues")
    at.act("#q-agents button[data-act=pause]", "the partner's API is down", "#q-agents .told")
    at.page.wait_text("#q-agents", "Paused")
    at.submit("waits", "answer")
    at.until("waits", "Queued")
    at.act("#q-agents button[data-act=unpause]", "it is back", "#q-agents .told")
    at.until("waits", "Complete")
    audits = json.loads(at.plane.kubectl("get", "--raw", f"{ROOT}/runaudits?queue=agents"))["items"]
    told = [
        (one["verb"], one["actor"], one["reason"]) for one in audits if one["verb"] in ("pause", "unpause")
    ]
    assert told == [("unpause", "edit", "it is back"), ("pause", "edit", "the partner's API is down")]


def _a_schedule_is_run_now_and_paused(at: Scene) -> None:
    spec = {"agent": {"module": "agents.desk"}, "message": "the digest", "queue": "agents"}
    nightly = {"schedule": "0 4 1 1 *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": spec}}
    head = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "ScheduledAgentJob",
        "metadata": {"name": "nightly"},
    }
    at.plane.apply({**head, "spec": nightly}, "team")
    at.open("schedules")
    at.page.wait_text("#schedules", "nightly")
    row = "#schedules tbody tr"
    at.act(f"{row} button[data-act=trigger]", "the last one is missing", f"{row} .told")
    at.open("jobs")
    at.page.wait_text("tr:has(a[href*='name=nightly-'])", "Complete")
    at.open("schedules")
    at.act(f"{row} button[data-act=hold]", "over the holidays")
    at.page.wait_text(row, "Paused")
    assert at.plane.get("scheduledagentjob", "nightly", "team")["spec"]["suspend"] is True


def _what_ended_is_drawn(at: Scene) -> None:
    at.open("now")
    at.page.wait_text("#ends", "Complete")
    assert at.page.run("document.querySelectorAll('#ends svg rect').length") > 0
    at.page.wait("!document.querySelector('#tokens p.quiet')")


def _a_question_is_approved(at: Scene) -> None:
    message = (
        'Money back.\necho:call find_order {"order": "A-17"}\necho:call refund {"order": "A-17", "euros": 40}'
    )
    at.submit("refund", message, "agents.refunds")
    at.until("refund", "InputRequired")
    at.open("approvals")
    at.page.wait_text(".inbox", '"euros": 40')
    at.act(".inbox button[data-act=approve]", "a known customer", ".inbox .told")
    at.until("refund", "Complete")
    at.page.wait_text("#inbox", "Nobody has to decide anything")


def _hostile_words_are_text(at: Scene) -> None:
    at.submit("says", f"echo:say {HOSTILE}")
    at.submit("falls", f"echo:call fall {json.dumps({'words': HOSTILE})}", maxAttempts=1)
    at.submit(
        "calls",
        f"echo:call <img/src=x/onerror=window.hacked=3> {json.dumps({'a': HOSTILE})}",
        maxAttempts=1,
    )
    at.until("says", "Complete")
    for name, region in (("says", "#result"), ("falls", "#talk"), ("calls", "#talk")):
        at.ended(name)
        at.open("job", name=name)
        at.page.wait_text(region, "window.hacked")
        at.page.wait_text("#talk-told", "That is all")
        assert at.page.run("window.hacked ?? 0") == 0
        assert at.page.run("document.querySelectorAll('main img, main script').length") == 0
    at.open("job", name="falls")
    at.page.wait_text("#talk-told", "That is all")
    at.page.click("#h-output + details summary")
    at.page.wait_text("#h-output + details pre", "window.hacked")
    at.open("jobs")
    at.page.wait_text("#list", "falls")
    assert at.page.run("document.querySelectorAll('main img, main script').length") == 0
