"""Origin before status: an HTTP error of the agent's own calls is the agent's or the tool's, whatever client and status."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from agent_modules import Write, write_module
from gemini import FakeGemini, call, gemini, text
from runs import Job, module

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["gemini", "write_module"]

AGENTS = """
import aiohttp, httpx, requests, urllib.request
from google.adk.agents import BaseAgent, LlmAgent, SequentialAgent
from google.adk.apps import App
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.agent_tool import AgentTool
from google.adk.workflow import START, Workflow, node
from google.genai import errors

STATUS = {status}

URL = {url!r}

async def by_httpx():
    async with httpx.AsyncClient() as client:
        (await client.get(URL)).raise_for_status()

async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(URL, raise_for_status=True):
        pass

async def by_requests():
    requests.get(URL).raise_for_status()

async def by_urllib():
    urllib.request.urlopen(URL)

async def by_genai():
    errors.APIError.raise_error(STATUS, {{"error": {{"code": STATUS, "message": "of a corpus", "status": "X"}}}}, None)

ask = by_{client}

def llm(name="agent", **more):
    return LlmAgent(**{{"name": name, "model": "gemini-2.5-flash", "instruction": "Answer.", **more}})

async def callback(*args, **more):
    await ask()

async def crm() -> str:
    "Asks the CRM."
    await ask()

@node
async def step(node_input: str) -> str:
    await ask()

class Own(BaseAgent):
    async def _run_async_impl(self, ctx):
        await ask()
        yield

class Plugin(BasePlugin):
    async def before_run_callback(self, *, invocation_context):
        await ask()

made = {root}
if isinstance(made, App):
    app = made
else:
    root_agent = made
"""

AGENT, TOOL = "AgentFailed", "ToolFailed"
PLACES = {
    "llm(before_agent_callback=callback)": AGENT,
    "llm(after_agent_callback=callback)": AGENT,
    "llm(before_model_callback=callback)": AGENT,
    "llm(after_model_callback=callback)": AGENT,
    "llm(instruction=callback)": AGENT,
    "Own(name='own')": AGENT,
    "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b', before_agent_callback=callback)])": AGENT,
    "Workflow(name='w', edges=[(START, step)])": AGENT,
    "App(name='x', root_agent=llm(), plugins=[Plugin('p')])": AGENT,
    "llm(sub_agents=[llm('crm', mode='single_turn', before_agent_callback=callback)])": AGENT,
    "llm(tools=[crm])": TOOL,
    "llm(tools=[crm], before_tool_callback=callback)": AGENT,
    "llm(tools=[AgentTool(llm('crm', before_agent_callback=callback))])": TOOL,
}
"""The place of the call → whose fault an error there is."""
CLIENTS = {
    "httpx": "HTTPStatusError",
    "aiohttp": "ClientResponseError",
    "requests": "HTTPError",
    "urllib": "HTTPError",
    "genai": "Error",
}
"""The client → what its error's class ends with."""
STATUSES = (400, 401, 403, 404, 429, 500, 503)
CASES = [
    *((place, "httpx", 404) for place in PLACES),
    *(("llm(before_agent_callback=callback)", client, status) for client, status in itertools.product(CLIENTS, STATUSES)),
    *(("llm(tools=[crm])", client, 429) for client in CLIENTS),
]  # fmt: skip


class Refuses(BaseHTTPRequestHandler):
    """Answers ``/404`` with status 404."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.send_header("Retry-After", "17")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def crm() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("place", "client", "status"), CASES)
async def test_an_http_error_of_the_agents_own_call_is_never_the_models(
    place: str, client: str, status: int, crm: str, write_module: Write, gemini: FakeGemini
) -> None:
    if "crm" in place:
        gemini.script(call("crm", {"request": "x"} if "llm('crm'" in place else {}), text("done"))
    write_module("under_test", AGENTS.format(root=place, client=client, status=status, url=f"{crm}/{status}"))
    outcome = await Job(module("under_test"), modules=("under_test",)).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, PLACES[place]), outcome.message
    assert (outcome.delay_seconds, outcome.model_answer) == (None, None)
    assert CLIENTS[client] in outcome.message
    assert str(status) in outcome.message
