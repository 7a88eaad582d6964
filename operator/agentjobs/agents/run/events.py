"""ADK's events of a run: their names and counts for the supervisor, and the ending that they show."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import Judgement, judge_code
from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.values.bounds import count
from agentjobs.values.usage import Usage

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.genai.types import GenerateContentResponseUsageMetadata

CONFIRMATION = "adk_request_confirmation"
"""Name of the function call by which ADK asks a person whether a tool may be called."""
INPUT = "adk_request_input"
"""Name of the function call by which a workflow's node, or a model with ADK's tool of this name, asks for an input."""
CREDENTIAL = "adk_request_credential"
"""Name of the function call by which ADK asks for credentials."""


def seen(event: Event) -> AgentEvent:
    """The event for the supervisor: names and counts.

    Texts stay out, since it goes into logs and statuses.
    """
    calls = [call.name or "" for call in event.get_function_calls()]
    results = [response.name or "" for response in event.get_function_responses()]
    usage = tokens(event.usage_metadata)
    if is_error(event):
        kind = "error"
    elif calls:
        kind = "tool_call"
    elif results:
        kind = "tool_result"
    elif text_of(event):
        kind = "text"
    else:
        kind = "other"
    return AgentEvent(
        author=event.author[:128],
        kind=kind,
        tool=",".join(calls or results)[:256],
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        error_code=code_of(event)[:128],
        final=event.is_final_response(),
        model=(event.model_version or "")[:128],
        timestamp=event.timestamp,
    )


def tokens(usage: GenerateContentResponseUsageMetadata | None) -> Usage:
    """The usage of one model call. Thoughts count as output; a number that a provider leaves out is 0.

    A model of the agent's own may count anything, so each number is bounded before it is added up.
    """
    if usage is None:
        return Usage()
    prompt = count(usage.prompt_token_count) + count(usage.tool_use_prompt_token_count)
    output = count(usage.candidates_token_count) + count(usage.thoughts_token_count)
    return Usage(
        prompt_tokens=prompt,
        output_tokens=output,
        total_tokens=count(usage.total_token_count) or prompt + output,
    )


def code_of(event: Event) -> str:
    """The event's error code. Empty: the event is no error."""
    code = event.error_code
    return str(code.value if isinstance(code, Enum) else code or "")


def is_error(event: Event) -> bool:
    """Whether the event reports an error. That of a remote agent may have a message alone, and no code."""
    return bool(event.error_code or event.error_message)


def text_of(event: Event) -> str:
    """The agent's text in this event, without its thoughts."""
    parts = (event.content.parts if event.content else None) or []
    return "".join(part.text for part in parts if part.text and not part.thought)


def texts_in(event: Event) -> Iterator[str]:
    """The event's texts, with thoughts, tool arguments and results: no error message may quote them."""
    for part in (event.content.parts if event.content else None) or []:
        if part.text:
            yield part.text
        call, response = part.function_call, part.function_response
        for value in (call.args if call else None, response.response if response else None):
            yield from _strings(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


ABORTED = "INVOCATION_ABORTED"
"""Error code of the events by which ADK seals the history of an aborted run."""


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file that the agent gives as its answer, or with it."""

    name: str
    """Name of the artifact as which it is kept: the same in each run that finds this answer."""
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Ending:
    """The ending of a run, as its events show it."""

    answer: str = ""
    """The text, and a line for each file."""
    files: tuple[AnswerFile, ...] = ()
    error_code: str = ""
    error_message: str = ""
    waits_for: str = ""
    """Name of the tool whose confirmation or later result the agent waits for. Empty: it waits for none."""
    truncated: bool = False
    """Whether the answer was cut at the model's output limit."""
    failed_tool: str = ""
    """Name of the tool whose result would be the answer, and which reported an error. Empty: there is none."""

    @property
    def failed(self) -> bool:
        """Whether it ended with an error, whatever text came with it."""
        return bool(self.error_code or self.error_message or self.truncated or self.failed_tool)


def judgement_of(ending: Ending, said: Iterable[str] = ()) -> Judgement:
    """The judgement of an ending that has ``failed``."""
    if ending.failed_tool:
        rule = error_rules.RESULT_IS_ERROR
        return Judgement(rule.verdict, rule.reason, f"Tool {ending.failed_tool!r}: {rule.told}", row="tool")
    return judge_code(ending.error_code, ending.error_message, said=said)


def ending_of(events: Sequence[Event], *, single_step: bool = False, end: str = "") -> Ending:
    """The ending that these events show, by the *last* final one: an agent may recover from earlier errors.

    Final events without content, such as a change of state or the end of a loop, are passed over. A run with
    an open call is no success. For example, ADK lets the agent of a long-running tool go on to a final text
    such as "I have filed the request", though nobody has delivered the tool's result.

    :param single_step: the agent ends with its final answer. An abort that is stored after the answer then
        came too late (H15). Agents of several steps give final answers on their way.
    :param end: name of the end of which these events are, where the run has several: its files are named after it.
    """
    answered = answered_by_user(events)
    for event in reversed(events):
        if (event.long_running_tool_ids or set()) - answered:
            return Ending(waits_for=_waits_for(event))
    aborted: Ending | None = None
    for event in reversed(events):
        if event.author == "user" or event.partial or not event.is_final_response():
            continue
        if code_of(event) == ABORTED and single_step:
            aborted = aborted or Ending(error_code=ABORTED)
            continue
        if is_error(event):
            return Ending(
                answer=text_of(event), error_code=code_of(event), error_message=event.error_message or ""
            )
        if tool := _failed_tool(event):
            return Ending(failed_tool=tool)
        files = tuple(_files(event, end))
        answer, finish = _answer(event, files), _finish_reason(event)
        if finish not in _WHOLE:
            return Ending(answer=answer, truncated=finish == "MAX_TOKENS", error_code=finish)
        if answer:
            return Ending(answer=answer, files=files)
        if event.content is not None and not event.get_function_responses():
            break  # the model's last answer is empty
    return aborted or Ending()


_WHOLE = ("", "STOP", "FINISH_REASON_UNSPECIFIED")
"""Finish reasons of a whole answer. With others ADK may give the part before, and no error code."""


def _finish_reason(event: Event) -> str:
    reason = event.finish_reason
    return str(reason.value if isinstance(reason, Enum) else reason or "")


def _answer(event: Event, files: Iterable[AnswerFile]) -> str:
    kept = [f"{file.mime_type}, {len(file.data)} bytes: artifact {file.name}" for file in files]
    if told := "\n".join(filter(None, [text_of(event).strip(), *kept, *_addresses(event)])):
        return told
    if event.output is not None:  # a node's or task agent's result
        return _as_text(event.output)
    if event.actions.skip_summarization:  # the tool's result is the answer
        shown = [_as_text(_result(r.response)) for r in event.get_function_responses() if r.response]
        return "\n".join(text for text in shown if text)
    return ""


def _files(event: Event, end: str) -> Iterator[AnswerFile]:
    """The event's files, without those of its thoughts."""
    parts = (event.content.parts if event.content else None) or []
    found = [part.inline_data for part in parts if part.inline_data is not None and not part.thought]
    for number, blob in enumerate(found, start=1):
        if blob.data:
            mime_type = " ".join((blob.mime_type or "application/octet-stream").split())[:100]
            ending = mimetypes.guess_extension(mime_type.partition(";")[0]) or ".bin"
            name = "-".join(filter(None, (event.invocation_id, "answer", end, str(number))))
            yield AnswerFile(f"{name}{ending}", mime_type, blob.data)


def _addresses(event: Event) -> Iterator[str]:
    """A line for each file that the agent names by its address."""
    for part in (event.content.parts if event.content else None) or []:
        if part.file_data is not None and part.file_data.file_uri and not part.thought:
            yield ": ".join(filter(None, (part.file_data.mime_type, part.file_data.file_uri)))


def _failed_tool(event: Event) -> str:
    """Name of a tool whose result is the run's answer, and which is an error by ADK's convention."""
    if not event.actions.skip_summarization or text_of(event).strip():
        return ""
    return next((r.name or "" for r in event.get_function_responses() if "error" in (r.response or {})), "")


def _result(response: dict[str, Any] | None) -> Any:
    if response and set(response) == {"result"}:
        return response["result"] if response["result"] is not None else ""
    return response or ""


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return json.dumps(value, ensure_ascii=False, default=str)


def _waits_for(event: Event) -> str:
    ids = event.long_running_tool_ids or set()
    for call in event.get_function_calls():
        if call.id in ids:
            original = (call.args or {}).get("originalFunctionCall")
            inner = original.get("name") if isinstance(original, dict) else None
            return str(inner or call.name or "")[:256]
    return ""


def answered_by_user(events: Iterable[Event]) -> set[str]:
    """The ids of the calls that a person has answered; a long-running tool's first result is no answer."""
    return {
        response.id
        for event in events
        if event.author == "user"
        for response in event.get_function_responses()
        if response.id
    }
