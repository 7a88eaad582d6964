"""``kubectl agentjobs web``: the dashboard in a browser, through the guarded door and the API server, as a plain user."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentjobs.cli.kubectl.door import START
from agentjobs.local.assets import Assets
from agentjobs.queue.queue import Queue
from agentjobs.web.names import ROOT
from browser import Tab, tab
from clusters import Cluster
from plugins import Plugin
from queue_builders import mirrored_job, until
from runs_apis import Served, served, with_roles

pytestmark = pytest.mark.timeout(300)

JOBS = "/apis/agentjobs.dev/v1alpha1/namespaces/team/agentjobs"
SPEC = {
    "agent": {"inline": {"name": "helper", "model": "echo", "instruction": "Say it."}},
    "message": "Hello",
}


@pytest.fixture(scope="module")
def plane(own_assets: Assets) -> Iterator[Cluster]:
    """A control plane where the user edit may change AgentJobs of the namespace ``team``, and view may not."""
    api = "rbac.authorization.k8s.io"
    with with_roles(own_assets) as found:
        found.install_crds()
        rules = [
            {"apiGroups": ["agentjobs.dev"], "resources": ["agentjobs"], "verbs": ["get", "list", "patch"]}
        ]
        found.apply(
            [
                {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": {"name": "jobs"}, "rules": rules},
                {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": {"name": "jobs"},
                 "roleRef": {"apiGroup": api, "kind": "Role", "name": "jobs"},
                 "subjects": [{"apiGroup": api, "kind": "User", "name": "edit"}]},
                {"apiVersion": "agentjobs.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": "mine"}, "spec": SPEC},
            ],
            "team",
        )  # fmt: skip
        yield found


@pytest.fixture
async def api(plane: Cluster, dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(plane, dsn, tmp_path) as found, await Queue.open(dsn) as queue:
        await queue.enqueue([mirrored_job("mine"), mirrored_job("theirs", "other")])
        yield found


@asynccontextmanager
async def opened(plane: Cluster, user: str) -> AsyncIterator[str]:
    """The link of the command, which runs until the block ends and then leaves nothing."""
    folder = Path(
        tempfile.mkdtemp(dir="/tmp")
    )  # short: in a folder of pytest's a socket's path is too long, and it goes elsewhere
    plugin = Plugin(
        Cluster(plane.require_own().kubeconfig_for(user), plane.kubectl_path, "user"), "team", None
    )
    process = await asyncio.create_subprocess_exec(
        *plugin.command("web", "--no-open"),
        env={**plugin.environment, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("The dashboard: http://127.0.0.1:")
        assert _inside(folder) == 1
        yield line.split()[-1]
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert _inside(folder) == 0
        await until(lambda: _gone(folder), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(folder)


def _inside(folder: Path) -> int:
    return len(list(folder.iterdir()))


async def _gone(folder: Path) -> bool:
    return await asyncio.to_thread(_unused, folder)


def _unused(folder: Path) -> bool:
    """Whether no process has the folder on its command line, as kubectl proxy has."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in line.read_bytes():
                return False
        except OSError:
            continue
    return True


def asked(link: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str, str]:
    """The status, text and cookie of a request of any program on this machine."""
    address = link.split("/")[2]
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), (answer.getheader("Set-Cookie") or "").split(";")[0]
    finally:
        connection.close()


def browsed(link: str) -> None:
    with tab() as page:
        page.open(link)
        page.wait("location.pathname.endsWith('/now.html')")
        page.wait_text("#board", "agents")
        page.open(f"{link.split('/open/')[0]}{ROOT}/ui/jobs.html?namespace=team")
        page.wait_text("#list", "mine")
        assert "theirs" not in page.text("#list")
        page.open(f"{link.split('/open/')[0]}{ROOT}/ui/jobs.html?namespace=other")
        page.wait_text("#list-problem", "orbidden")
        assert [line for line in page.console if "Content Security Policy" in line] == []
        assert _fetched(page, JOBS + "/mine", {"spec": {"suspend": True}}) == 200
        assert _fetched(page, JOBS.replace("/team/", "/other/") + "/x", {"spec": {"suspend": True}}) == 403
        assert page.run("document.cookie") == ""


def _fetched(page: Tab, path: str, body: object) -> int:
    """The status of an act, as the dashboard's script sends it."""
    headers = {"Content-Type": "application/merge-patch+json", "X-Agentjobs-Act": "1"}
    given = json.dumps({"method": "PATCH", "headers": headers, "body": json.dumps(body)})
    return int(page.run(f"fetch({json.dumps(path)}, {given}).then((answer) => answer.status)"))


async def test_a_browser_looks_and_acts_with_the_rights_of_its_user(plane: Cluster, api: Served) -> None:
    async with opened(plane, "edit") as link:
        await asyncio.to_thread(browsed, link)
    assert plane.get("aj", "mine", "team")["spec"]["suspend"] is True


async def test_other_programs_and_pages_are_turned_away(plane: Cluster, api: Served) -> None:
    async with opened(plane, "edit") as link:
        ask = asked
        runs, secret = f"{ROOT}/namespaces/team/agentruns", link.split("/open/")[1]
        own = link.split("/open/")[0]

        async def status(method: str, path: str, body: object = None, **headers: str) -> int:
            return (await asyncio.to_thread(ask, link, method, path, body, **headers))[0]

        assert await status("GET", runs, Sec_Fetch_Site="same-origin") == 401
        assert await status("GET", "/open/wrong") == 401
        assert await status("GET", f"/open/{secret}", Host="evil.example") == 421
        code, _, cookie = await asyncio.to_thread(ask, link, "GET", f"/open/{secret}")
        assert code == 200
        assert await status("GET", f"/open/{secret}") == 401, "a link lets in once"
        known = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin"}
        code, text, _ = await asyncio.to_thread(ask, link, "GET", runs, **known)
        assert (code, "mine" in text) == (200, True)
        forged = {"Impersonate_User": "view", "X_Remote_User": "admin", "Authorization": "Bearer x"}
        assert await status("GET", runs, **known, **forged) == 200, "who he is says kubectl, not the page"
        assert await status("GET", f"{ROOT}/namespaces/other/agentruns", **known, **forged) == 403
        assert await status("GET", runs, **{**known, "Sec_Fetch_Site": "cross-site"}) == 403
        assert await status("GET", runs, **known, Origin="http://127.0.0.1:1") == 403
        for path in (
            "/api/v1/namespaces/team/secrets",
            f"{runs}/../../x",
            f"{runs}/%2e%2e/x",
            "/version",
            "/apis",
        ):
            assert await status("GET", path, **known) == 404, path
        patch = {"Content_Type": "application/merge-patch+json", "Origin": own}
        assert await status("PATCH", f"{JOBS}/mine", {"spec": {"priority": 1}}, **known, **patch) == 403
        act = {**known, **patch, "X_Agentjobs_Act": "1"}
        assert await status("PATCH", f"{JOBS}/mine", {"spec": {"priority": 1}}, **act) == 200
        assert await status("DELETE", f"{JOBS}/mine", **act) == 405
        assert await status("POST", JOBS, "x", **act, Content_Length="4000000") == 413


async def test_a_stream_comes_as_it_is_sent(plane: Cluster, api: Served, dsn: str) -> None:
    async with opened(plane, "edit") as link, await Queue.open(dsn) as queue:
        secret = link.split("/open/")[1]
        _, _, cookie = await asyncio.to_thread(asked, link, "GET", f"/open/{secret}")
        headers = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Accept": "text/event-stream"}
        connection = http.client.HTTPConnection(link.split("/")[2], timeout=30)
        try:
            path = f"{ROOT}/namespaces/team/agentruns?watch=true"
            await asyncio.to_thread(connection.request, "GET", path, None, headers)
            answer = await asyncio.to_thread(connection.getresponse)

            async def line_with(word: bytes) -> bytes:
                while word not in (line := await asyncio.to_thread(answer.readline)):
                    assert line, "the stream has ended"
                return line

            await line_with(b'"mine"')
            await queue.enqueue([mirrored_job("later")])
            await line_with(b'"later"')
        finally:
            connection.close()


async def test_without_the_right_to_anything_the_page_opens_and_shows_nothing(
    plane: Cluster, api: Served
) -> None:
    async with opened(plane, "nobody") as link:
        secret = link.split("/open/")[1]
        _, _, cookie = await asyncio.to_thread(asked, link, "GET", f"/open/{secret}")
        known = {"Cookie": cookie, "Sec_Fetch_Site": "same-origin"}
        assert (await asyncio.to_thread(asked, link, "GET", START, **known))[0] == 200
        assert (await asyncio.to_thread(asked, link, "GET", f"{ROOT}/namespaces/team/agentruns", **known))[
            0
        ] == 403
