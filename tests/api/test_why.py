"""``why`` alone tells the cause: every row of the table "finding out why", made to happen, on a real control plane with the real
operator, workers, Postgres and runs API; and then without the runs API, the operator, the database, the schema."""

from __future__ import annotations

import asyncio
import os
import textwrap
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from gemini import FakeGemini, error, rate_limited

from agentjobs.api.meta import MANAGED_BY
from agentjobs.cli.kubectl.filters import cause_of
from agentjobs.cli.kubectl.output import in_brackets
from agentjobs.controller.apiserver.client import ApiServer
from agentjobs.controller.apiserver.resources import AGENT_JOBS, SCHEDULED_AGENT_JOBS
from agentjobs.controller.metrics.counters import Counters
from agentjobs.local.assets import Assets
from agentjobs.local.postgres import EmbeddedPostgres
from agentjobs.queue.queue import Queue
from agentjobs.values.json import JsonObject
from clusters import Cluster
from operators import Objects, eventually
from people import binding, role
from plugins import Plugin
from runs_apis import served, with_roles
from stack import Stack, stack

pytest_plugins = ["gemini"]
pytestmark = pytest.mark.timeout(600)

NAMESPACE = "team"
SCREEN_LINES = 40
CLOSED = {"AGENTJOBS_QUEUE_ACCESS": '{"closed": {"namespaces": ["other"]}}'}
TROUBLE = textwrap.dedent("""\
    import asyncio, ctypes, os, signal
    from google.adk.agents import BaseAgent, LlmAgent
    from google.adk.tools import FunctionTool

    def charge(customer: str):
        print("charging", customer)
        raise ValueError("no such customer")

    def crash():
        os._exit(3)

    def segfault():
        ctypes.string_at(0)

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def eat():
        print("about to eat")
        return len([b"x" * 2**20 for _ in range(600)])

    async def slow():
        await asyncio.sleep(600)

    def refund(order: str):
        return "refunded"

    class Raises(BaseAgent):
        async def _run_async_impl(self, ctx):
            found = {}
            yield found["customer"]

    raising = Raises(name="raising")
    tools = [charge, crash, segfault, kill, eat, slow, FunctionTool(refund, require_confirmation=True)]
    root_agent = LlmAgent(name="trouble", model="echo", instruction="Do it.", tools=tools)
""")
IMPORTING = "import json\nKEYS = json.loads('{}')\nKEY = KEYS['CRM']\n"


@dataclass(frozen=True)
class Row:
    """One situation: what is submitted, where it ends up, and what ``why`` has to say."""

    name: str
    spec: Mapping[str, Any]
    state: str
    cause: str
    says: Sequence[str]
    """On the screen."""
    by_runs_api: Sequence[str] = ()
    """On the screen, where the runs API is registered."""
    after: str = ""
    """It is submitted when this one is where it ends up."""


def tool(name: str, arguments: str = "{}", **spec: Any) -> dict[str, Any]:
    agent = {"module": "trouble"}
    return {"agent": agent, "message": f"echo:call {name} {arguments}", "maxAttempts": 1, **spec}


def echo(message: str = "hello", **spec: Any) -> dict[str, Any]:
    return inline("echo", message=message, **spec)


def inline(model: str, name: str = "helper", **spec: Any) -> dict[str, Any]:
    agent = {"inline": {"name": name, "model": model, "instruction": "Answer."}}
    return {"agent": agent, "message": "hello", "maxAttempts": 1, **spec}


RETRY, NEW = "kubectl agentjobs retry", "Submit it anew with one of the queues that are served"
ROWS = (
    # the table of findings
    Row("no-queue", echo(queue="nobody"), "Queued", "NoWorkers", ("no live worker serves queue nobody; served: agents, closed", NEW),
        ("Queue:     nobody, priority 2; 1 waiting and 0 running of this namespace; no live worker serves it",)),
    Row("module", {"agent": {"module": "other"}, "message": "x"}, "Failed", "ModuleNotAllowed", ("is not allowed in worker pool", "does not allow", "'other'", RETRY)),
    Row("model", inline("gpt-4o"), "Failed", "ModelNotAllowed", ("is not allowed in worker pool", "does not allow", "gpt-4o")),
    Row("attribute", {"agent": {"module": "trouble:misssing"}, "message": "x"}, "Failed", "AgentNotFound",
        ("has no attribute 'misssing'. It has: ", "root_agent")),
    Row("unknown-model", inline("gemini-missing", "missing"), "Failed", "ModelNotFound", ("no such model here",)),
    Row("blocked", echo("echo:block SAFETY"), "Failed", "ModelSafetyBlocked", ("SAFETY",)),
    Row("bad-key", inline("gemini-key", "key"), "", "ModelAuthFailed", ("correct the pool's model key", "To do:     Set or correct the model's key"),
        ("Breaker:   gemini-key in pool default: open for", "next try")),
    Row("rate-limit", inline("gemini-limit", "limit"), "", "ModelRateLimited", ("goes on at", "Nothing: it goes on by itself"),
        ("Breaker:   gemini-limit in pool default: open for",)),
    Row("provider-down", inline("gemini-down", "down"), "Failed", "ModelServerError", ("503", "1 of 1 charged", RETRY)),
    Row("time-out", tool("slow", attemptTimeoutSeconds=2), "Failed", "AttemptTimeout",
        ("s that attemptTimeoutSeconds allows; it was in tool slow", "a new job may have more attemptTimeoutSeconds")),
    Row("memory-limit", tool("eat"), "Failed", "OutOfMemory", ("eat", "memoryLimitMib of the chart"), ("Output:    about to eat",)),
    Row("killed-by-kernel", tool("kill"), "Failed", "ExecutorCrashed", ("SIGKILL: the kernel does that when the container runs out of memory",)),
    Row("segfault", tool("segfault"), "Failed", "ExecutorCrashed", ("killed by SIGSEGV; it was in tool segfault",)),
    Row("exit", tool("crash"), "Failed", "ExecutorCrashed", ("ended with status 3 and without a result; it was in tool crash",)),
    Row("tool-raises", tool("charge", '{"customer": "ann"}'), "Failed", "ToolFailed",
        ("Tool 'charge'", "ValueError: no such customer at trouble.py:7 in charge", RETRY), ("Output:    charging ann",)),
    Row("agent-raises", {"agent": {"module": "trouble:raising"}, "message": "x", "maxAttempts": 1}, "Failed", "AgentFailed",
        ("KeyError: 'customer' at trouble.py:31 in _run_async_impl",)),
    Row("import-raises", {"agent": {"module": "importing"}, "message": "x"}, "Failed", "AgentInvalid",
        ("failed at import: KeyError: 'CRM' at importing.py:3 in <module>",)),
    Row("worker-killed", echo("echo:sleep 300", queue="doomed"), "Queued", "NoWorkers", ("WorkerLost",), ("run 1, WorkerLost, refunded",)),
    # and others that one meets at 3 a.m.
    Row("paused", echo(queue="paused"), "Queued", "QueuePaused",
        ("queue paused is paused by anna: an upgrade", "kubectl agentjobs unpause paused --kubeconfig"), ("ago by anna: an upgrade",)),
    Row("narrow", echo("echo:sleep 300", queue="narrow"), "Running", "Running", ("kubectl agentjobs wait narrow",), ("runs it",)),
    Row("full", echo(queue="narrow"), "Queued", "QueueFull", ("runs its limit of 1 jobs", "list --state Running --queue narrow"),
        ("limit 1", "1 waiting and 1 running"), after="narrow"),
    Row("holder", echo("echo:sleep 300", sessionID="s", userID="ann"), "Running", "Running", ()),
    Row("behind", echo(sessionID="s", userID="ann"), "Queued", "BehindSession",
        ("Behind:    agentjob holder holds its session s", "when holder has ended: kubectl agentjobs why holder"), after="holder"),
    Row("asks", tool("refund", '{"order": "7"}', inputDeadlineSeconds=3600), "InputRequired", "InputRequired",
        ("may refund be called with", "Without an answer it fails in", "kubectl agentjobs approve asks")),
    Row("refused", echo(sessionID="job-mine"), "Rejected", "InvalidSpec", ("spec.sessionID", "create a corrected one")),
    Row("closed", echo(queue="closed"), "Suspended", "QueueNotAllowed", ("queues.closed.allowedNamespaces",)),
    Row("deadline", echo("echo:sleep 300", activeDeadlineSeconds=2), "Failed", "DeadlineExceeded", ("more, or run it once more",)),
    Row("too-late", echo(queue="nobody", startingDeadlineSeconds=1), "Failed", "StartingDeadlineExceeded", ("came too late to start",)),
    Row("backoff", echo("echo:fail 500", maxAttempts=3, retryPolicy={"initialDelaySeconds": 600}), "Retrying", "ModelServerError",
        ("Next:      in ", "1 of 3 charged", "Nothing: it goes on by itself")),
    Row("later", echo(delaySeconds=3600), "Scheduled", "Scheduled", ("Next:      in 5",)),
    Row("suspended", echo(suspend=True), "Suspended", "Suspended", ("kubectl agentjobs resume suspended",)),
    Row("cancelled", echo(queue="nobody", cancel=True), "Cancelled", "Cancelled", ("create a corrected one under another name",)),
    Row("complete", echo("42"), "Complete", "Completed", ("Result:    42", "Nothing: it is done.")),
)  # fmt: skip
FINDINGS = [row.name for row in ROWS].index("worker-killed") + 1
"""The rows of the table of findings: what they say first is of the cause."""
SCHEDULES: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]] = {
    "asleep": ({"schedule": "0 * * * *", "suspend": True}, (": Suspended", "kubectl agentjobs resume schedule/asleep", "kubectl agentjobs trigger asleep")),
    "nowhere": ({"schedule": "0 * * * *", "timeZone": "Europe/Berln"}, (": Refused (UnknownTimeZone)", "Europe/Berln")),
    "missed": ({"scheduledTime": "2026-01-01T00:00:00Z", "missedRunPolicy": "Skip"}, (": Finished (OneShotMissed)", "trigger missed")),
    "hourly": ({"schedule": "0 * * * *"}, (": Active", "Next:      in ", "Nothing: it goes on by itself")),
}  # fmt: skip


@pytest.fixture
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane with the CRDs, one of which is older than the operator: it lets a session's name through."""
    with with_roles(own_assets) as found:
        found.install_crds()
        session = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sessionID"
        patch = f'[{{"op": "replace", "path": "{session}", "value": {{"type": "string"}}}}]'
        found.kubectl("patch", "crd", "agentjobs.agentjobs.dev", "--type=json", "-p", patch)
        events = role("events", ["events"], ["get", "list"])
        events["rules"][0]["apiGroups"] = [""]
        for one in (role("jobs", ["agentjobs", "scheduledagentjobs"]), events):
            name = one["metadata"]["name"]
            found.apply([one, binding("edit", {"kind": "Role", "name": name}, name)], NAMESPACE)
        yield found


@pytest.fixture
async def objects(plane: Cluster) -> AsyncIterator[Objects]:
    async with ApiServer(str(plane.kubeconfig), Counters()) as api:
        yield Objects(api, NAMESPACE)


class Screens:
    """What ``why`` prints: for a user of the namespace, or the administrator."""

    def __init__(self, plane: Cluster) -> None:
        user = Cluster(plane.require_own().kubeconfig_for("edit"), plane.kubectl_path, "user")
        self._user, self._admin = Plugin(user, NAMESPACE, None), Plugin(plane, NAMESPACE, None)
        self._some = asyncio.Semaphore(3)

    async def __call__(self, name: str, *, admin: bool = False) -> str:
        plugin = self._admin if admin else self._user
        async with self._some:
            return (await asyncio.to_thread(plugin, "why", name)).stdout


async def test_why_alone_tells_the_cause(
    plane: Cluster, own_postgres: EmbeddedPostgres, objects: Objects, gemini: FakeGemini, tmp_path: Path
) -> None:
    dsn, why = own_postgres.dsn("agentjobs"), Screens(plane)
    for agent, answers in {
        "missing": [error(404, "no such model here")],
        "key": [error(401, "invalid key")] * 3,
        "limit": [rate_limited(delay="900s")] * 3,
        "down": [error(503, "overloaded")] * 3,
    }.items():
        gemini.script_for(agent, *answers)
    with stack(plane, dsn, tmp_path) as parts:
        operator = parts.operator(NAMESPACE, CLOSED)
        await situations(parts, objects, dsn, tmp_path)
        lacks = await asyncio.to_thread(lacks_with_kubectl, plane)
        assert not lacks, "\n\n".join(lacks)
        async with served(plane, dsn, tmp_path):
            found = dict(
                zip((r.name for r in ROWS), await asyncio.gather(*(why(r.name) for r in ROWS)), strict=True)
            )
            wrong = [fault for row in ROWS for fault in faults(row, found[row.name], row.by_runs_api)]
            assert not wrong, "\n\n".join(wrong)
            assert not [
                line for screen in found.values() for line in screen.splitlines() if "Missing" in line
            ]
            for name, (_, words) in SCHEDULES.items():
                screen = await why(name)
                assert screen.startswith(f"schedule {NAMESPACE}/{name}: "), screen
                assert not [w for w in words if w not in screen], screen

            await objects.create("late", echo("echo:sleep 4\n42"))
            await objects.until("late", "Running")
            operator.kill()
            await objects.create("unseen")
            said = "the job is not in it: no operator has taken the object in"
            screen = await eventually(lambda: why("unseen"), lambda text: said in text, 60)
            assert "you may not read its Lease" in screen
            assert screen.startswith(f"agentjob {NAMESPACE}/unseen: no status\n")
            assert "kubectl agentjobs doctor" in screen
            await eventually(lambda: why("unseen", admin=True), lambda text: "no operator runs" in text, 60)
            screen = await why("late", admin=True)
            assert "Database:  says Complete since" in screen
            assert "no operator runs" in screen
            assert "To do:     This object shows what was" in screen

            mark = f"{uuid4()}/{(await objects.create('foreign'))['metadata']['uid']}"
            await objects.patch("foreign", {"metadata": {"annotations": {MANAGED_BY: mark}}})
            operator = parts.operator(NAMESPACE, CLOSED)
            screen = await eventually(lambda: why("foreign"), lambda text: "(ManagedElsewhere)" in text, 60)
            assert "To do:     Look where that installation runs" in screen
            operator.kill()

            await objects.create("dark")
            await asyncio.to_thread(own_postgres.kill)
            screen = await why("dark")
            assert "the database does not serve now" in screen, screen
            await asyncio.to_thread(own_postgres.restart)
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute("drop schema agentjobs cascade")
            screen = await eventually(lambda: why("dark"), lambda text: "agentjobs migrate up" in text, 30)

        found = dict(
            zip((r.name for r in ROWS), await asyncio.gather(*(why(r.name) for r in ROWS)), strict=True)
        )
        wrong = [fault for row in ROWS for fault in faults(row, found[row.name])]
        assert not wrong, "\n\n".join(wrong)
        for screen in found.values():
            missing = [line for line in screen.splitlines() if line.startswith("  Missing:")]
            assert len(missing) == 1, screen
            assert "needs the runs API, which is not registered" in missing[0]


async def situations(parts: Stack, objects: Objects, dsn: str, folder: Path) -> None:
    """Makes all rows happen, and waits until each is where it ends up."""
    for name, source in (("trouble", TROUBLE), ("importing", IMPORTING)):
        (folder / f"{name}.py").write_text(source)
    path = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    parts.worker(
        "main", "--queue=agents=8", "--queue=narrow=2", "--queue=paused=1", "--queue=closed=1", "--module=trouble",
        "--module=importing", "--model=echo", "--model=gemini-*", "--memory-limit-mib=256", environment=path,
    )  # fmt: skip
    doomed = parts.worker("doomed", "--queue=doomed=1", "--model=echo", environment=path)
    async with await Queue.open(dsn) as queue:
        await queue.set_queue("narrow", max_running=1)
        await queue.set_queue("paused", paused=True, by="anna", reason="an upgrade")
    for row in ROWS:
        if not row.after:
            await objects.create(row.name, dict(row.spec))
    for name, (spec, _) in SCHEDULES.items():
        body = {
            "apiVersion": SCHEDULED_AGENT_JOBS.api_version,
            "kind": SCHEDULED_AGENT_JOBS.kind,
            "metadata": {"name": name},
            "spec": {"jobTemplate": {"spec": echo()}, **spec},
        }
        reply = await objects.api.request(
            "POST", SCHEDULED_AGENT_JOBS.collection(NAMESPACE), resource="test", body=body
        )
        assert reply.ok, reply
    await objects.until("worker-killed", "Running")
    doomed.kill()
    for row in ROWS:
        if row.after:
            await objects.until(row.after, "Running")
            await objects.create(row.name, dict(row.spec))

    async def elsewhere() -> dict[str, JsonObject]:
        reply = await objects.api.request("GET", AGENT_JOBS.collection(NAMESPACE), resource="test")
        shown = {one["metadata"]["name"]: one.get("status") or {} for one in reply.body["items"]}
        return {
            row.name: shown.get(row.name, {}) for row in ROWS if not is_there(row, shown.get(row.name, {}))
        }

    await eventually(elsewhere, lambda odd: not odd, 150)


def lacks_with_kubectl(plane: Cluster) -> list[str]:
    """Rows of the table of findings whose cause is not told by one ``kubectl get`` of all, and one ``describe``."""
    wide = plane.kubectl("get", "aj", "-n", NAMESPACE, "-o", "wide")
    of = {line.split()[0]: line for line in wide.splitlines()}
    found = []
    for row in ROWS[:FINDINGS]:
        if row.cause not in of[row.name].split():
            found.append(f"{row.name}: REASON is not {row.cause}: {of[row.name]}")
        elif row.says[0] not in of[row.name]:
            described = plane.kubectl("describe", "aj", row.name, "-n", NAMESPACE)
            if row.says[0] not in described:
                found.append(f"{row.name} lacks {row.says[0]!r}: {of[row.name]}\n{described}")
    return found


def is_there(row: Row, status: JsonObject) -> bool:
    if row.name == "worker-killed" and not status.get("recentAttempts"):
        return False
    return cause_of(status) == row.cause and status.get("state") in (row.state or status.get("state"),)


def faults(row: Row, screen: str, more: Sequence[str] = ()) -> list[str]:
    """What the screen lacks, with the screen."""
    head = f"agentjob {NAMESPACE}/{row.name}: {row.state}{in_brackets(row.state, row.cause)}"
    if not row.state:
        head = f"({row.cause})\n"
    queue = f"  Queue:     {row.spec.get('queue', 'agents')}, priority 2"
    lacks = [words for words in (head, queue, "  To do:     ", *row.says, *more) if words not in screen]
    lines = screen.splitlines()
    if len(lines) > SCREEN_LINES:
        lacks.append(f"{len(lines)} lines are no screen")
    return [f"{row.name} lacks {lacks}:\n{screen}"] if lacks else []
