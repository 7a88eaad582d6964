"""Inline agents: the executor builds an ADK agent from ``spec.agent.inline``, which is data alone.

Each key is in the tables below with its type, or it is refused, so no job can name code, a file or a host
(invariant 12). ADK's own YAML loader would import whatever the data names, and is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.allow_lists import check_model
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentInvalid

if TYPE_CHECKING:
    from google.adk.agents import LlmAgent

KEYS = {
    "type": "type",
    "name": "name",
    "model": "model",
    "instruction": "instruction",
    "description": "description",
    "outputKey": "output_key",
    "includeContents": "include_contents",
    "generateContentConfig": "generate_content_config",
}
"""Key of the resource → argument of LlmAgent. Who enqueues from Python may use either as a key."""
MAX_INSTRUCTION_CHARACTERS = 32_768
_OUTPUT_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def _number(value: Any) -> float:
    """A number, also from a string: the Kubernetes API conventions advise against floats in fields."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    return float(value)


def _integer(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError("not a whole number")
    return int(number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise ValueError("not a list of strings")
    return [_text(v) for v in value]


GENERATION: dict[str, tuple[str, Callable[[Any], object]]] = {
    "temperature": ("temperature", _number),
    "topP": ("top_p", _number),
    "topK": ("top_k", _number),
    "maxOutputTokens": ("max_output_tokens", _integer),
    "stopSequences": ("stop_sequences", _texts),
    "candidateCount": ("candidate_count", _integer),
    "presencePenalty": ("presence_penalty", _number),
    "frequencyPenalty": ("frequency_penalty", _number),
    "seed": ("seed", _integer),
    "responseMimeType": ("response_mime_type", _text),
}
"""Key of the resource → field of GenerateContentConfig, and the function that reads its value."""


def build(config: Mapping[str, Any], settings: AgentSettings) -> LlmAgent:
    """The ADK agent that ``config``, a job's ``spec.agent.inline``, describes.

    :raises AgentInvalid: with field, value and remedy in the message.
    :raises ModelNotAllowed: the pool does not allow the model.
    """
    from google.adk.agents import LlmAgent
    from pydantic import ValidationError

    from agentjobs.agents.definition import echo  # registers the model

    echo.register()
    given = _known("agent.inline", config, KEYS)
    kind = given.pop("type", "llm")
    if kind != "llm":
        raise AgentInvalid(
            f"agent.inline.type: {str(kind)[:80]!r} is not supported. Write llm, or leave it out."
        )
    arguments: dict[str, Any] = {
        "name": _name(given.pop("name", "agent")),
        "model": check_model(given.pop("model", None), settings),
        "instruction": _instruction(given.pop("instruction", "")),
    }
    if "description" in given:
        arguments["description"] = _string("agent.inline.description", given.pop("description"))
    if given.get("output_key") is not None:
        arguments["output_key"] = _output_key(given.pop("output_key"))
    if given.get("include_contents") is not None:
        contents = given.pop("include_contents")
        if contents not in ("default", "none"):
            raise AgentInvalid(
                f"agent.inline.includeContents: {str(contents)[:80]!r} is unknown. Write default or none."
            )
        arguments["include_contents"] = contents
    if given.get("generate_content_config") is not None:
        arguments["generate_content_config"] = _generation(given.pop("generate_content_config"))
    try:
        return LlmAgent(**arguments)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise AgentInvalid(f"agent.inline: ADK does not accept it: {problems[:1000]}") from error


def _known(where: str, given: object, names: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise AgentInvalid(f"{where}: {type(given).__name__} is no object. Write keys and values.")
    read: dict[str, Any] = {}
    arguments = set(names.values())
    for key, value in given.items():
        argument = names.get(key) or (key if key in arguments else None)
        if argument is None:
            raise AgentInvalid(
                f"{where}.{str(key)[:80]}: unknown key. An inline agent is data only; allowed are "
                f"{', '.join(names)}. Tools, callbacks and sub-agents need an agent.module."
            )
        read[argument] = value
    return read


def _name(value: object) -> str:
    name = value.replace("-", "_") if isinstance(value, str) else ""
    if not _IDENTIFIER.fullmatch(name) or name == "user":
        raise AgentInvalid(
            f"agent.inline.name: {str(value)[:80]!r} is no agent's name. Use letters, digits, - and _, not "
            f"beginning with a digit, at most 63; `user` is taken."
        )
    return name


def _instruction(value: object) -> str:
    text = _string("agent.inline.instruction", value)
    if len(text) > MAX_INSTRUCTION_CHARACTERS:
        raise AgentInvalid(
            f"agent.inline.instruction: {len(text)} characters; at most {MAX_INSTRUCTION_CHARACTERS}. Shorten it."
        )
    return text


def _output_key(value: object) -> str:
    key = _string("agent.inline.outputKey", value)
    # ADK reads its own settings from state keys that begin with _adk, such as a folder of recordings
    if not _OUTPUT_KEY.fullmatch(key) or key.removeprefix("user:").removeprefix("app:").startswith("_adk"):
        raise AgentInvalid(
            f"agent.inline.outputKey: {key[:80]!r} is no key of the session's state. Use letters, digits and _ . : -, "
            f"beginning with a letter or _, at most 128; names that begin with _adk are ADK's own."
        )
    return key


def _string(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise AgentInvalid(f"{where}: {type(value).__name__} is no string. Write text.")
    return value


def _generation(value: object) -> Any:
    from google.genai import types

    where = "agent.inline.generateContentConfig"
    fields = {key: field for key, (field, _) in GENERATION.items()}
    readers = dict(GENERATION.values())
    read: dict[str, Any] = {}
    for field, raw in _known(where, value, fields).items():
        if raw is None:
            continue
        try:
            read[field] = readers[field](raw)
        except ValueError as error:
            key = next(k for k, f in fields.items() if f == field)
            raise AgentInvalid(f"{where}.{key}: {str(raw)[:80]!r} is {error}. Correct it.") from error
    return types.GenerateContentConfig(**read)
