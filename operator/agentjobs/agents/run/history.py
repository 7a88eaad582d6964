"""The history that earlier runs left in a session, and the part of it that the next run of the job may see.

For example, a model says "I look it up" and calls a tool, and the tool raises. ADK drops the call from the next
prompt, since nothing answers it, and keeps the text. The prompt then ends with the model's own words, so ADK adds
"Continue processing previous requests as instructed", and the model answers that instead of the job's message.
:func:`visible` leaves such an event out of what ADK sees. Nothing stored is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from google.genai import types

from agentjobs.agents.run.events import CONFIRMATION, INPUT, Ending, ending_of, text_of

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.workflow import BaseNode

MARKER = "agentjobs"
"""Author of the events that are ours and no agent's."""
REPEATED = "agentjobs_repeated"
"""Metadata key of an answer that a run took from the history instead of asking a model."""
NOT_HANDED_OVER = {"error": "The conversation was not handed over to that agent."}
"""Result of a ``transfer_to_agent`` that ADK refused, as the model sees it."""


def visible(
    events: Sequence[Event], invocation_id: str, root: BaseNode, answered: Collection[str] = ()
) -> list[Event]:
    """The events of a session that a run under ``invocation_id`` may see, oldest first.

    * An event of this invocation that leads nowhere is left out: a call whose tool never finished, an answer
      that was cut, blocked, empty or an error, an answer after which the agent failed in two runs, and a question
      to a person that was stored by half.
    * A summary of ADK's (compaction) that takes the place of all that this invocation said is left out. Nothing
      but the model's words would be in the prompt, and the job's message in no place where it is answered.
    * A call that was left to a person or to a long-running tool is no longer one, where nothing answered it; ADK
      then drops it from prompts. Providers refuse a call without a result, in later jobs of the session too. A
      confirmation stays, and this invocation's request for an input: a person may still answer them. A long-running
      tool's call stays with its first result, or with an answer: without either, the run died in the call.
    * So is a question whose tool the agent no longer has. ADK refuses its answer in each run.
    * A transfer that ADK refused becomes an error that the model can react to. ADK would refuse it in each run.

    :param root: the agent of the run.
    :param answered: ids of calls to which the run has the answers.
    """
    calls = _Calls.of(events, invocation_id, answered)
    failed = {
        (answer.author, text_of(answer))
        for answer, after in pairwise(events)
        if (answer.custom_metadata or {}).get(REPEATED) and after.error_code
    }
    seen = []
    for place, event in enumerate(events):
        ours = event.invocation_id == invocation_id
        event = _without_dead_calls(
            event, calls.at(place), (CONFIRMATION, INPUT) if ours else (CONFIRMATION,)
        )
        if not ours:
            seen.append(event)
            continue
        whole = _without_half_questions(event, calls)
        following = events[place + 1] if place + 1 < len(events) else None
        if whole is None or not _leads_somewhere(whole, calls.at(place), following):
            continue
        if (whole.author, text_of(whole)) in failed:
            continue
        if whole.actions.transfer_to_agent:
            whole = _without_refused_transfer(whole, events[place + 1 :], root)
        seen.append(whole)
    said = [e.timestamp for e in seen if e.invocation_id == invocation_id and e.content]
    return answers_apart([event for event in seen if not (said and _sums_up(event, until=said[-1]))])


def answers_apart(events: Sequence[Event]) -> list[Event]:
    """The events, with an answer to calls of several events as one answer to each: ADK would put the whole behind each call.

    The last event stays as it is: ADK divides that one by itself. So do answers to confirmations, which it wants together.
    """
    told = []
    for place, event in enumerate(events):
        results = event.get_function_responses()
        if (
            event.author != "user"
            or len(results) < 2
            or event is events[-1]
            or any(r.name == CONFIRMATION for r in results)
        ):
            told.append(event)
            continue
        parts: dict[int, list[types.Part]] = {}
        for part in (event.content.parts if event.content else None) or []:
            id = part.function_response.id if part.function_response else None
            parts.setdefault(_place_of_call(events[:place], id), []).append(part)
        told += [
            event.model_copy(update={"content": types.Content(role="user", parts=own)})
            for own in parts.values()
        ]
    return told


def _place_of_call(events: Sequence[Event], id: str | None) -> int:
    """The place of the last event that has this call. -1: none has."""
    places = range(len(events) - 1, -1, -1)
    return next((p for p in places if any(c.id == id for c in events[p].get_function_calls())), -1)


def _sums_up(event: Event, until: float) -> bool:
    """Whether the event is a summary of what was said until this time or a later one."""
    summary = event.actions.compaction
    return summary is not None and summary.end_timestamp >= until


@dataclass(frozen=True, slots=True)
class _Calls:
    """The function calls of a session, by their ids."""

    results: frozenset[tuple[int, str]]
    """Calls that have a result: the place of their event, and their id. Some providers use an id again."""
    asked: frozenset[str]
    """Calls about which a question is stored whole: ADK's request, and the stand-in for the tool's result.

    ADK stores these as two events, in either order, and a process may die between them. Nobody has seen that
    question. Without those whose answer ADK refused, since the agent no longer has the tool.
    """
    alive: frozenset[str] = frozenset()
    """Calls that lead somewhere without a result: those asked about, those to which the run has the answers, long-running ones of this
    invocation that were begun and have nothing to say yet, and those of sub-agents in which something waits, or waited, for one. ADK goes
    on inside of them."""

    @classmethod
    def of(cls, events: Sequence[Event], invocation_id: str, answered: Collection[str]) -> _Calls:
        stood_in = {id for event in events for id in event.actions.requested_tool_confirmations}
        requested = {_original(call) for event in events for call in event.get_function_calls()}
        refused = {
            (event.author, event.error_message) for event in events if event.error_code == "ValueError"
        }
        asked = frozenset(
            call.id
            for event in events
            for call in event.get_function_calls()
            if call.id in stood_in
            and call.id in requested
            and (event.author, f"Tool '{call.name}' is not registered.") not in refused
        )
        results: set[tuple[int, str]] = set()
        given: set[str] = set()
        for place in range(len(events) - 1, -1, -1):
            made = {call.id for call in events[place].get_function_calls() if call.id}
            results.update((place, id) for id in made & given)
            given -= made
            stand_ins = events[place].actions.requested_tool_confirmations
            given |= {r.id for r in events[place].get_function_responses() if r.id and r.id not in stand_ins}
        begun = {
            id
            for place, event in enumerate(events)
            if event.invocation_id == invocation_id
            for id in _begun(
                event,
                [
                    call.id
                    for call in event.get_function_calls()
                    if (place, call.id) in results or call.id in asked
                ],
            )
        }
        calls = cls(frozenset(results), asked, asked.union(answered, begun))
        return replace(calls, alive=calls.alive.union(_around(events, calls)))

    def at(self, place: int) -> Callable[[str | None], bool]:
        """Whether a call of the event at this place has a result, or leads somewhere without."""
        return lambda id: id in self.alive or (place, id) in self.results


def _begun(event: Event, done: Collection[str | None]) -> set[str]:
    """The ids of the event's long-running calls without a first result, where nothing but these is under way.

    ADK stores the results of one answer's calls together, so the tools of those without one have returned, too.
    """
    lacking = {call.id for call in event.get_function_calls() if call.id and call.id not in done}
    return lacking if done and lacking <= (event.long_running_tool_ids or set()) else set()


def _around(events: Sequence[Event], calls: _Calls) -> Iterator[str]:
    """The ids of the calls whose sub-agents wrote an event that waits: ADK has them in its branch."""
    for place, event in enumerate(events):
        waiting = event.long_running_tool_ids or set()
        alive = calls.at(place)
        if event.branch and any(
            call.name in (CONFIRMATION, INPUT) or (call.id in waiting and alive(call.id))
            for call in event.get_function_calls()
        ):
            yield from (step.partition("@")[2] for step in event.branch.split(".") if "@" in step)


def _original(call: types.FunctionCall) -> str:
    """The id of the call that ADK's request for a confirmation is about. Empty: the call is no such request."""
    original = (call.args or {}).get("originalFunctionCall") if call.name == CONFIRMATION else None
    return str(original.get("id") or "") if isinstance(original, dict) else ""


def answer_of(event: Event) -> Ending | None:
    """The ending that this event is by itself. None: it is no answer, or not a good one."""
    if event.author in ("user", MARKER) or _is_code(event):
        return None
    ending = ending_of([event])
    return ending if is_good(ending) else None


def is_good(ending: Ending) -> bool:
    """Whether a run that ended so gave the answer."""
    return bool(ending.answer) and not (ending.failed or ending.waits_for)


def _leads_somewhere(event: Event, answered: Callable[[str | None], bool], following: Event | None) -> bool:
    if event.author in ("user", MARKER) or event.content is None:
        return True  # without content: a change of state, an escalation, an error that no prompt shows
    if made := event.get_function_calls():
        return any(answered(call.id) or call.name in (CONFIRMATION, INPUT) for call in made)
    if event.get_function_responses() or event.actions.route is not None:
        return True
    if _ran_code(event):
        return True
    if _is_code(event):
        return following is not None and _ran_code(following)
    return answer_of(event) is not None


def _is_code(event: Event) -> bool:
    """Whether the event ends with code to execute. The result is in an event of its own."""
    parts = (event.content.parts if event.content else None) or []
    return bool(parts) and parts[-1].executable_code is not None


def _ran_code(event: Event) -> bool:
    """Whether the event ends with the result of executed code, to which the agent has yet to say something.

    ADK takes the result for the output of a workflow's node, and would not run the node again.
    """
    return event.has_trailing_code_execution_result() and not event.node_info.message_as_output


def _without_dead_calls(event: Event, answered: Callable[[str | None], bool], kept: Collection[str]) -> Event:
    """The event, with the open calls of earlier runs no longer marked as waiting, but for those of the names ``kept``."""
    waiting = event.long_running_tool_ids
    if not waiting:
        return event
    requests = {call.id for call in event.get_function_calls() if call.name in kept}
    alive = {id for id in waiting if answered(id) or id in requests}
    return event if alive == waiting else event.model_copy(update={"long_running_tool_ids": alive or None})


def _without_half_questions(event: Event, calls: _Calls) -> Event | None:
    """The event without requests and stand-ins of questions that are not stored whole. None: nothing is left."""
    stood_in = event.actions.requested_tool_confirmations
    halves = {id for id in stood_in if id not in calls.asked}
    parts = (event.content.parts if event.content else None) or []
    kept = [
        part
        for part in parts
        if not (part.function_response and part.function_response.id in halves)
        and not (
            part.function_call
            and part.function_call.name == CONFIRMATION
            and _original(part.function_call) not in calls.asked
        )
    ]
    if len(kept) == len(parts):
        return event
    if not kept or event.content is None:
        return None
    return event.model_copy(
        update={
            "content": event.content.model_copy(update={"parts": kept}),
            "actions": event.actions.model_copy(
                update={
                    "requested_tool_confirmations": {id: stood_in[id] for id in stood_in if id not in halves}
                }
            ),
        }
    )


def _without_refused_transfer(event: Event, later: Sequence[Event], root: BaseNode) -> Event:
    from google.adk.agents import BaseAgent
    from google.adk.flows.llm_flows.agent_transfer import _get_transfer_targets

    target = event.actions.transfer_to_agent
    source = root.find_agent(event.author) if isinstance(root, BaseAgent) else None
    if not target or source is None or any(other.author == target for other in later):
        return event
    if any(agent.name == target for agent in _get_transfer_targets(source)):
        return event
    parts = [
        part.model_copy(
            update={
                "function_response": part.function_response.model_copy(update={"response": NOT_HANDED_OVER})
            }
        )
        if part.function_response and part.function_response.name == "transfer_to_agent"
        else part
        for part in (event.content.parts if event.content else None) or []
    ]
    return event.model_copy(
        update={
            "content": types.Content(role="user", parts=parts),
            "actions": event.actions.model_copy(update={"transfer_to_agent": None}),
        }
    )
