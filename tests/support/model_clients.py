"""The real clients that the table of outcomes is about, each with each transport that it has."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.run_config import StreamingMode
from google.adk.models import BaseLlm
from google.genai import types

_MODELS = {
    "gemini": "gemini-2.5-flash",
    "openai": "openai/gpt-4o-mini",
    "anthropic": "anthropic/claude-3-5-haiku-latest",
    "claude": "claude-3-5-haiku-latest",
}


@dataclass(frozen=True)
class Client:
    """``gemini`` is google-genai; ``openai`` and ``anthropic`` are LiteLLM with that provider's protocol; ``claude`` is
    Anthropic's own client, in ADK's model."""

    shape: str
    transport: str
    streaming: bool

    @property
    def name(self) -> str:
        return f"{self.shape}/{self.transport}/{'stream' if self.streaming else 'plain'}"

    @property
    def model(self) -> str:
        return _MODELS[self.shape]

    def agent(self, timeout_ms: int | None = None) -> LlmAgent:
        """:param timeout_ms: of a model call; None: the pool's."""
        options = types.HttpOptions(timeout=timeout_ms)
        return LlmAgent(
            generate_content_config=types.GenerateContentConfig(http_options=options),
            name="agent",
            model=self._claude(timeout_ms) if self.shape == "claude" else self.model,
            instruction="Answer.",
            before_agent_callback=_stream if self.streaming else None,
        )

    def _claude(self, timeout_ms: int | None) -> BaseLlm:
        """Its time-out is that of its client: ADK hands none on."""
        from anthropic import AsyncAnthropic
        from google.adk.models.anthropic_llm import AnthropicLlm

        client = AsyncAnthropic(timeout=timeout_ms / 1000) if timeout_ms else None
        return AnthropicLlm(model=self.model, client=client)

    def point_to(self, url: str, patch: pytest.MonkeyPatch) -> None:
        """Sets the environment that this client takes address, key and transport from."""
        import google.genai._api_client as genai

        # google-genai takes aiohttp where it is installed: only its mark of that can be taken back here.
        patch.setattr(genai, "has_aiohttp", self.transport == "aiohttp")
        patch.setenv("GOOGLE_GENAI_HTTP_CLIENT", "httpx2" if self.transport == "httpx2" else "httpx")
        patch.setenv("DISABLE_AIOHTTP_TRANSPORT", str(self.transport != "aiohttp"))
        patch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        patch.setenv("GOOGLE_API_KEY", "fake-key-of-the-tests")
        for name in ("OPENAI", "ANTHROPIC"):
            patch.setenv(f"{name}_API_BASE", url)
            patch.setenv(f"{name}_BASE_URL", url)
            patch.setenv(f"{name}_API_KEY", "fake-key-of-the-tests")
        for name in ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE", "GEMINI_API_KEY"):
            patch.delenv(name, raising=False)


def _stream(callback_context: CallbackContext) -> None:
    """What an agent can do: our attempts do not stream by themselves."""
    run_config = callback_context._invocation_context.run_config
    assert run_config is not None
    run_config.streaming_mode = StreamingMode.SSE


GENAI = tuple(Client("gemini", t, s) for t in ("aiohttp", "httpx", "httpx2") for s in (False, True))
LITELLM = tuple(
    Client(p, t, s) for p in ("openai", "anthropic") for t in ("aiohttp", "httpx") for s in (False, True)
)
CLAUDE = tuple(Client("claude", "httpx", s) for s in (False, True))
CLIENTS = (*GENAI, *LITELLM, *CLAUDE)
