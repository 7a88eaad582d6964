"""The dashboard as people have it: through ``kubectl agentjobs web`` and a real API server, while the operator and a worker run."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentjobs.local.assets import Assets
from agentjobs.values.json import JsonObject
from agentjobs.web.names import ROOT
from browser import Tab, tab, until
from clusters import Cluster
from plugins import Plugin
from runs_apis import served, with_roles
from stack import Stack, stack

pytestmark = pytest.mark.timeout(420)

EXAMPLES = Path(__file__).parents[2] / "examples"
RBAC = "rbac.authorization.k8s.io"
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script><b hx-get="/stolen" hx-trigger="load">x</b>'
STATES_SECONDS = 90.0
DESK = """
import asyncio, os
from google.adk.agents import LlmAgent

async def wait_for(file: str) -> str:
    "Until the file is there."
    while not os.path.exists(file):
        await asyncio.sleep(0.05)
    return open(file).read()

async def fall(words: str) -> str:
    print(words)
    raise KeyError(words)

root_agent = LlmAgent(name="desk", model="echo", instruction="Repeat.", tools=[wait_for, fall])
"""
CHANGES = ["get", "list", "create", "patch"]


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane where the user edit changes jobs and schedules of the namespace ``team``, and queues."""
    with with_roles(own_assets) as found:
        found.install_crds()
        rules = [
            {
                "apiGroups": ["agentjobs.dev"],
                "resources": ["agentjobs", "scheduledagentjobs"],
                "verbs": CHANGES,
            }
        ]
        user = {"apiGroup": RBAC, "kind": "User", "name": "edit"}
        found.apply(
            [
                {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "jobs"}, "rules": rules},
                _binding("RoleBinding", "jobs", {"apiGroup": RBAC, "kind": "Role", "name": "jobs"}, user),
                _binding(
                    "ClusterRoleBinding", "edits-queues",
                    {"apiGroup": RBAC, "kind": "ClusterRole", "name": "runs-queues"}, user,
                ),
            ],
            "team",
        )  # fmt: skip
        yield found


def _binding(kind: str, name: str, role: JsonObject, user: JsonObject) -> JsonObject:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": role,
        "subjects": [user],
    }


@dataclass(frozen=True)
class Scene:
    """The cluster, the browser at the door, and a folder for files that tools wait for."""

    plane: Cluster
    page: Tab
    door: str
    folder: Path

    def open(self, shell: str, **query: str) -> None:
        asked = "&".join(f"{key}={value}" for key, value in ({"namespace": "team"} | query).items())
        self.page.open(f"{self.door}{ROOT}/ui/{shell}.html?{asked}")

    def submit(self, name: str, message: str, module: str = "agents.desk", **spec: Any) -> None:
        """A new AgentJob, as an administrator."""
        given = {"agent": {"module": module}, "message": message, **spec}
        self.plane.apply(
            {
                "apiVersion": "agentjobs.dev/v1alpha1",
                "kind": "AgentJob",
                "metadata": {"name": name},
                "spec": given,
            },
            "team",
        )

    def state(self, name: str) -> str:
        return str((self.plane.get("aj", name, "team").get("status") or {}).get("state", ""))

    def until(self, name: str, state: str) -> None:
        until(lambda: self.state(name) == state, f"{name} is {state}", STATES_SECONDS)

    def ended(self, name: str) -> None:
        until(lambda: self.state(name) in ("Complete", "Failed"), f"{name} has ended", STATES_SECONDS)

    def act(self, button: str, reason: str, told: str = "") -> None:
        """Press the button, give a reason, and wait until the act is told."""
        self.page.click(button)
        self.page.wait("document.querySelector('#ask').open && !document.querySelector('#ask-yes').disabled")
        self.page.run("document.querySelector('#ask-reason').focus()")
        self.page.type(reason)
        self.page.click("#ask-yes")
        if told:
            self.page.wait_text(told, "sked for")


@asynccontextmanager
async def scene(
    plane: Cluster, dsn: str, folder: Path
) -> AsyncIterator[Callable[[Callable[[Scene], None]], Any]]:
    """Runs a test's steps in a thread of their own, with a browser that has come in by the link of ``kubectl agentjobs web``."""
    agents = folder / "path" / "agents"
    shutil.copytree(EXAMPLES / "agents", agents)
    (agents / "desk.py").write_text(DESK)
    (folder / "web").mkdir()
    async with served(plane, dsn, folder / "web", session_dsn=dsn):
        with stack(plane, dsn, folder) as parts:
            _start(parts, agents.parent)
            user = Cluster(plane.require_own().kubeconfig_for("edit"), plane.kubectl_path, "user")
            plugin = Plugin(user, "team", None)
            process = await asyncio.create_subprocess_exec(
                *plugin.command("web", "--no-open"), env=plugin.environment, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            link = (await process.stdout.readline()).decode().split()[-1]

            def played(steps: Callable[[Scene], None]) -> None:
                with tab() as page:
                    page.open(link)
                    page.wait("location.pathname.endsWith('/now.html')")
                    steps(Scene(plane, page, link.split("/open/")[0], folder))
                    assert [line for line in page.console if "Content Security Policy" in line] == []
                    assert page.run("window.hacked ?? 0") == 0

            try:
                yield lambda steps: asyncio.to_thread(played, steps)
            finally:
                process.kill()
                await process.wait()


def _start(parts: Stack, path: Path) -> None:
    parts.operator("team")
    parts.worker(
        "worker",
        "--queue=agents=4",
        "--module=agents",
        "--model=echo",
        environment={"AGENTJOBS_PATH": str(path)},
    )


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
    at.page.click("#h-output + details summary")
    at.page.wait_text("#h-output + details pre", "window.hacked")
    at.open("jobs")
    at.page.wait_text("#list", "falls")
    assert at.page.run("document.querySelectorAll('main img, main script').length") == 0
