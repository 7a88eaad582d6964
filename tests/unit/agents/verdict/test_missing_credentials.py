"""Without credentials each client of ADK's says so in its own words: the pool's key is missing, whoever says it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent_modules import Write, write_module
from decided_rows import rows
from runs import Job, module

from agentjobs.agents.verdict.outcome import Verdict

__all__ = ["rows", "write_module"]

TEXT = {
    "gemini-2.5-flash": r"text ^No API key was provided\.",
    "gpt-4o": r"text ^Missing credentials\.",
    "o3-mini": r"text ^Missing credentials\.",
    "claude-sonnet-4": r"text GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION must be set\b",
    "openai/gpt-4o": r"text ^Missing credentials\.",
    "azure/x": r"text ^Missing credentials\.",
    "anthropic/claude-sonnet-4": "status 401",
    "together_ai/x": r"text ^Missing credentials\.",
    "fireworks_ai/x": r"text \b[A-Z]+_API_KEY is not set\b",
    "databricks/x": r"text \bAPI key are not set\b",
    "ai21/x": r"text ^Missing credentials\.",
}
"""Of each client that refuses by itself: a name of a model, and the row. Others ask the provider, which answers 401."""


@pytest.mark.parametrize(("model", "row"), TEXT.items(), ids=list(TEXT))
async def test_a_model_without_credentials_is_a_matter_of_the_pools_key(
    model: str,
    row: str,
    write_module: Write,
    rows: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in os.environ:
        if any(word in name for word in ("KEY", "TOKEN", "GOOGLE", "AZURE", "DATABRICKS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    write_module(
        "keyless",
        "from google.adk.agents import LlmAgent\n"
        f"root_agent = LlmAgent(name='keyless', model={model!r}, instruction='Answer.')\n",
    )
    outcome = await Job(module("keyless"), modules=("keyless",)).attempt()
    assert outcome.reason == "ModelAuthFailed", outcome.message
    assert rows[-1] == row
    if model.startswith("gemini"):  # whose own text names no variable
        assert "set GOOGLE_API_KEY in the worker's environment" in outcome.message


async def test_a_model_without_an_address_is_a_matter_of_the_configuration(
    write_module: Write, rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if "AZURE" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_AI_API_KEY", "fake-key-of-the-tests")
    write_module(
        "nowhere",
        "from google.adk.agents import LlmAgent\n"
        "root_agent = LlmAgent(name='nowhere', model='azure_ai/gpt-4o', instruction='Answer.')\n",
    )
    outcome = await Job(module("nowhere"), modules=("nowhere",)).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "ModelRequestInvalid"), outcome.message
    assert "AZURE_AI_API_BASE" in outcome.message
    assert rows == [r"text ^Must provide one of the `base_url` or `azure_endpoint` arguments\b"]
