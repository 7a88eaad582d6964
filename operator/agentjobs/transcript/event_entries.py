"""The entries of one stored event. Pure: from the JSON of ADK's column ``event_data``, without ADK.

The JSON was written by ADK of some version from what models and tools gave it, so nothing in it is relied on: what has
an unknown name is told by its name, and what has an unknown shape is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agentjobs.transcript import cutting
from agentjobs.transcript.entry import Cursor, Entry, Json, Kind
from agentjobs.transcript.parts import Around, Found, fields, found_in, strings, unknown_in
from agentjobs.values.bounds import count
from agentjobs.values.usage import Usage

MOST_PARTS = 32
"""Parts of an event that are shown; ``sql.PAGE`` sends one more."""
MARKER = "agentjobs"
"""Author of the events that are ours and no agent's."""
FINISHED, REPEATED = "agentjobs_finished", "agentjobs_repeated"
"""Metadata of our events: the end of a run of several steps; an answer from the history."""
_WHOLE = ("", "STOP", "FINISH_REASON_UNSPECIFIED")
"""Finish reasons of a whole answer."""
_SILENT = frozenset(
    [
        "id",
        "invocation_id",
        "author",
        "branch",
        "timestamp",
        "content",
        "actions",
        "partial",
        "error_code",
        "error_message",
        "finish_reason",
        "usage_metadata",
        "model_version",
        "long_running_tool_ids",
        "custom_metadata",
        "output",
        "node_info",
        "isolation_scope",
        "grounding_metadata",
        "citation_metadata",
        "turn_complete",
        "turn_complete_reason",
        "interaction_status",
        "interrupted",
        "live_session_resumption_update",
        "live_session_id",
        "go_away",
        "voice_activity",
        "input_transcription",
        "output_transcription",
        "avg_logprobs",
        "logprobs_result",
        "cache_metadata",
        "interaction_id",
        "environment_id",
    ]
)
"""Fields of an event: those that are read below, and those that tell nothing that was said."""
_ACTIONS = frozenset(
    [
        "skip_summarization",
        "state_delta",
        "artifact_delta",
        "transfer_to_agent",
        "transfer_reason",
        "escalate",
        "requested_auth_configs",
        "requested_tool_confirmations",
        "compaction",
        "end_of_agent",
        "agent_state",
        "rewind_before_invocation_id",
        "route",
        "render_ui_widgets",
        "set_model_response",
    ]
)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of ADK's table of events."""

    id: str
    invocation: str
    at: datetime
    """In UTC."""
    data: str
    """The event's JSON; of a large one, with stand-ins for what is too long."""
    parts: str | None = None
    """Of a large event, its content's parts, likewise; ``data`` has none then."""


def entries_of(event: StoredEvent) -> list[Entry]:
    """What an event tells: at least one entry, always the same ones in the same order."""
    read = _read(event.data)
    if event.parts is not None and isinstance(read, dict):
        read["content"] = {"parts": _read(event.parts)}
    given = fields(read)
    found = (
        list(_found(given)) if isinstance(read, dict) else [Found(Kind.OTHER, text="an event without fields")]
    )
    tokens, model = _tokens(given.get("usage_metadata")), cutting.name(given.get("model_version"))
    author, branch = cutting.name(given.get("author")), cutting.name(given.get("branch"))
    return [
        Entry(
            cursor=Cursor(event.at, event.id, number),
            author=author,
            branch=branch,
            invocation=event.invocation,
            model=model,
            tokens=tokens if number == 0 else None,
            kind=one.kind,
            tool=one.tool,
            call=one.call,
            text=one.text,
            note=one.note,
            data=one.data,
            cut=one.cut,
        )
        for number, one in enumerate(found or [Found(Kind.EMPTY)])
    ]


def _read(text: str) -> Json:
    try:
        value: Json = json.loads(text, parse_float=_finite)
    except (ValueError, RecursionError):  # a number of thousands of digits, or nesting without an end
        return None
    return value


def _finite(text: str) -> Json:
    number = float(text)
    return number if math.isfinite(number) else text


def _found(given: dict[str, Json]) -> Iterator[Found]:
    actions, metadata = fields(given.get("actions")), given.get("custom_metadata")
    repeated = isinstance(metadata, dict) and bool(metadata.get(REPEATED))
    around = Around(
        strings(given.get("long_running_tool_ids")),
        strings(actions.get("requested_tool_confirmations")),
        repeated,
    )
    unknown = [name for name in given if name not in _SILENT]
    unknown += [f"actions.{name}" for name in actions if name not in _ACTIONS]
    yield from _content(given.get("content"), around, unknown)
    for name in ("input_transcription", "output_transcription"):
        if said := fields(given.get(name)).get("text"):
            text, was_cut = cutting.text(said)
            yield Found(Kind.TEXT, text=text, cut=was_cut, note="transcription")
    for output in (given.get("output"), actions.get("set_model_response")):
        if output is not None:
            data, was_cut = cutting.data(output)
            yield Found(Kind.OUTPUT, data=data, cut=was_cut)
    yield from _done(actions)
    yield from _control(given, actions, metadata)
    yield from _error(given)
    if isinstance(metadata, dict):
        unknown += [f"custom_metadata.{key}" for key in metadata if key not in (FINISHED, REPEATED)]
    if unknown:
        yield Found(Kind.OTHER, text=cutting.names(unknown))


def _content(content: Json, around: Around, unknown: list[str]) -> Iterator[Found]:
    parts = fields(content).get("parts")
    if not isinstance(parts, list):
        return
    for part in parts[:MOST_PARTS]:
        yield from found_in(part, around)
        unknown += [f"part.{name}" for name in unknown_in(part)]
    if len(parts) > MOST_PARTS:
        yield Found(Kind.OTHER, text=f"{cutting.MARK} more than {MOST_PARTS} parts", cut=True)


def _done(actions: dict[str, Json]) -> Iterator[Found]:
    """What the event changes beside the conversation."""
    if other := cutting.name(actions.get("transfer_to_agent")):
        reason, was_cut = cutting.text(actions.get("transfer_reason"))
        yield Found(Kind.TRANSFER, tool=other, text=reason, cut=was_cut)
    if delta := actions.get("state_delta"):
        data, was_cut = cutting.data(delta)
        yield Found(Kind.STATE, data=data, cut=was_cut)
    versions = actions.get("artifact_delta")
    for name, version in list(versions.items())[: cutting.MOST_NAMES] if isinstance(versions, dict) else []:
        yield Found(Kind.FILE, text=cutting.name(name), note="artifact", data={"version": count(version)})
    if summary := fields(actions.get("compaction")):
        parts = fields(summary.get("compacted_content")).get("parts")
        said = [fields(part).get("text") for part in parts[:MOST_PARTS]] if isinstance(parts, list) else []
        cuts = [cutting.text(one) for one in said]
        text, was_cut = cutting.text("\n".join(one for one, _ in cuts if one))
        data, _ = cutting.data(
            {"from": summary.get("start_timestamp"), "until": summary.get("end_timestamp")}
        )
        yield Found(Kind.COMPACTION, text=text, data=data, cut=was_cut or any(cut for _, cut in cuts))


def _control(given: dict[str, Json], actions: dict[str, Json], metadata: Json) -> Iterator[Found]:
    """The course that an agent, ADK or our own run takes."""
    for name in ("escalate", "end_of_agent"):
        if actions.get(name) is True:
            yield Found(Kind.CONTROL, note=name)
    for name in ("route", "agent_state"):
        if (value := actions.get(name)) is not None:
            data, was_cut = cutting.data(value)
            yield Found(Kind.CONTROL, note=name, data=data, cut=was_cut)
    if before := cutting.name(actions.get("rewind_before_invocation_id")):
        yield Found(Kind.CONTROL, note="rewind", text=before)
    if given.get("interrupted") is True:
        yield Found(Kind.CONTROL, note="interrupted")
    if isinstance(metadata, dict) and metadata.get(FINISHED):
        yield Found(Kind.CONTROL, note="finished")


def _error(given: dict[str, Json]) -> Iterator[Found]:
    """The event's error: a code, a message, or a finish that cut the answer."""
    code = cutting.name(given.get("error_code"))
    text, was_cut = cutting.text(given.get("error_message"))
    if not code and not text:
        finish = cutting.name(given.get("finish_reason"))
        code = finish if finish not in _WHOLE else ""
    if code or text:
        yield Found(Kind.ERROR, text=text, note=code, cut=was_cut)


def _tokens(value: Json) -> Usage | None:
    """The usage of the event's model call, counted as ``status.usage`` counts it; None: there was none."""
    if not isinstance(value, dict):
        return None
    given = fields(value)
    prompt = count(given.get("prompt_token_count")) + count(given.get("tool_use_prompt_token_count"))
    output = count(given.get("candidates_token_count")) + count(given.get("thoughts_token_count"))
    return Usage(
        prompt_tokens=prompt,
        output_tokens=output,
        total_tokens=count(given.get("total_token_count")) or prompt + output,
        llm_calls=1,
    )
