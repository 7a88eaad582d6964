"""Entries of events of any JSON: known fields, unknown ones, hostile ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.genai import types

from agentjobs.agents.run import continuation, history
from agentjobs.agents.sessions.rows import event_json
from agentjobs.transcript import cutting, event_entries, parts
from agentjobs.transcript.entry import Cursor, Entry, Kind
from agentjobs.transcript.event_entries import StoredEvent, entries_of
from session_stores import KINDS, said

AT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def entries(data: Any, more: str | None = None) -> list[Entry]:
    return entries_of(
        StoredEvent("e1", "job-1", AT, data if isinstance(data, str) else json.dumps(data), more)
    )


def model_says(*said: Any, **fields: Any) -> list[Entry]:
    return entries({"author": "agent", "content": {"role": "model", "parts": list(said)}, **fields})


def test_every_field_of_the_installed_adk_is_known() -> None:
    assert set(Event.model_fields) <= event_entries._SILENT
    assert set(EventActions.model_fields) <= event_entries._ACTIONS
    assert set(types.Part.model_fields) <= parts.KNOWN
    assert (event_entries.MARKER, event_entries.FINISHED, event_entries.REPEATED) == (
        history.MARKER,
        continuation.FINISHED,
        history.REPEATED,
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("text", [Kind.TEXT]),
        ("text that looks like an escape", [Kind.TEXT]),
        ("nothing", [Kind.EMPTY]),
        ("function call", [Kind.CALL]),
        ("function response", [Kind.RESULT]),
        ("binary part", [Kind.FILE]),
        ("file", [Kind.FILE]),
        ("thought", [Kind.THOUGHT]),
        ("code", [Kind.CODE]),
        ("changed state", [Kind.TEXT, Kind.STATE, Kind.FILE]),
        ("transfer", [Kind.TEXT, Kind.TRANSFER, Kind.CONTROL]),
        ("asked for confirmation", [Kind.TEXT]),
        ("compaction", [Kind.TEXT, Kind.COMPACTION]),
        ("state of an agent", [Kind.TEXT, Kind.CONTROL, Kind.CONTROL, Kind.CONTROL]),
        ("usage", [Kind.TEXT]),
        ("grounding", [Kind.TEXT]),
        ("error", [Kind.TEXT, Kind.CONTROL, Kind.ERROR]),
        ("ours", [Kind.TEXT, Kind.CONTROL]),
        ("output of a workflow's node", [Kind.TEXT, Kind.OUTPUT]),
    ],
)
def test_events_of_every_kind_are_told(kind: str, told: list[Kind]) -> None:
    event = said(**{"author": "agent", **KINDS[kind]()})
    assert [entry.kind for entry in entries(event_json(event))] == told


def test_the_table_of_kinds_is_whole() -> None:
    assert len(KINDS) == 19


def test_a_file_is_told_by_its_type_and_size_alone() -> None:
    (entry,) = entries(event_json(said(author="agent", **KINDS["binary part"]())))
    assert entry.data == {"type": "image/png", "bytes": 256}
    (entry,) = entries(event_json(said(author="agent", **KINDS["file"]())))
    assert entry.data == {"type": "text/plain", "uri": "gs://b/o"}


def test_what_adk_asks_about_credentials_shows_no_secret() -> None:
    asked = {"id": "c", "name": "adk_request_credential", "args": {"authConfig": {"clientSecret": "s3cret"}}}
    granted = {"id": "c", "name": "adk_request_credential", "response": {"accessToken": "s3cret"}}
    told = model_says({"function_call": asked}, {"function_response": granted})
    assert [(entry.kind, entry.note) for entry in told] == [
        (Kind.QUESTION, "credentials"),
        (Kind.ANSWER, "credentials"),
    ]
    assert "s3cret" not in repr(told)


def test_fields_may_have_the_names_of_adks_json() -> None:
    call = {"functionCall": {"id": "c", "name": "book", "args": {"someKey": 1}}}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 2}
    (entry,) = model_says(call, usageMetadata=usage, modelVersion="m-1")
    assert (entry.kind, entry.tool, entry.data, entry.model) == (Kind.CALL, "book", {"someKey": 1}, "m-1")
    assert entry.tokens is not None
    assert (entry.tokens.prompt_tokens, entry.tokens.output_tokens, entry.tokens.total_tokens) == (7, 5, 12)


def test_what_is_unknown_is_told_by_its_names() -> None:
    told = model_says(
        {"text": "a", "hologram": {"x": 1}}, mood="good", actions={"teleport": True}, custom_metadata={"k": 1}
    )
    assert [entry.kind for entry in told] == [Kind.TEXT, Kind.OTHER]
    assert told[-1].text == "mood, actions.teleport, part.hologram, custom_metadata.k"


HOSTILE: dict[str, Any] = {
    "no object": "[1, 2]",
    "null": "null",
    "no JSON": "{",
    "a number of many digits": '{"output": ' + "9" * 5000 + "}",
    "a number beyond every double": '{"output": 1' + "0" * 400 + ".5}",
    "nesting without an end": '{"output": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "content that is a text": {"content": "hello"},
    "parts that are an object": {"content": {"parts": {"text": "x"}}},
    "parts that are no objects": {"content": {"parts": [None, 1, "x", [1], True]}},
    "texts that are numbers": {
        "author": 1,
        "branch": [1],
        "content": {"parts": [{"text": 7}, {"text": {"a": 1}}]},
    },
    "a call of nothing": {
        "content": {"parts": [{"function_call": {}}, {"function_call": {"name": None, "args": 1}}]}
    },
    "a question about nothing": {
        "content": {"parts": [{"function_call": {"name": "adk_request_confirmation", "args": []}}]}
    },
    "an answer of nothing": {
        "content": {"parts": [{"function_response": {"name": "adk_request_confirmation"}}]}
    },
    "counts that are none": {"usage_metadata": {"prompt_token_count": "many", "total_token_count": -(2**80)}},
    "actions that are a list": {"actions": [1], "long_running_tool_ids": {"a": 1}},
    "actions of wrong types": {
        "actions": {
            "state_delta": "x",
            "artifact_delta": [1],
            "compaction": 3,
            "transfer_to_agent": {"a": 1},
            "requested_tool_confirmations": 7,
            "route": [[[]]],
        }
    },
    "a file without data": {
        "content": {"parts": [{"inline_data": {"data": 5}}, {"file_data": {"file_uri": 5}}]}
    },
    "an error of wrong types": {"error_code": 503, "error_message": ["x"], "finish_reason": {}},
    "thousands of parts": {"content": {"parts": [{"text": "x"}] * 5000}},
    "thousands of fields": {f"f{n}": n for n in range(5000)},
    "a stand-in of the agent's own": {"content": {"parts": [{"text": {"agentjobs_cut": 1, "text": "x"}}]}},
    "a stand-in that is none": {"content": {"parts": [{"text": {"agentjobs_cut": "1", "text": 5}}]}},
    "numbers that no machine has": {"output": {"n": [10**30, -(10**30), 2**64 - 1, -(2**63)]}},
    "markup and control characters": {"content": {"parts": [{"text": "<script>\u001b[2J\u202e"}]}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_makes_at_least_one_entry_and_no_error(name: str) -> None:
    told = entries(HOSTILE[name])
    assert told
    shown = json.dumps([entry.as_json() for entry in told], allow_nan=False)
    orjson.dumps([entry.as_json() for entry in told])
    assert len(shown) < 100_000
    assert told == entries(HOSTILE[name]), "the same event makes the same entries"


def test_long_texts_and_data_are_cut_with_a_mark() -> None:
    told = model_says(
        {"text": "é" * 50_000},
        {
            "function_call": {
                "id": "c",
                "name": "n" * 1000,
                "args": {"a": "x" * 50_000, "b": list(range(50_000))},
            }
        },
        {"function_response": {"id": "c", "name": "t", "response": {str(n): "y" for n in range(50_000)}}},
        error_message="z" * 50_000,
    )
    assert [entry.cut for entry in told] == [True] * 4
    assert len(told[0].text.encode()) <= cutting.TEXT_BYTES + 3
    assert told[0].text.endswith("…")
    assert len(told[1].tool) == cutting.NAME_CHARACTERS + 1
    for entry in told[1:3]:
        assert len(json.dumps(entry.data, ensure_ascii=False).encode()) < 2 * cutting.DATA_BYTES
    assert isinstance(told[1].data, dict)
    assert set(told[1].data) == {"a", "b"}, "the shape stays"


def test_a_large_event_is_told_from_its_short_form() -> None:
    stand_in = {"agentjobs_cut": 1_000_002, "text": ""}
    told = entries(
        {"author": "agent"},
        json.dumps([{"text": "Here:"}, {"inline_data": {"mime_type": "image/png", "data": stand_in}}]),
    )
    assert [(entry.kind, entry.data) for entry in told] == [
        (Kind.TEXT, None),
        (Kind.FILE, {"type": "image/png", "bytes": 750_000}),
    ]


def test_an_entry_as_json_leaves_out_what_is_empty() -> None:
    (entry,) = model_says({"text": "Hi"})
    assert entry.as_json() == {
        "cursor": str(Cursor(AT, "e1", 0)),
        "time": "2026-05-01T12:00:00.123456Z",
        "kind": "text",
        "author": "agent",
        "invocation": "job-1",
        "text": "Hi",
    }
