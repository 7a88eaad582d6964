"""``spec.agent``: a module in the worker's image, or an LLM agent as data."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentjobs.api.meta import ApiModel, refuse, rule, validations

IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
MODULE_PATTERN = rf"^{IDENTIFIER}(\.{IDENTIFIER})*(:{IDENTIFIER})?$"

StopSequence = Annotated[str, Field(min_length=1, max_length=256)]
# These four are floats, as in the Gemini API and in each example that users paste from. The usual reason
# against floats in an API does not hold: they go to the provider as they are, and nobody computes with them.
# tests/unit/api/test_api_lint.py knows the four by name.
Temperature = Annotated[float, Field(ge=0, le=2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


USER_IS_TAKEN = "user is the author of messages: choose another name"
MODULE_OR_INLINE = "set exactly one of agent.module and agent.inline"


def _not_user(name: str) -> str:
    if name == "user":
        raise refuse(USER_IS_TAKEN)
    return name


AgentName = Annotated[
    str, Field(min_length=1, max_length=63, pattern="^[A-Za-z_][A-Za-z0-9_-]*$"), AfterValidator(_not_user)
]


class GenerateContentConfig(ApiModel):
    """Options of each model call, with the names and meanings of the Gemini API's generation config."""

    temperature: Temperature | None = Field(
        default=None,
        description="temperature is the randomness of the answer, a number from 0 to 2. Absent means: the model's own.",
    )
    top_p: Probability | None = Field(
        default=None,
        description="topP is the cumulative probability of the tokens to sample from, a number from 0 to 1. Absent "
        "means: the model's own.",
    )
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="topK is how many of the likeliest tokens to sample from, 1 to 1000. Absent means: the model's "
        "own.",
    )
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None,
        description="maxOutputTokens is the most tokens of one answer of the model; a longer one is cut, and the job "
        "fails with ModelOutputTruncated. Absent means: the model's own limit.",
    )
    stop_sequences: Annotated[list[StopSequence], Field(max_length=16)] | None = Field(
        default=None,
        description="stopSequences are texts at which the model stops, at most 16 of at most 256 characters. Absent "
        "means: none.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    presence_penalty: Penalty | None = Field(
        default=None,
        description="presencePenalty is a number from -2 to 2; a positive one discourages tokens that are in the text "
        "already. Absent means: the model's own.",
    )
    frequency_penalty: Penalty | None = Field(
        default=None,
        description="frequencyPenalty is a number from -2 to 2; a positive one discourages tokens by how often they "
        "are in the text already. Absent means: the model's own.",
    )
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = Field(
        default=None,
        description="seed makes the model's sampling repeatable, as far as the provider supports that. Absent means: a random "
        "one.",
    )
    response_mime_type: Literal["text/plain", "application/json"] | None = Field(
        default=None,
        description="responseMimeType is the form of the answer: text/plain or application/json. Absent means: "
        "text/plain.",
    )


class InlineAgent(ApiModel):
    """An LLM agent as data: it can import no code, open no file and choose no host."""

    type: Literal["llm"] = Field(
        default="llm",
        description="type of the agent. Default: llm, an ADK LlmAgent; there is no other yet.",
    )
    name: AgentName = Field(
        description="name of the agent: letters, digits, _ and -, at most 63, not beginning with a digit. It is the "
        "author of the agent's events, with _ for each -. Not user, which is the author of the message.",
        json_schema_extra=validations(rule("self != 'user'", USER_IS_TAKEN)),
    )
    model: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")] = Field(
        description="model that answers, as ADK resolves it: gemini-2.5-flash, a LiteLLM string such as "
        "openai/gpt-4o, or echo. The worker pool must allow it.",
    )
    instruction: Annotated[str, Field(min_length=1, max_length=32_768)] = Field(
        description="instruction that the model follows (its system prompt), 1 to 32768 characters.",
    )
    description: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None,
        description="description of what the agent is for, at most 4096 characters. Absent means: none.",
    )
    output_key: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.:-]*$")] | None
    ) = Field(
        default=None,
        description="outputKey is a key of the session's state, under which the answer is kept as well. Absent means: "
        "not kept there.",
    )
    include_contents: Literal["default", "none"] | None = Field(
        default=None,
        description="includeContents says whether the model sees the session's earlier conversation: default (it "
        "does) or none. Absent means: default.",
    )
    generate_content_config: GenerateContentConfig | None = Field(
        default=None,
        description="generateContentConfig has the options of each model call. Absent means: the model's own.",
    )


class Agent(ApiModel):
    """The agent to run: exactly one of module and inline."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.module) != has(self.inline)",
                MODULE_OR_INLINE,
                got="(has(self.module) ? 'both' : 'neither')",
            )
        )
    )

    module: Annotated[str, Field(min_length=1, max_length=253, pattern=MODULE_PATTERN)] | None = Field(
        default=None,
        description="module in the worker's image that has the agent: pkg.mod or pkg.mod:attr. Without :attr, the worker "
        "looks for app, root_agent, agent() and the file root_agent.yaml, in that order. The worker pool must allow it. "
        "Absent means: inline is set.",
    )
    inline: InlineAgent | None = Field(
        default=None,
        description="inline describes an LLM agent as data. Absent means: module is set.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.module is None) == (self.inline is None):
            raise refuse(f"{MODULE_OR_INLINE}: got {'neither' if self.module is None else 'both'}")
        return self
