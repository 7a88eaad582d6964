"""Usage: tokens and calls that a run or a job has spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentjobs.values.bounds import MOST, count
from agentjobs.values.json import JsonObject


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of tokens and calls, each from 0 to ``bounds.MOST``, whatever the constructor is given.

    ``total_tokens`` is the provider's own sum, which may exceed prompt and output. A count that is no number is 0.
    """

    prompt_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0

    def __post_init__(self) -> None:
        for field in self.__slots__:
            value = getattr(self, field)
            if type(value) is not int or not 0 <= value <= MOST:
                object.__setattr__(self, field, count(value))

    def plus(self, other: Usage) -> Usage:
        """The sum of both usages, count by count, at most ``bounds.MOST``."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
            self.llm_calls + other.llm_calls,
            self.tool_calls + other.tool_calls,
        )

    def as_json(self) -> JsonObject:
        """The usage as ``status.usage``, the database and messages between processes have it."""
        return {
            "promptTokens": self.prompt_tokens,
            "outputTokens": self.output_tokens,
            "totalTokens": self.total_tokens,
            "llmCalls": self.llm_calls,
            "toolCalls": self.tool_calls,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Usage:
        """The usage in an object of ``as_json``. An absent count is 0. Raises TypeError where it is no object."""
        v = value or {}
        if not isinstance(v, Mapping):
            raise TypeError(f"usage: an object is wanted, not {type(v).__name__}")
        return cls(
            v.get("promptTokens", 0),
            v.get("outputTokens", 0),
            v.get("totalTokens", 0),
            v.get("llmCalls", 0),
            v.get("toolCalls", 0),
        )


NO_USAGE = Usage()
