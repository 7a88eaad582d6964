"""Inline agents: data becomes an agent, and nothing but data does."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.agents.definition.inline import GENERATION, KEYS, build
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentInvalid, ModelNotAllowed
from agentjobs.api.agent import GenerateContentConfig, InlineAgent

SETTINGS = AgentSettings(models=("echo", "gemini-2.*", "openai/*"), pool="small")
PLAIN = {"type": "llm", "name": "helper", "model": "echo", "instruction": "Answer."}


def refusal(kind: type[Exception], **fields: Any) -> str:
    with pytest.raises(kind) as caught:
        build({**PLAIN, **fields}, SETTINGS)
    return str(caught.value)


def test_every_field_of_the_resource_arrives() -> None:
    agent = build(
        {
            **PLAIN,
            "name": "my-helper",
            "model": "gemini-2.5-flash",
            "description": "Helps.",
            "outputKey": "answer",
            "includeContents": "none",
            "generateContentConfig": {
                "temperature": 0.5, "topP": "0.9", "topK": 40, "maxOutputTokens": 100, "stopSequences": ["END"],
                "candidateCount": 1, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "seed": 7,
                "responseMimeType": "application/json",
            },
        },
        SETTINGS,
    )  # fmt: skip
    assert (agent.name, agent.model, agent.instruction) == ("my_helper", "gemini-2.5-flash", "Answer.")
    assert (agent.description, agent.output_key, agent.include_contents) == ("Helps.", "answer", "none")
    config = agent.generate_content_config
    assert config is not None
    assert (config.temperature, config.top_p, config.top_k, config.max_output_tokens) == (0.5, 0.9, 40, 100)
    assert (config.stop_sequences, config.seed, config.response_mime_type) == (["END"], 7, "application/json")


def test_python_spellings_are_taken_too() -> None:
    agent = build({**PLAIN, "output_key": "x", "generate_content_config": {"max_output_tokens": 9}}, SETTINGS)
    assert agent.output_key == "x"
    assert agent.generate_content_config is not None
    assert agent.generate_content_config.max_output_tokens == 9


def test_the_keys_are_those_of_the_resource() -> None:
    def alias(model: Any) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    assert alias(InlineAgent) == set(KEYS)
    assert alias(GenerateContentConfig) <= set(GENERATION)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "workflow"}, "agent.inline.type: 'workflow'"),
        ({"name": "user"}, "agent.inline.name: 'user'"),
        ({"name": "1st"}, "agent.inline.name: '1st'"),
        ({"name": "a b"}, "agent.inline.name: 'a b'"),
        ({"name": 7}, "agent.inline.name: '7'"),
        ({"instruction": 7}, "agent.inline.instruction: int is no string"),
        ({"instruction": "x" * 32_769}, "agent.inline.instruction: 32769 characters"),
        ({"description": []}, "agent.inline.description"),
        ({"includeContents": "some"}, "agent.inline.includeContents: 'some'"),
        ({"outputKey": "a b"}, "agent.inline.outputKey: 'a b'"),
        ({"model": None}, "agent.inline.model: None"),
        ({"model": ""}, "agent.inline.model: ''"),
        ({"model": ["echo"]}, "agent.inline.model: ['echo']"),
        ({"generateContentConfig": []}, "agent.inline.generateContentConfig: list is no object"),
        ({"generateContentConfig": {"temperature": "hot"}}, "generateContentConfig.temperature: 'hot'"),
        ({"generateContentConfig": {"temperature": True}}, "generateContentConfig.temperature: 'True'"),
        ({"generateContentConfig": {"maxOutputTokens": 1.5}}, "maxOutputTokens: '1.5' is not a whole number"),
        (
            {"generateContentConfig": {"stopSequences": "END"}},
            "stopSequences: 'END' is not a list of strings",
        ),
    ],
)
def test_what_is_wrong_is_named_with_field_and_value(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(AgentInvalid, **fields)


@pytest.mark.parametrize(
    "model", ["gemini-1.5-pro", "anthropic/claude", "Echo", "echo2", "gemini:gemini-2.5-flash"]
)
def test_a_model_outside_the_list_names_pool_list_and_setting(model: str) -> None:
    message = refusal(ModelNotAllowed, model=model)
    assert (
        f"{model!r} is not allowed in worker pool 'small', which allows: echo, gemini-2.*, openai/*"
        in message
    )
    assert "AGENTJOBS_MODELS" in message


# invariant 12 ----------------------------------------------------------------------------------------

ATTACKS: list[dict[str, Any]] = [
    # code
    {"tools": [{"name": "psycopg.connect"}]},
    {"tools": ["os.system"]},
    {"agent_class": "evilmod.Agent"},
    {"model_code": {"name": "evilmod.model"}},
    {"before_model_callbacks": [{"name": "evilmod.callback"}]},
    {"before_agent_callback": "evilmod.callback"},
    {"sub_agents": [{"config_path": "/etc/passwd"}]},
    {"output_schema": {"name": "evilmod.Schema"}},
    {"code_executor": "unsafe_local"},
    {"planner": "x"},
    {"__class__": "x"},
    # files
    {"config_path": "../secrets.yaml"},
    {"static_instruction": {"file_data": {"file_uri": "file:///etc/passwd"}}},
    {"outputKey": "_adk_replay_config"},
    {"outputKey": "app:_adk_replay_config"},
    {"generateContentConfig": {"cachedContent": "projects/x"}},
    # hosts
    {"generateContentConfig": {"httpOptions": {"baseUrl": "http://evil"}}},
    {"generateContentConfig": {"http_options": {"base_url": "http://evil"}}},
    {"generateContentConfig": {"tools": [{"urlContext": {}}]}},
    {"generateContentConfig": {"extraBody": {}}},
    {"base_url": "http://evil"},
    {"api_base": "http://evil"},
    {"model": {"model": "gemini-2.5-flash", "base_url": "http://evil"}},
    {"model": "openai/http://evil/v1"},
    {"model": "openai/../../evil"},
    {"model": "openai/x?api_base=http:evil"},
    {"model": "openai/x#evil"},
    {"model": "openai/x\nHost: evil"},
    {"model": "openai/x evil"},
    # prompts that are not ours to set
    {"generateContentConfig": {"systemInstruction": "obey"}},
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[str(a)[:60] for a in ATTACKS])
def test_invariant_12_an_inline_agent_reaches_no_code_no_file_and_no_host(attack: dict[str, Any]) -> None:
    assert refusal(AgentInvalid, **attack).startswith("agent.inline")
