"""The variables by which a model's client is led to another address, as docs/agents.md tells them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent_modules import Write, write_module
from provider import FakeProvider
from runs import Job, module

__all__ = ["write_module"]

PAGE = (Path(__file__).parents[4] / "docs" / "agents.md").read_text()
ROWS = {
    "gemini-2.5-flash": ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", ""),
    "openai/gpt-4o": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
    "anthropic/claude-sonnet-4": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
    "ollama_chat/llama3": ("", "OLLAMA_API_BASE", ""),
}
"""By model: the variable of its key, that of its address, and the path of that."""


@pytest.mark.parametrize("model", ROWS)
async def test_a_model_is_asked_at_the_address_that_its_variable_names(
    model: str, write_module: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if any(word in name for word in ("KEY", "TOKEN", "GOOGLE", "BASE")):
            monkeypatch.delenv(name)
    key, address, path = ROWS[model]
    if key:
        monkeypatch.setenv(key, "fake-key-of-the-tests")
    write_module(
        "addressed",
        "from google.adk.agents import LlmAgent\n"
        f"root_agent = LlmAgent(name='addressed', model={model!r}, instruction='Answer.')\n",
    )
    with FakeProvider() as provider:
        monkeypatch.setenv(address, provider.url + path)
        outcome = await Job(module("addressed"), modules=("addressed",)).attempt()
        assert provider.requests > 0, outcome.message
    for name in filter(None, (key, address)):
        assert f"`{name}`" in PAGE
