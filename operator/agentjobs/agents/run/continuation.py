"""The continuation of a job: how a run goes on in the history that the job's earlier runs left (H21).

One decision, made before ADK is called. ADK sees the history through :func:`history.visible`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.genai import types

from agentjobs.agents.run.events import Ending, ending_of
from agentjobs.agents.run.history import MARKER, answer_of, is_good
from agentjobs.agents.run.questions import Question, answers_to_carry_out, open_questions, reply_to
from agentjobs.agents.run.resumable import is_sequence

if TYPE_CHECKING:
    from google.adk.agents import BaseAgent
    from google.adk.events.event import Event
    from google.adk.workflow import BaseNode

FINISHED = "agentjobs_finished"
"""Metadata key of the event by which a run of an agent of several steps marks its invocation as ended."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An earlier run gave the answer, and its ack was lost: nothing is run."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Asked:
    """An earlier run asked something that nobody has answered: nothing is run."""

    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Run:
    """ADK is called."""

    message: types.Content
    """The job's message, which ADK stores once, or people's answers to an earlier run's questions."""
    root: BaseNode
    """The agent, of a sequence from the step on that has not finished."""
    answered: frozenset[str] = frozenset()
    """The questions that ``message`` answers."""


def continuation(
    history: Sequence[Event],
    *,
    root: BaseNode,
    needs_mark: bool,
    message: types.Content,
    answers: Mapping[str, Mapping[str, Any]],
) -> Answered | Asked | Run:
    """How the next run of an invocation goes on.

    An answer of a person is sent only while its question is open. If a run dies after the answer was stored, the
    next run sends the job's message, as after any other death: ADK would end the invocation at the second copy of
    an answer. Nor is anything else sent or asked while an approved call waits: ADK makes the calls to which the *last* message
    of the user has the answers, and would forget those before.

    :param history: events that earlier runs of the invocation stored, oldest first.
    :param message: the job's message, with its files.
    :param needs_mark: whether only a mark tells that the agent came to its end.
    """
    if (ending := ended(history, needs_mark)) is not None:
        return Answered(ending)
    if not answers_to_carry_out(history, answers) and (questions := open_questions(history)):
        reply = reply_to(questions, answers)
        if reply is None:
            return Asked(questions)
        return Run(reply, remaining(root, history), frozenset(question.id for question in questions))
    return Run(message, remaining(root, history))


def ended(history: Sequence[Event], needs_mark: bool) -> Ending | None:
    """The ending of an earlier run that gave the answer. None: no run has."""
    if not needs_mark:
        return last_answer(history, single_step=True)
    if not any((event.custom_metadata or {}).get(FINISHED) for event in history):
        return None
    ending = ending_of([event for event in history if event.author != MARKER])
    return ending if is_good(ending) else None


def last_answer(history: Sequence[Event], *, single_step: bool) -> Ending | None:
    """The good answer that is the last thing said in this history. None: something else is."""
    said = [event for event in history if event.author != MARKER]
    last = next(
        (e for e in reversed(said) if (e.content or e.output is not None) and e.author != "user"), None
    )
    if last is None or answer_of(last) is None:
        return None
    ending = ending_of(said, single_step=single_step)
    return ending if is_good(ending) else None


def remaining(root: BaseNode, history: Sequence[Event]) -> BaseNode:
    """The part of ``root`` that a run has to run: of a sequence, the last step that spoke, and those after it.

    The steps before it have finished. Where none has spoken, the whole sequence runs.
    """
    if not is_sequence(root):
        return root
    places = [place for event in history if (place := _place(root.sub_agents, event.author)) is not None]
    return root.model_copy(update={"sub_agents": root.sub_agents[places[-1] :]}) if places else root


def _place(steps: Sequence[BaseAgent], author: str) -> int | None:
    return next((place for place, step in enumerate(steps) if step.find_agent(author) is not None), None)
