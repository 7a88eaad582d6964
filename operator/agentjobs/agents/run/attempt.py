"""One attempt of a job: the executor opens its conversation, lets ADK run the agent, makes the outcome."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from agentjobs.agents.context import running
from agentjobs.agents.definition import echo
from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.inline import build
from agentjobs.agents.definition.nodes import nodes_under
from agentjobs.agents.definition.providers import without_retries
from agentjobs.agents.definition.resolve import Resolved, resolve
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.run import records, sync_tools, toolsets
from agentjobs.agents.run.answers import answers_of, result_of
from agentjobs.agents.run.budget import Budget, Meter
from agentjobs.agents.run.continuation import Answered, Asked, continuation, last_answer
from agentjobs.agents.run.conversation import Conversation, open_conversation
from agentjobs.agents.run.events import Ending, ending_of, judgement_of, seen, texts_in
from agentjobs.agents.run.given_files import message_of, texts_of
from agentjobs.agents.run.questions import Question, QuestionListener, SchemaTooLarge, open_questions
from agentjobs.agents.run.resumable import refusal, speaks_alone, why_not
from agentjobs.agents.run.runner import close, runner_of
from agentjobs.agents.run.steps import StepFailed, Steps
from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.adk_places import Loss
from agentjobs.agents.verdict.classify import Judgement, Origin, chain, judge_exception, quoted
from agentjobs.agents.verdict.error_rules import Rule
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, ArtifactRefused
from agentjobs.agents.verdict.outcome import AgentEvent, Outcome, Verdict
from agentjobs.agents.verdict.places import frames_of, place_of
from agentjobs.agents.verdict.redaction import bounded_error, secrets_of, without
from agentjobs.values.bounds import RESULT_BYTES
from agentjobs.values.input_file import InputFile
from agentjobs.values.reasons import Reason
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.text import shortened
from agentjobs.values.usage import Usage

if TYPE_CHECKING:
    from google.adk.events.event import Event
    from google.adk.runners import Runner
    from google.adk.workflow import BaseNode
    from google.genai.types import Content

ABORT_SECONDS = 1.0
"""Time that ADK has to end an aborted run by itself."""


async def run_attempt(
    spec: AttemptSpec,
    settings: AgentSettings,
    *,
    on_event: Callable[[AgentEvent], None],
    abort: asyncio.Event,
    on_usage: Callable[[Usage], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    on_file: Callable[[SavedFile], None] = lambda _: None,
) -> Outcome:
    """Runs the agent of ``spec`` once.

    There are two ways to stop it. For ``spec.cancel``, the caller sets ``abort``: ADK seals the history (H27)
    and the outcome is CANCELLED, unless the answer came first (H15). For drain, suspend, time-out and a lost
    lease, the caller cancels this task: another attempt can then continue the history.

    :param on_event: called with each event of ADK's as it happens.
    :param on_usage: called with the run's usage so far whenever it changes, also from other threads.
    :param on_warning: called with each of ``Outcome.warnings`` as it happens, also from other threads.
    :param on_file: called with each file that the agent has saved or deleted, also from other threads.
    :raises asyncio.CancelledError: the caller cancelled this task.
    """
    quiet()
    echo.register()
    attempt = _Attempt(spec, settings, on_event, on_usage, on_file, abort)
    heard = records.Heard(on_warning, attempt.lost_by_record, attempt.names)
    with (
        running(spec),
        records.hearing(heard),
        toolsets.telling(attempt.lost),
        sync_tools.in_threads(settings.tool_threads),
    ):
        outcome = await attempt.run()
    if outcome.verdict is Verdict.COMPLETE and heard.warnings:
        outcome = replace(outcome, message=records.summary(heard.warnings))
    return replace(outcome, warnings=heard.warnings)


_QUIET_VARIABLES = {
    # ADK's spans hold prompts and answers by default
    "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS": "false",
    # LiteLLM fetches a list of prices from the internet when it is imported
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def quiet() -> None:
    """Keeps prompts and answers out of logs and spans, unless the environment or a logger's level wants them.

    ADK logs the traceback of each error twice, with texts of the conversation. The outcome has the error, and
    what ADK logs beside it without texts (``records``).
    """
    for variable, value in _QUIET_VARIABLES.items():
        os.environ.setdefault(variable, value)
    records.attach()
    logger = logging.getLogger("LiteLLM")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


async def _kept(answer: Ending, conversation: Conversation) -> str:
    """Keeps an answer's files as artifacts. The answer, and of which files there was no room."""
    told = [answer.answer]
    for file in answer.files:
        try:
            await conversation.keep(file)
        except ArtifactRefused as error:
            told.append(f"Not kept. {error}")
    return "\n".join(told)


class _Attempt:
    """One call of ``run_attempt``: what it counts and hears, and the outcome that follows."""

    def __init__(
        self,
        spec: AttemptSpec,
        settings: AgentSettings,
        on_event: Callable[[AgentEvent], None],
        on_usage: Callable[[Usage], None],
        on_file: Callable[[SavedFile], None],
        abort: asyncio.Event,
    ) -> None:
        self._spec = spec
        self._given: Sequence[InputFile] = ()
        self._settings = settings
        self._on_event = on_event
        self._on_file = on_file
        self._abort = abort
        self._meter = Meter(Budget.of(spec), on_usage)
        self._events: list[Event] = []
        self._answers: Mapping[str, Ending] = {}
        """Of a run that ended well, by the names of its ends."""
        self._root: BaseNode | None = None
        self._steps = Steps(None)
        self._answered: frozenset[str] = frozenset()
        """The questions that this run gives ADK the answers to."""
        self._module = str(spec.agent.get("module") or "")
        self._lost_at: tuple[str, ...] = ()
        """The lines of the agent's code that the error came through which stopped the run."""
        self._instruction = str((spec.agent.get("inline") or {}).get("instruction") or "")

    async def run(self) -> Outcome:
        try:
            agent = await self._agent()
            async with open_conversation(self._spec, self._settings, agent, self._on_file) as conversation:
                return await self._converse(agent, conversation)
        except Exception as error:
            return self._failed(error)

    async def _agent(self) -> Resolved:
        module, inline = self._spec.agent.get("module"), self._spec.agent.get("inline")
        if (module is None) == (inline is None):
            raise AgentInvalid(
                "agent: exactly one of module and inline must be set. Correct the job's spec.agent."
            )
        resolved = (
            await resolve(str(module), self._settings)
            if inline is None
            else Resolved(root=build(inline, self._settings))
        )
        without_retries(resolved.root, self._settings.model_timeout_seconds)
        self._root = resolved.root
        return resolved

    async def _converse(self, agent: Resolved, conversation: Conversation) -> Outcome:
        self._given = conversation.files
        going_on = continuation(
            conversation.history,
            root=agent.root,
            needs_mark=conversation.marks_its_end,
            message=message_of(self._spec.message, conversation.files),
            answers=self._spec.answers,
        )
        if isinstance(going_on, Answered):
            return await self._with_files(self._complete(going_on.ending, conversation), conversation)
        if isinstance(going_on, Asked):
            return self._asked(going_on.questions, agent, conversation)
        self._steps, self._answered = Steps(going_on.root), going_on.answered
        agent_from_here = replace(agent, root=going_on.root)
        runner = runner_of(agent_from_here, conversation, self._meter, self._settings, self._steps)
        error: Exception | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                shortened = asyncio.create_task(self._cut_when_aborted(deadline))
                try:
                    await self._play(runner, conversation, going_on.message)
                finally:
                    shortened.cancel()
        except Exception as raised:
            error = raised
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # the agent's own: nobody has cancelled this task
            self._meter.stop(error_rules.CANCELLED_INSIDE, "")
        finally:
            await close(runner)
        outcome = self._failed(error) if error is not None else self._ended(agent, conversation)
        if outcome.verdict is Verdict.COMPLETE:
            await conversation.finish()
            outcome = await self._with_files(outcome, conversation)
        elif self._abort.is_set():
            outcome = replace(
                outcome,
                verdict=Verdict.CANCELLED,
                reason=Reason.CANCELLED.value,
                message=error_rules.CANCELLED.told,
                delay_seconds=None,
                result=None,
            )
        return outcome

    async def _cut_when_aborted(self, deadline: asyncio.Timeout) -> None:
        """Cuts the run short a second after ``abort`` is set.

        ADK interrupts a lone LLM agent at once by itself, other agents only at their next event. ADK seals
        the history of a run that is cut short, too.
        """
        await self._abort.wait()
        deadline.reschedule(asyncio.get_running_loop().time() + ABORT_SECONDS)

    async def _play(self, runner: Runner, conversation: Conversation, message: Content) -> None:
        stream = runner.run_async(
            user_id=conversation.user_id,
            session_id=conversation.session_id,
            invocation_id=conversation.invocation_id,
            new_message=message,
            state_delta=dict(conversation.state) or None,
            abort_signal=self._abort,
        )
        listener, alone = QuestionListener(conversation.history, self._answered), speaks_alone(self._root)
        async with aclosing(stream) as events:
            async for event in events:
                if event.partial:
                    continue
                self._events.append(event)
                self._on_event(seen(event))
                # Sequential and loop agents would go on after a step's error, so the run is stopped here. It is
                # also stopped before a tool begins whose answer no later run could give to ADK, and before the
                # model hears the first result of a tool that asks with words of its own. After any other question
                # ADK ends the run by itself, and what runs beside it is not cut off.
                if self._meter.stopped is not None or self._cannot_wait(event, conversation):
                    break
                if listener.hear(event) and alone:
                    break

    def _cannot_wait(self, event: Event, conversation: Conversation) -> bool:
        root = self._root
        return root is not None and bool(refusal(root, event, lasts=conversation.lasts))

    # the outcome -------------------------------------------------------------------------------------

    def _ended(self, agent: Resolved, conversation: Conversation) -> Outcome:
        if self._meter.stopped is not None:
            return self._stopped(*self._meter.stopped)
        ending = ending_of(self._events, single_step=conversation.single_step)
        if not self._events and self._meter.usage.llm_calls == 0:
            # ADK found nothing to do: an earlier run ended a workflow, and died before it told so
            ending = last_answer(conversation.history, single_step=conversation.single_step) or ending
        for event in self._events:
            if why := refusal(agent.root, event, lasts=conversation.lasts):
                waits_for = ending_of([event]).waits_for
                return self._ruled(error_rules.INPUT_UNSUPPORTED, f"tool {waits_for}: {why}")
        heard = [*conversation.history, *self._events]
        if questions := open_questions(heard, self._answered):
            return self._asked(questions, agent, conversation)
        ending = self._steps.failed() or ending
        if ending.failed:
            return self._failed_ending(ending)
        return self._complete(ending, conversation) if ending.answer else self._ruled(error_rules.EMPTY)

    def _asked(self, questions: Sequence[Question], agent: Resolved, conversation: Conversation) -> Outcome:
        tools = ", ".join(dict.fromkeys(question.tool for question in questions))
        whys = (why_not(agent.root, question.author, lasts=conversation.lasts) for question in questions)
        if why := next(filter(None, whys), ""):
            return self._ruled(error_rules.INPUT_UNSUPPORTED, f"tool {tools}: {why}")
        try:
            requests = tuple(question.request(agent.root) for question in questions)
        except SchemaTooLarge as error:
            return self._ruled(error_rules.INPUT_UNSUPPORTED, f"{tools}: {error}")
        return replace(self._ruled(error_rules.ASKS[requests[0].kind], f"tool {tools}"), requests=requests)

    def _failed_ending(self, ending: Ending) -> Outcome:
        judgement = judgement_of(ending, self._said())
        return self._judged(judgement, ending.answer, model=self._meter.called)

    def _complete(self, ending: Ending, conversation: Conversation) -> Outcome:
        self._answers = answers_of(self._root, [*conversation.history, *self._events], ending)
        result = result_of({name: answer.answer for name, answer in self._answers.items()})
        return self._outcome(Verdict.COMPLETE, Reason.COMPLETED, "", result=result)

    async def _with_files(self, outcome: Outcome, conversation: Conversation) -> Outcome:
        """The outcome, with the answers' files kept as artifacts; the result says of which there was no room."""
        if not any(answer.files for answer in self._answers.values()):
            return outcome
        kept = {name: await _kept(answer, conversation) for name, answer in self._answers.items()}
        return replace(outcome, result=result_of(kept))

    def _failed(self, error: Exception) -> Outcome:
        if self._meter.stopped is not None:
            return self._stopped(*self._meter.stopped)
        failed = self._steps.failed()
        if failed is not None and any(isinstance(link, StepFailed) for link in chain(error)):
            return self._failed_ending(failed)
        raised = self._meter.raised(error)
        tool = raised.name if raised.origin is Origin.TOOL else ""
        model = raised.name if raised.origin is Origin.MODEL else ""
        self._print(raised.error, own_only=raised.origin is Origin.MODEL)
        judgement = judge_exception(
            raised.error,
            raised.origin,
            tool=tool,
            said=self._said(),
            module=self._module,
            written={
                str(getattr(agent, "output_key", "")) for agent in nodes_under(self._root, wrapped=True)
            },
        )
        return self._judged(judgement, model=model)

    def _stopped(self, rule: Rule, detail: str) -> Outcome:
        tool = self._meter.cancelled_tool()
        if rule.told == error_rules.CANCELLED_INSIDE.told and tool:
            return self._ruled(
                replace(error_rules.TOOL_CANCELLED, told=f"Tool {tool!r}: {error_rules.TOOL_CANCELLED.told}")
            )
        return replace(self._ruled(rule, detail), frames=self._lost_at)

    def _ruled(self, rule: Rule, detail: str = "") -> Outcome:
        message = f"{rule.told} ({detail})" if detail else rule.told
        return self._outcome(rule.verdict, rule.reason, bounded_error(without(message, self._said())))

    def _judged(self, judgement: Judgement, answer: str = "", *, model: str = "") -> Outcome:
        outcome = self._outcome(
            judgement.verdict,
            judgement.reason,
            judgement.message,
            delay_seconds=judgement.delay_seconds,
            result=answer or None,
        )
        outcome = replace(outcome, frames=judgement.frames)
        if judgement.model_answer is None:
            return outcome
        # a model that answered first and failed in the last call counts as failed
        answered = tuple(name for name in outcome.answered if name != model)
        return replace(outcome, model_answer=judgement.model_answer, model=model, answered=answered)

    def _outcome(
        self,
        verdict: Verdict,
        reason: Reason,
        message: str,
        *,
        result: str | None = None,
        delay_seconds: float | None = None,
    ) -> Outcome:
        return Outcome(
            verdict=verdict,
            reason=reason.value,
            message=message,
            delay_seconds=delay_seconds,
            result=None if result is None else shortened(result, RESULT_BYTES),
            usage=self._meter.usage,
            event_count=len(self._events),
            answered=tuple(sorted(self._meter.answered)),
        )

    # what is lost on the way ----------------------------------------------------------------------------

    def lost(self, part: str, error: BaseException) -> None:
        """Ends the run: ``part`` of the agent did not load, and the model must not be asked without it."""
        self._lost(error_rules.TOOLS_LOST, part, error)

    def lost_by_record(self, loss: Loss, arguments: Sequence[object], error: BaseException | None) -> None:
        """Ends the run, since ADK logged a loss and went on."""
        self._lost(replace(loss.rule, quote=False), loss.subject(arguments), error)

    def _lost(self, rule: Rule, part: str, error: BaseException | None) -> None:
        ours = next((link for link in chain(error) if isinstance(link, AgentError)), None) if error else None
        if ours is not None:  # it has its own verdict: a bucket that is away is no fault of the tool's
            self._meter.stop(Rule(ours.verdict, ours.reason, str(ours), quote=False), "")
            return
        quote = quoted(error, rule) if error is not None else ""
        if error is not None and self._meter.stopped is None:
            place, self._lost_at = place_of(error, self._module), frames_of(error, self._module)
            quote = f"{quote} at {place}" if place else quote
            self._print(error, own_only=True)
        self._meter.stop(replace(rule, told=f"{part}: {rule.told}") if part else rule, quote)

    def _print(self, error: BaseException, *, own_only: bool) -> None:
        """Prints the traceback where that is set: of an error of ours, which the outcome tells, that of its cause. Of a client that
        did not reach its server it would tell nothing, nor of an error of ours without a cause.

        :param own_only: only where the error came through the agent's own code.
        """
        while isinstance(error, AgentError) and error.__cause__ is not None:
            error = error.__cause__
        own_only = own_only or isinstance(error, AgentError)
        if self._settings.tracebacks and (not own_only or place_of(error, self._module)):
            for link in chain(error):
                # what ADK was doing itself when it passed the error on tells nothing of the agent
                context = link.__context__
                if context is not None and link.__cause__ is None and not place_of(context, self._module):
                    link.__suppress_context__ = True
            traceback.print_exception(error)

    def names(self) -> frozenset[str]:
        """The names of the agents and their tools, which a warning may hold."""
        found: set[str] = set()
        for agent in nodes_under(self._root, wrapped=True):
            found |= {str(agent.name), type(agent).__name__}
            for tool in getattr(agent, "tools", None) or ():
                found |= {type(tool).__name__, str(getattr(tool, "name", getattr(tool, "__name__", "")))}
        return frozenset(found - {""})

    def _said(self) -> Iterable[str]:
        return [
            self._spec.message,
            self._instruction,
            *texts_of(self._given),
            *(text for event in self._events for text in texts_in(event)),
            *secrets_of(),
        ]
