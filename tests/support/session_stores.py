"""Both stores of sessions on one database: ADK's own service and ours, and events of every kind."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from google.adk.events.event import Event, NodeInfo
from google.adk.events.event_actions import EventActions, EventCompaction
from google.adk.sessions import BaseSessionService, DatabaseSessionService
from google.adk.tools.tool_confirmation import ToolConfirmation
from google.genai import types

from agentjobs.agents.sessions.service import JobSessions

OURS, ADKS = "ours", "adk's"
KEY: dict[str, Any] = {"app_name": "team/app", "user_id": "ann", "session_id": "s"}


@asynccontextmanager
async def opened(kind: str, dsn: str) -> AsyncIterator[BaseSessionService]:
    """A service of its own process, as far as the database can tell. ADK's is as its documentation has it."""
    if kind == OURS:
        ours = JobSessions(dsn)
        yield ours
        await ours.release()
        return
    url = "postgresql+asyncpg" + dsn[dsn.index("://") :]
    theirs = DatabaseSessionService(url, connect_args={"server_settings": {"search_path": "adk"}})
    yield theirs
    await theirs.close()


def said(words: str = "hello", **fields: Any) -> Event:
    """An event as a Runner makes it."""
    return Event(
        **{
            "id": str(uuid.uuid4()),
            "author": "user",
            "invocation_id": "job-1",
            "content": types.UserContent(parts=[types.Part(text=words)]),
            **fields,
        }
    )


def changes(**state: Any) -> Event:
    """An event that changes state; ``app__x`` is the key ``app:x``."""
    return said(actions=EventActions(state_delta={k.replace("__", ":"): v for k, v in state.items()}))


def _part(**fields: Any) -> types.Content:
    return types.Content(role="model", parts=[types.Part(**fields)])


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "text": lambda: {"content": _part(text='Ärger, 日本, 🙂, "quotes", \\, \t')},
    "text that looks like an escape": lambda: {"content": _part(text="a\\u0000b")},
    "nothing": lambda: {"content": None},
    "function call": lambda: {
        "content": _part(
            function_call=types.FunctionCall(id="c1", name="book", args={"city": "Rome", "n": [1, 2.5, None]})
        )
    },
    "function response": lambda: {
        "content": _part(
            function_response=types.FunctionResponse(id="c1", name="book", response={"ok": True, "x": {}})
        )
    },
    "binary part": lambda: {
        "content": _part(inline_data=types.Blob(data=bytes(range(256)), mime_type="image/png"))
    },
    "file": lambda: {"content": _part(file_data=types.FileData(file_uri="gs://b/o", mime_type="text/plain"))},
    "thought": lambda: {"content": _part(text="hm", thought=True, thought_signature=b"\x00\xff\xfe")},
    "code": lambda: {
        "content": _part(executable_code=types.ExecutableCode(code="1/0", language=types.Language.PYTHON))
    },
    "changed state": lambda: {
        "actions": EventActions(
            state_delta={"k": {"deep": [1, {"a": None}]}, "app:k": 1, "user:k": 1.5, "big": 2**70},
            artifact_delta={"report.pdf": 3},
        )
    },
    "transfer": lambda: {"actions": EventActions(transfer_to_agent="other", escalate=True)},
    "asked for confirmation": lambda: {
        "actions": EventActions(
            requested_tool_confirmations={
                "c1": ToolConfirmation(hint="Sure?", confirmed=False, payload={"cents": 5})
            }
        ),
        "long_running_tool_ids": {"c2", "c1"},
    },
    "compaction": lambda: {
        "actions": EventActions(
            compaction=EventCompaction(
                start_timestamp=1.25, end_timestamp=2.5, compacted_content=_part(text="short")
            )
        )
    },
    "state of an agent": lambda: {
        "actions": EventActions(
            agent_state={"step": 2}, end_of_agent=True, route=["a", 1], skip_summarization=True
        )
    },
    "usage": lambda: {
        "usage_metadata": types.GenerateContentResponseUsageMetadata(
            prompt_token_count=7, candidates_token_count=3, total_token_count=10
        ),
        "model_version": "gemini-2.5-flash",
        "finish_reason": types.FinishReason.STOP,
        "avg_logprobs": -0.125,
    },
    "grounding": lambda: {
        "grounding_metadata": types.GroundingMetadata(
            web_search_queries=["q"],
            grounding_chunks=[types.GroundingChunk(web=types.GroundingChunkWeb(uri="https://x", title="X"))],
        ),
        "citation_metadata": types.CitationMetadata(citations=[types.Citation(uri="https://x")]),
    },
    "error": lambda: {"error_code": "SAFETY", "error_message": "blocked", "interrupted": True},
    "ours": lambda: {"custom_metadata": {"agentjobs_finished": True}, "turn_complete": True},
    "output of a workflow's node": lambda: {
        "output": {"answer": [1, "two"]},
        "node_info": NodeInfo(path="flow/step@1"),
        "branch": "a.b",
        "isolation_scope": "c1",
    },
}
"""Fields of an event, by what it is about."""


def every_kind() -> list[Event]:
    return [
        said(**{"author": "agent", "invocation_id": f"job-{n}", **made()})
        for n, made in enumerate(KINDS.values())
    ]


def as_told(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What two events are compared by: everything."""
    return [event.model_dump() for event in events]
