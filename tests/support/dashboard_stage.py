"""The dashboard as people have it: a browser behind ``kubectl agentjobs web`` and a real API server, while the operator and a
worker run."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentjobs.local.assets import Assets
from agentjobs.values.json import JsonObject
from agentjobs.web.names import ROOT
from browser import Tab, tab, until
from clusters import Cluster
from plugins import Plugin
from runs_apis import served, with_roles
from stack import Stack, stack

EXAMPLES = Path(__file__).parents[2] / "examples"
RBAC = "rbac.authorization.k8s.io"
STATES_SECONDS = 90.0
FAILS_ONCE = "echo:fail 400 1\nthe answer after all"
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
KEEP_WHAT_IS_TOLD = """{
  const look = () => { const text = document.querySelector(%s)?.textContent; if (text) window.told.push(text); };
  window.told = [];
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
"""Keeps each text that an element, by its selector, has from now on."""
CHANGES = ["get", "list", "create", "patch"]


@contextmanager
def plane_of(own_assets: Assets) -> Iterator[Cluster]:
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

    def submit_all(self, names: Iterable[str]) -> None:
        """New AgentJobs that fail once, in one go."""
        head = {"apiVersion": "agentjobs.dev/v1alpha1", "kind": "AgentJob"}
        spec = {"agent": {"module": "agents.desk"}, "message": FAILS_ONCE}
        self.plane.apply([{**head, "metadata": {"name": name}, "spec": spec} for name in names], "team")

    def count(self, state: str, prefix: str) -> int:
        """How many jobs are in this state whose name begins so: earlier tests have left others."""
        found = self.plane.kubectl(
            "get", "aj", "-n", "team", f"--field-selector=status.state={state}", "-o", "name"
        )
        return sum(name.partition("/")[2].startswith(prefix) for name in found.split())

    def state(self, name: str) -> str:
        return str((self.plane.get("aj", name, "team").get("status") or {}).get("state", ""))

    def until(self, name: str, state: str) -> None:
        until(lambda: self.state(name) == state, f"{name} is {state}", STATES_SECONDS)

    def ended(self, name: str) -> None:
        until(lambda: self.state(name) in ("Complete", "Failed"), f"{name} has ended", STATES_SECONDS)

    def act(self, button: str, reason: str, told: str = "") -> None:
        """Press the button, give a reason, and wait until the act is told. What is told may be gone at once, with what it was told
        of: it counts if it was there."""
        self.page.click(button)
        self.page.wait("document.querySelector('#ask').open && !document.querySelector('#ask-yes').disabled")
        if told:
            self.page.run(KEEP_WHAT_IS_TOLD % json.dumps(told))
        self.page.run("document.querySelector('#ask-reason').focus()")
        self.page.type(reason)
        self.page.click("#ask-yes")
        if told:
            self.page.wait(
                "window.told?.some(text => text.includes('sked for'))", f"the act is told in {told}"
            )


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
