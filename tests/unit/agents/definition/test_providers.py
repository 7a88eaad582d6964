"""Clients of models that retry by themselves: switched off, and bounded in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from google.adk.agents import LlmAgent, SequentialAgent
from google.adk.models import BaseLlm
from google.adk.models.anthropic_llm import AnthropicLlm
from google.adk.tools import AgentTool
from google.adk.workflow import START, BaseNode, Workflow
from provider import FakeProvider
from provider_shapes import Answer, Failure

from agentjobs.agents.definition.nodes import nodes_under
from agentjobs.agents.definition.providers import without_retries


def client_of(model: BaseLlm | str) -> AsyncAnthropic:
    agent = LlmAgent(name="a", model=model)
    without_retries(SequentialAgent(name="r", sub_agents=[agent]), 30)
    assert isinstance(agent.model, AnthropicLlm)
    client = agent.model._anthropic_client
    assert isinstance(client, AsyncAnthropic)
    return client


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "fake-key-of-the-tests")


def test_a_claude_model_does_not_retry_and_has_the_pools_time_out() -> None:
    client = client_of(AnthropicLlm(model="claude-x"))
    assert (client.max_retries, client.timeout) == (0, 30)


def workflow(agent: LlmAgent) -> BaseNode:
    return Workflow(name="w", edges=[(START, agent)])


PLACES: dict[str, Callable[[LlmAgent], BaseNode]] = {
    "a node of a workflow": workflow,
    "a workflow in a workflow": lambda agent: Workflow(name="outer", edges=[(START, workflow(agent))]),
    "a sub-agent": lambda agent: LlmAgent(name="r", model="gemini-2.5-flash", sub_agents=[agent]),
    "an AgentTool": lambda agent: LlmAgent(name="r", model="gemini-2.5-flash", tools=[AgentTool(agent)]),
    "an AgentTool in a workflow": lambda agent: workflow(
        LlmAgent(name="r", model="gemini-2.5-flash", tools=[AgentTool(agent)])
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_model_does_not_retry_wherever_its_agent_is(place: str) -> None:
    root = PLACES[place](LlmAgent(name="a", model=AnthropicLlm(model="claude-x")))
    without_retries(root, 30)
    client = agent_in(root).model._anthropic_client
    assert (client.max_retries, client.timeout) == (0, 30)


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_is_only_named_does_not_retry_wherever_its_agent_is(place: str) -> None:
    root = PLACES[place](LlmAgent(name="a", model="openai/gpt-4o"))
    without_retries(root, 30)
    assert agent_in(root).model._additional_args["max_retries"] == 0


def agent_in(root: BaseNode) -> Any:
    (found,) = (node for node in nodes_under(root, wrapped=True) if node.name == "a")
    return found


def test_a_shorter_time_out_of_the_author_counts() -> None:
    own = AsyncAnthropic(timeout=5, max_retries=7)
    client = client_of(AnthropicLlm(model="claude-x", client=own))
    assert (client.max_retries, client.timeout) == (0, 5)


async def test_a_429_of_claude_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeProvider() as provider:
        provider.answer = Answer(failure=Failure(429), headers={"retry-after": "1"})
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
        client = client_of(AnthropicLlm(model="claude-x"))
        with pytest.raises(Exception, match="429"):
            await client.messages.create(
                model="claude-x", max_tokens=5, messages=[{"role": "user", "content": "x"}]
            )
        assert provider.requests == 1


def test_a_claude_without_a_key_fails_in_its_call_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    model = AnthropicLlm(model="claude-x")
    without_retries(LlmAgent(name="a", model=model), 30)
    with pytest.raises(ValueError, match="No Anthropic credential was found"):
        _ = model._anthropic_client
