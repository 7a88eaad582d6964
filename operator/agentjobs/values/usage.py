"""Usage: what a run, an attempt or a job spent at its models. Counts, never text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentjobs.values.json import JsonObject


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and calls. The sum of tokens is the provider's own: it may hold more than prompt and output."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    llm_calls: int = 0
    tool_calls: int = 0

    def plus(self, other: Usage) -> Usage:
        """The sum of both, count by count."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.total_tokens + other.total_tokens,
            self.llm_calls + other.llm_calls,
            self.tool_calls + other.tool_calls,
        )

    def as_json(self) -> JsonObject:
        """The form of ``status.usage``, of the database and of the messages between processes."""
        return {
            "promptTokens": self.prompt_tokens,
            "outputTokens": self.output_tokens,
            "totalTokens": self.total_tokens,
            "llmCalls": self.llm_calls,
            "toolCalls": self.tool_calls,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Usage:
        """The inverse of ``as_json``; a count that is absent is 0."""
        v = value or {}
        return cls(
            v.get("promptTokens", 0),
            v.get("outputTokens", 0),
            v.get("totalTokens", 0),
            v.get("llmCalls", 0),
            v.get("toolCalls", 0),
        )


NO_USAGE = Usage()
