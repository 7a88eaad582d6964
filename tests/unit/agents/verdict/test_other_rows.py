"""The rows of the table that no answer of a model's provider leads to: each raised for real, by what raises it in life.

And that no row is in the table that nothing leads to, here or in ``outcome_cases``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from agent_modules import Write, write_module
from decided_rows import rows
from gemini import FakeGemini, call, gemini, text
from provider import FakeProvider
from provider_shapes import Answer, Failure
from runs import GEMINI, Job, module

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import Origin, judge_exception
from client_errors import CLASSES, error_of
from outcome_cases import CASES

__all__ = ["gemini", "rows", "write_module"]

HEAD = """
import asyncio
from google.adk.agents import BaseAgent, LlmAgent
from google.adk.events import Event
from google.adk.models import BaseLlm
from google.adk.workflow import START, Workflow, node
from google.genai.types import GenerateContentConfig, GenerationConfigRoutingConfig
from pydantic import BaseModel

class Number(BaseModel):
    number: int

def nothing() -> str:
    "Nothing."
    return ""

def numbers() -> dict:
    "Numbers."
    return {1: 2}

def llm(**more):
    return LlmAgent(**{"name": "agent", "model": "gemini-2.5-flash", "instruction": "Answer.", **more})

class Does(BaseAgent):
    what: object
    async def _run_async_impl(self, ctx):
        if (event := self.what()) is not None:
            yield event

class Broken(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        raise RuntimeError("broken")
        yield

def one_call(callback_context):
    callback_context._invocation_context.run_config.max_llm_calls = 1

class Strict(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        Number.model_validate({})
        yield

@node(timeout=0.05)
async def slow(node_input: str) -> str:
    await asyncio.sleep(60)
"""

OF_AGENTS = {
    "client": "llm(generate_content_config=GenerateContentConfig(routing_config=GenerationConfigRoutingConfig()))",
    "tool's result": "llm(tools=[nothing, numbers])",
    "no code": "Does(name='a', what=lambda: Event(author='a', error_message='the remote is down'))",
    "agent": "Does(name='a', what=lambda: 1 / 0)",
    "tool": "llm(tools=[nothing, raises])",
    "unknown": "llm(model=Broken(model='broken'))",
    "request's class pydantic_core.ValidationError": "llm(model=Strict(model='strict'))",
    "class pydantic_core.ValidationError": "llm(output_schema=Number, output_key='number')",
    "state": "llm(instruction='Use {plan}.', sub_agents=[llm(name='planner', output_key='plan')])",
    "text Context variable not found": "llm(instruction='Answer in {language}.')",
    r"text ^Model \S+ not found\.": "llm(model='nonsense')",
    "class google.LlmCallsLimitExceededError": "llm(tools=[nothing, raises], before_agent_callback=one_call)",
    "class google.NodeTimeoutError": "Workflow(name='w', edges=[(START, slow)])",
    "class google.WorkflowConfigurationError": "Does(name='a', what=lambda: node(7))",
}
"""Row → the root that leads to it."""


@pytest.mark.parametrize(("row", "root"), OF_AGENTS.items(), ids=list(OF_AGENTS))
async def test_a_row_is_reached_by_an_agent(
    row: str, root: str, write_module: Write, gemini: FakeGemini, rows: list[str]
) -> None:
    gemini.script(call({"tool": "raises", "tool's result": "numbers"}.get(row, "nothing")), text("none"))
    write_module(
        "under_test",
        f"{HEAD}\ndef raises() -> str:\n    'Raises.'\n    raise KeyError('x')\n\nroot_agent = {root}\n",
    )
    outcome = await Job(module("under_test"), modules=("under_test",)).attempt()
    assert rows == [row], outcome.message


def _vertex(patch: pytest.MonkeyPatch, credentials: Path | None) -> None:
    patch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "1")
    patch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    patch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west1")
    patch.setenv("NO_GCE_CHECK", "true")
    patch.delenv("GOOGLE_GEMINI_BASE_URL")
    patch.delenv("GOOGLE_API_KEY")
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials or ""))


def _service_account(folder: Path, token_uri: str) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "service-account.json"
    account = {
        "type": "service_account",
        "client_email": "a@b.c",
        "token_uri": token_uri,
        "project_id": "project",
    }
    file.write_text(json.dumps({**account, "private_key": key.decode()}))
    return file


async def test_missing_keys_and_clouds_that_refuse_us_have_their_rows(
    write_module: Write, gemini: FakeGemini, rows: list[str], tmp_path: Path
) -> None:
    write_module(
        "claude",
        f"{HEAD}\nfrom google.adk.models.anthropic_llm import AnthropicLlm\n"
        "root_agent = llm(model=AnthropicLlm(model='claude-x'))\nvertex = llm(model='claude-x')\n",
    )

    async def run(prepare: Callable[[pytest.MonkeyPatch], object], agent: dict[str, Any] = GEMINI) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(tmp_path))
            prepare(patch)
            await Job(agent, modules=("claude",)).attempt()

    with FakeProvider() as cloud:
        cloud.answer = Answer(failure=Failure(400, "invalid_grant"))
        refused, away = (_folder(tmp_path, name) for name in ("refused", "away"))
        await run(lambda patch: patch.delenv("GOOGLE_API_KEY"))
        await run(lambda patch: patch.delenv("ANTHROPIC_API_KEY", raising=False), CLAUDE)
        await run(lambda patch: patch.delenv("GOOGLE_CLOUD_PROJECT", raising=False), VERTEX_CLAUDE)
        await run(lambda patch: _vertex(patch, None))
        await run(lambda patch: _vertex(patch, _service_account(refused, cloud.url)))
        await run(lambda patch: _vertex(patch, _service_account(away, "http://127.0.0.1:1")))
        cloud.answer = Answer(failure=Failure(503))
        await run(lambda patch: _vertex(patch, _service_account(refused, cloud.url)))
    assert rows == OF_CLOUDS


CLAUDE, VERTEX_CLAUDE = module("claude"), module("claude:vertex")
OF_CLOUDS = [
    r"text ^No API key was provided\.",
    r"text ^No Anthropic credential was found\b",
    r"text GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION must be set\b",
    "class google.GoogleAuthError",
    "class google.GoogleAuthError",
    "class google.TransportError",
    "token",
]


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


# clients that an agent's own model may be made of ------------------------------------------------------


async def _aiohttp_timeout(silent: str) -> None:
    timeout = aiohttp.ClientTimeout(sock_read=0.1)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{silent}/chat/completions", json={}),
    ):
        pass


async def _openai_timeout(silent: str) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=silent, api_key="k", max_retries=0, timeout=0.1) as client:
        await client.chat.completions.create(model="m", messages=[])


async def _refused(_: str) -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def _no_host(_: str) -> None:
    await asyncio.open_connection("no-such-host.invalid", 1)


async def _no_tls(silent: str) -> None:
    def shake_hands() -> None:
        context = ssl.create_default_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        context.wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()

    shake_hands()


async def _no_json_of_the_schema(_: str) -> None:
    from litellm.litellm_core_utils.json_validation_rule import validate_schema

    validate_schema({"type": "object", "required": ["a"]}, "{}")


async def _session_twice(__: str) -> None:
    from google.adk.sessions import InMemorySessionService

    service = InMemorySessionService()
    for _ in range(2):
        await service.create_session(app_name="a", user_id="u", session_id="s")


async def _no_session(__: str) -> None:
    from google.adk.agents import LlmAgent
    from google.adk.runners import Runner
    from google.adk.sessions import InMemorySessionService
    from google.genai.types import UserContent

    runner = Runner(
        app_name="a", agent=LlmAgent(name="a", model="echo"), session_service=InMemorySessionService()
    )
    async for _ in runner.run_async(user_id="u", session_id="s", new_message=UserContent("x")):
        pass


async def _key_twice(__: str) -> None:
    from sqlalchemy import create_engine, text

    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("create table t (id int primary key)"))
        for _ in range(2):
            connection.execute(text("insert into t values (1)"))


async def _cancelled(_: str) -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


RAISED: dict[str, Callable[[str], Awaitable[None]]] = {
    "class aiohttp.ServerTimeoutError": _aiohttp_timeout,
    "class openai.APITimeoutError": _openai_timeout,
    "class builtins.ConnectionError": _refused,
    "class socket.gaierror": _no_host,
    "class ssl.SSLError": _no_tls,
    "class litellm.JSONSchemaValidationError": _no_json_of_the_schema,
    "class google.AlreadyExistsError": _session_twice,
    "class google.SessionNotFoundError": _no_session,
    "class sqlalchemy.IntegrityError": _key_twice,
    "class asyncio.CancelledError": _cancelled,
}


@pytest.mark.parametrize(("row", "raises"), RAISED.items(), ids=list(RAISED))
async def test_a_row_is_reached_by_what_a_library_raises(
    row: str, raises: Callable[[str], Awaitable[None]]
) -> None:
    with FakeProvider() as provider:
        provider.answer = Answer(fault="silent")
        with pytest.raises(BaseException) as caught:
            await raises(provider.url)
    assert judge_exception(caught.value, Origin.MODEL).row == row


ELSEWHERE = {
    "code INVOCATION_ABORTED": "test_attempt.py, where runs are aborted",
    r"text (?i)\bapi_base is required\b|\brequire an api_base\b|\bMissing (snowflake |CLOUDFLARE_)account_id\b": "test_missing_address.py",
    "class google.StaleSessionError": "tests/queue/test_session_store_errors.py: it takes a database",
    r"text ^Missing credentials\.": "test_missing_credentials.py, as the two below",
    r"text \b[A-Z]+_API_KEY is not set\b": "",
    r"text \bAPI key are not set\b": "",
    r"text ^Must provide one of the `base_url` or `azure_endpoint` arguments\b": "there, too",
    "answer": "test_client_errors.py",
    r"text ^Project or API key must be set\b": "no run of a version that we take: ADK says 'No API key' before; kept for "
    "agents that make their own client",
}
"""Row → where it is reached, or why it is not."""


def test_every_row_of_the_table_is_reached_by_something_real() -> None:
    reached = {row for case in CASES for row in case.rows} - {""}
    reached |= {*OF_AGENTS, *OF_CLOUDS, *RAISED, *ELSEWHERE}
    of_clients = {judge_exception(error_of(kind, None), Origin.MODEL).row for _, kind in CLASSES}
    reached |= {row for row in of_clients if row.startswith("class ")}
    assert reached == set(error_rules.rows())
