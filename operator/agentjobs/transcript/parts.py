"""The parts of an event's content, as Gemini's API and ADK store them, and what each of them tells. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentjobs.transcript import cutting
from agentjobs.transcript.entry import Json, Kind
from agentjobs.values.bounds import count

CONFIRMATION = "adk_request_confirmation"
CREDENTIAL = "adk_request_credential"
INPUT = "adk_request_input"
"""Names of the function calls by which ADK asks a person."""
_HINT_OF_ADK = "Please approve or reject the tool call "
"""Begin of ADK's own hint, which tells a program how to answer."""
_CAPITAL = re.compile("(?<=[a-z0-9])[A-Z]")

KNOWN = frozenset(
    [
        "text",
        "thought",
        "thought_signature",
        "function_call",
        "function_response",
        "executable_code",
        "code_execution_result",
        "inline_data",
        "file_data",
        "video_metadata",
        "media_resolution",
        "tool_call",
        "tool_response",
        "part_metadata",
        "audio_transcription",
        "media_processing",
        "speech_metadata",
    ]
)
"""Fields of a part. Those that nothing below reads tell nothing that was said."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an entry tells, without its event."""

    kind: Kind
    tool: str = ""
    call: str = ""
    text: str = ""
    note: str = ""
    data: Json = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """What an event says of its parts as a whole."""

    long_running: frozenset[str]
    """Ids of calls that were left to a person or to a long-running tool."""
    asked_for: frozenset[str]
    """Ids of calls whose result only says that a person is asked."""
    repeated: bool
    """Whether a run took the answer from the history, without a model call."""


def fields(value: Json) -> dict[str, Json]:
    """The fields of a JSON object by their names in Python; of anything else, none.

    ADK writes ``function_call``, and reads ``functionCall`` as well: other writers may store that.
    """
    if not isinstance(value, dict):
        return {}
    return {_CAPITAL.sub(lambda match: f"_{match[0].lower()}", key): inner for key, inner in value.items()}


def strings(value: Json) -> frozenset[str]:
    """The strings in a list, or the keys of an object."""
    return (
        frozenset(item for item in value if isinstance(item, str))
        if isinstance(value, list | dict)
        else frozenset()
    )


def found_in(part: Json, around: Around) -> Iterator[Found]:
    """What a part tells, in the order in which it is shown."""
    given = fields(part)
    if given.get("text"):
        said, was_cut = cutting.text(given["text"])
        kind = Kind.THOUGHT if given.get("thought") is True else Kind.TEXT
        yield Found(kind, text=said, cut=was_cut, note="repeated" if around.repeated else "")
    if spoken := fields(given.get("audio_transcription")).get("text"):
        said, was_cut = cutting.text(spoken)
        yield Found(Kind.TEXT, text=said, cut=was_cut, note="transcription")
    if call := fields(given.get("function_call")):
        yield _call(call, around)
    if response := fields(given.get("function_response")):
        yield from _response(response, around)
    for server_side, kind, inside in (
        ("tool_call", Kind.CALL, "args"),
        ("tool_response", Kind.RESULT, "response"),
    ):
        if given_tool := fields(given.get(server_side)):
            data, was_cut = cutting.data(given_tool.get(inside))
            tool, id = cutting.name(given_tool.get("tool_type")), cutting.name(given_tool.get("id"))
            yield Found(kind, tool=tool, call=id, data=data, cut=was_cut, note="server-side")
    if code := fields(given.get("executable_code")):
        said, was_cut = cutting.text(code.get("code"))
        id, note = cutting.name(code.get("id")), cutting.name(code.get("language"))
        yield Found(Kind.CODE, call=id, text=said, note=note, cut=was_cut)
    if ran := fields(given.get("code_execution_result")):
        said, was_cut = cutting.text(ran.get("output"))
        id, note = cutting.name(ran.get("id")), cutting.name(ran.get("outcome"))
        yield Found(Kind.CODE_RESULT, call=id, text=said, note=note, cut=was_cut)
    for name in ("inline_data", "file_data"):
        if blob := fields(given.get(name)):
            yield _file(blob)


def unknown_in(part: Json) -> list[str]:
    """Names of what ``found_in`` does not know."""
    return (
        [name for name in fields(part) if name not in KNOWN]
        if isinstance(part, dict)
        else [type(part).__name__]
    )


def _call(call: dict[str, Json], around: Around) -> Found:
    called, id = cutting.name(call.get("name")), cutting.name(call.get("id"))
    if called == CREDENTIAL:  # its arguments may hold a client's secret
        return Found(Kind.QUESTION, tool=called, call=id, note="credentials")
    if called == INPUT:
        data, was_cut = cutting.data(call.get("args"))
        return Found(Kind.QUESTION, tool=called, call=id, data=data, cut=was_cut, note="input")
    if called == CONFIRMATION:
        arguments = fields(call.get("args"))
        original, confirmation = (
            fields(arguments.get(key)) for key in ("original_function_call", "tool_confirmation")
        )
        hint, hint_cut = cutting.text(confirmation.get("hint"))
        data, data_cut = cutting.data(original.get("args"))
        if hint.startswith(_HINT_OF_ADK):
            hint, hint_cut = "", False
        tool = cutting.name(original.get("name"))
        return Found(Kind.QUESTION, tool, id, hint, "confirmation", data, hint_cut or data_cut)
    data, was_cut = cutting.data(call.get("args"))
    return Found(
        Kind.CALL,
        called,
        id,
        note="long-running" if id in around.long_running else "",
        data=data,
        cut=was_cut,
    )


def _response(response: dict[str, Json], around: Around) -> Iterator[Found]:
    answered, id = cutting.name(response.get("name")), cutting.name(response.get("id"))
    told = response.get("response")
    if answered == CREDENTIAL:  # it holds what was granted
        yield Found(Kind.ANSWER, tool=answered, call=id, note="credentials")
        return
    data, was_cut = cutting.data(told)
    if answered == CONFIRMATION:
        given = fields(told)
        reason, reason_cut = cutting.text(given.get("hint"))
        note = "approved" if given.get("confirmed") is True else "rejected"
        payload, payload_cut = cutting.data(given.get("payload"))
        yield Found(Kind.ANSWER, answered, id, reason, note, payload, reason_cut or payload_cut)
        return
    kind = Kind.ANSWER if answered == INPUT else Kind.RESULT
    note = "stand-in" if id in around.asked_for else "error" if "error" in fields(told) else ""
    yield Found(kind, answered, id, note=note, data=data, cut=was_cut)
    inner = response.get("parts")
    for part in inner[: cutting.MOST_NAMES] if isinstance(inner, list) else []:
        for name in ("inline_data", "file_data"):
            if blob := fields(fields(part).get(name)):
                yield _file(blob)


def _file(blob: dict[str, Json]) -> Found:
    described: dict[str, Json] = {"type": cutting.name(blob.get("mime_type"))}
    if "data" in blob:
        described["bytes"] = _bytes_of(blob["data"])
    if uri := cutting.text(blob.get("file_uri"), 1024)[0]:
        described["uri"] = uri
    return Found(Kind.FILE, text=cutting.name(blob.get("display_name")), data=described)


def _bytes_of(encoded: Json) -> int:
    """How many bytes a text in base64 stands for."""
    stand_in = cutting.stood_in(encoded)
    if stand_in is not None:
        return count(stand_in[1] - 2) * 3 // 4  # its JSON has two quotes; up to two bytes of padding too many
    return len(encoded.rstrip("=")) * 3 // 4 if isinstance(encoded, str) else 0
