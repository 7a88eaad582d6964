"""A key without the address or the account of its provider is a matter of configuration, and no failure of the provider."""

from __future__ import annotations

import os

import pytest
from agent_modules import Write, write_module
from decided_rows import rows
from runs import Job, module

__all__ = ["rows", "write_module"]

ROW = r"text (?i)\bapi_base is required\b|\brequire an api_base\b|\bMissing (snowflake |CLOUDFLARE_)account_id\b"


@pytest.mark.parametrize("model", ["azure_ai/x", "azure_ai/claude-x", "snowflake/x", "cloudflare/x"])
async def test_a_client_that_does_not_know_where_to_ask_is_not_tried_again(
    model: str, write_module: Write, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if any(word in name for word in ("AZURE", "SNOWFLAKE", "CLOUDFLARE")):
            monkeypatch.delenv(name)
    for name in ("AZURE_AI_API_KEY", "SNOWFLAKE_JWT", "CLOUDFLARE_API_KEY"):
        monkeypatch.setenv(name, "a-key-of-nobody")
    write_module(
        "nowhere",
        "from google.adk.agents import LlmAgent\n"
        f"root_agent = LlmAgent(name='nowhere', model={model!r}, instruction='Answer.')\n",
    )
    outcome = await Job(module("nowhere"), modules=("nowhere",)).attempt()
    assert outcome.reason == "ModelRequestInvalid", outcome.message
    assert rows[-1] == ROW
