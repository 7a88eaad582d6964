"""Credentials that tools get for a user: kept sealed over runs where the pool has a key, else for one run, as ADK keeps them."""

from __future__ import annotations

import importlib
import sys
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from agent_modules import Write, write_module
from cryptography.fernet import Fernet
from gemini import FakeGemini, call, error, gemini, text
from runs import Job, module

from agentjobs.agents.sessions.erase import erase_sessions
from agentjobs.agents.sessions.fence import Fence
from agentjobs.agents.sessions.service import JobSessions, forget_services
from agentjobs.agents.verdict.outcome import Verdict

pytestmark = pytest.mark.usefixtures("own_process")

__all__ = ["gemini", "write_module"]

TOKEN = "ya29.heron-4711"
AGENT = """
    from google.adk.agents import LlmAgent
    from google.adk.auth.auth_credential import AuthCredential, AuthCredentialTypes, HttpAuth, HttpCredentials
    from google.adk.auth.auth_tool import AuthConfig
    from google.adk.auth.auth_schemes import CustomAuthScheme

    def config(token=None):
        sealed = HttpAuth(scheme="bearer", credentials=HttpCredentials(token=token))
        return AuthConfig(
            auth_scheme=CustomAuthScheme(type_="x"), credential_key="crm",
            exchanged_auth_credential=token and AuthCredential(auth_type=AuthCredentialTypes.HTTP, http=sealed),
        )
    FOUND = []
    async def login(tool_context) -> str:
        "Logs in."
        await tool_context.save_credential(config("ya29.heron-4711"))
        return "logged in"
    async def use(tool_context) -> str:
        "Uses it."
        found = await tool_context.load_credential(config())
        FOUND.append(found and found.http.credentials.token)
        return "used" if found else "nothing"
    root_agent = LlmAgent(name="agent", model="gemini-2.5-flash", tools=[login, use])
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file with the pool's keys."""
    file = tmp_path / "keys"
    file.write_bytes(Fernet.generate_key())
    return file


def job_of(write_module: Write, dsn: str, keys: Path | None) -> Job:
    write_module("crm_agent", textwrap.dedent(AGENT))
    job = Job(module("crm_agent"), "Go.", modules=("crm_agent",), dsn=dsn, user_id="ann")
    job.settings = replace(job.settings, credential_key_file=None if keys is None else str(keys))
    return job


def content_of(file: Path, new: str = "") -> str:
    """What is in the file, after ``new`` was written."""
    if new:
        file.write_text(new)
    return file.read_text()


def found() -> list[str | None]:
    return sys.modules["crm_agent"].FOUND  # type: ignore[no-any-return]


def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


async def test_without_a_key_a_credential_lasts_for_one_run(
    dsn: str, gemini: FakeGemini, write_module: Write
) -> None:
    job = job_of(write_module, dsn, None)
    gemini.script(call("login"), call("use"), error(500), call("use"), text("Done."))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (await job.attempt()).reason == "ModelServerError"
    assert not [one for one in caught if "CredentialService" in str(one.message)], "no run's output has them"
    forget_services()
    assert (await job.attempt()).verdict is Verdict.COMPLETE
    assert found() == [TOKEN, None]
    assert rows(dsn, "select * from adk.credential") == []


async def test_with_a_key_a_credential_lasts_over_runs_and_is_nowhere_in_clear(
    dsn: str, gemini: FakeGemini, write_module: Write, keys: Path
) -> None:
    job = job_of(write_module, dsn, keys)
    gemini.script(call("login"), error(500), call("use"), text("Done."))
    failed = await job.attempt()
    forget_services()
    done = await job.attempt()
    assert found() == [TOKEN]
    told = str(
        [
            failed,
            done,
            await job.stored(),
            rows(dsn, "select * from adk.credential"),
            rows(dsn, "table adk.events"),
        ]
    )
    assert "heron" not in told
    assert rows(dsn, "select app_name, user_id from adk.credential") == [("team-a/agentjobs", "ann")]
    await erase_sessions(dsn, "team-a", "ann")
    assert rows(dsn, "select * from adk.credential") == []


async def test_a_key_is_rotated_by_a_new_one_in_front_and_one_that_is_gone_leads_to_no_credential(
    dsn: str, gemini: FakeGemini, write_module: Write, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = content_of(keys)
    for content, expected in (
        (old, TOKEN),
        (f"{Fernet.generate_key().decode()}\n{old}\n", TOKEN),
        ("", None),
    ):
        content_of(keys, content or Fernet.generate_key().decode())
        forget_services()
        gemini.script(*([call("login")] if content == old else []), call("use"), text("Done."))
        assert (await job_of(write_module, dsn, keys).attempt()).verdict is Verdict.COMPLETE
        assert found()[-1] == expected
    assert "sealed with a key that is not in" in caplog.text
    assert "heron" not in caplog.text


async def test_h13_a_run_that_lost_its_session_saves_no_credential(
    dsn: str, gemini: FakeGemini, write_module: Write, keys: Path
) -> None:
    job = job_of(write_module, dsn, keys)
    gemini.script(call("login"))
    later = JobSessions(dsn)
    write_module(
        "crm_agent",
        textwrap.dedent(AGENT).replace(
            "    await tool_context.save", "    await TAKE()\n    await tool_context.save"
        ),
    )
    key = job.session_key

    async def take() -> None:
        await later.open(Fence(**key, job=job.uid, run=9, claim=9))

    importlib.import_module("crm_agent").TAKE = take  # type: ignore[attr-defined]
    assert (await job.attempt()).reason == "SessionFenced"
    assert rows(dsn, "select * from adk.credential") == []
    await later.release()
