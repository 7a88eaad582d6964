"""One attempt of a job: the executor opens its conversation, lets ADK run the agent, makes the outcome."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from agentjobs.agents.context import running
from agentjobs.agents.definition import echo
from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.agents.definition.inline import build
from agentjobs.agents.definition.providers import without_retries
from agentjobs.agents.definition.resolve import Resolved, resolve
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.run.budget import BUDGET_EXCEEDED, Budget, GatePlugin, Meter, MeterPlugin
from agentjobs.agents.run.continuation import Answered, Asked, continuation, last_answer
from agentjobs.agents.run.conversation import Conversation, open_conversation
from agentjobs.agents.run.events import Ending, code_of, ending_of, seen, texts_in, waits_ahead
from agentjobs.agents.run.questions import Question, QuestionListener, is_sequence, may_ask, open_questions
from agentjobs.agents.run.stored_answers import StoredAnswersPlugin
from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.classify import Judgement, Origin, judge_code, judge_exception
from agentjobs.agents.verdict.error_rules import Rule
from agentjobs.agents.verdict.errors import AgentInvalid
from agentjobs.agents.verdict.outcome import AgentEvent, Outcome, Verdict
from agentjobs.agents.verdict.redaction import bounded_error, secrets_of, without
from agentjobs.values.bounds import RESULT_BYTES
from agentjobs.values.reasons import Reason
from agentjobs.values.text import shortened
from agentjobs.values.usage import Usage

if TYPE_CHECKING:
    from google.adk.agents import BaseAgent
    from google.adk.events.event import Event
    from google.adk.runners import Runner
    from google.adk.sessions import Session
    from google.genai.types import Content

ABORT_SECONDS = 1.0
"""Time that ADK has to end an aborted run by itself."""
TOOL_THREADS = 16
"""Threads for synchronous tools. A call that waits for a thread has passed the lease gate, and would begin
even after the lease is over (H13). With 16 threads a call seldom waits."""
CLOSE_SECONDS = 10
"""Time that toolsets and plugins have to close after a run. Those that take longer end with the process."""

log = logging.getLogger(__name__)


async def run_attempt(
    spec: AttemptSpec,
    settings: AgentSettings,
    *,
    on_event: Callable[[AgentEvent], None],
    abort: asyncio.Event,
    on_usage: Callable[[Usage], None] = lambda _: None,
) -> Outcome:
    """Runs the agent of ``spec`` once.

    There are two ways to stop it. For ``spec.cancel``, the caller sets ``abort``: ADK seals the history (H27)
    and the outcome is CANCELLED, unless the answer came first (H15). For drain, suspend, time-out and a lost
    lease, the caller cancels this task: another attempt can then continue the history.

    :param on_event: called with each event of ADK's as it happens.
    :param on_usage: called with the run's usage so far whenever it changes, also from other threads.
    :raises asyncio.CancelledError: the caller cancelled this task.
    """
    quiet()
    echo.register()
    attempt = _Attempt(spec, settings, on_event, on_usage, abort)
    with running(spec):
        return await attempt.run()


_QUIET_VARIABLES = {
    # ADK's spans hold prompts and answers by default
    "ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS": "false",
    # LiteLLM fetches a list of prices from the internet when it is imported
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def quiet() -> None:
    """Keeps prompts and answers out of logs and spans, unless the environment or a logger's level wants them.

    ADK logs the traceback of each error twice, with texts of the conversation. The outcome has the error
    alone.
    """
    for variable, value in _QUIET_VARIABLES.items():
        os.environ.setdefault(variable, value)
    for name in ("google_adk", "google_genai", "LiteLLM"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)


class _Attempt:
    """One call of ``run_attempt``: what it counts and hears, and the outcome that follows."""

    def __init__(
        self,
        spec: AttemptSpec,
        settings: AgentSettings,
        on_event: Callable[[AgentEvent], None],
        on_usage: Callable[[Usage], None],
        abort: asyncio.Event,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._on_event = on_event
        self._abort = abort
        self._meter = Meter(Budget.of(spec), on_usage)
        self._events: list[Event] = []
        self._instruction = str((spec.agent.get("inline") or {}).get("instruction") or "")

    async def run(self) -> Outcome:
        try:
            agent = await self._agent()
            async with open_conversation(self._spec, self._settings, agent) as conversation:
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
        without_retries(resolved.root)
        return resolved

    async def _converse(self, agent: Resolved, conversation: Conversation) -> Outcome:
        going_on = continuation(
            conversation.history,
            root=agent.root,
            needs_mark=conversation.marks_its_end,
            message=self._spec.message,
            answers=self._spec.answers,
        )
        if isinstance(going_on, Answered):
            return self._complete(going_on.ending)
        if isinstance(going_on, Asked):
            return self._asked(going_on.questions, agent, conversation)
        runner = self._runner(replace(agent, root=going_on.root), conversation)
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
        finally:
            await _close(runner)
        outcome = self._failed(error) if error is not None else self._ended(agent, conversation)
        if outcome.verdict is Verdict.COMPLETE:
            await conversation.finish()
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

    def _runner(self, agent: Resolved, conversation: Conversation) -> Runner:
        from google.adk.apps import App
        from google.adk.artifacts import InMemoryArtifactService
        from google.adk.memory import InMemoryMemoryService
        from google.adk.runners import Runner

        # model_construct, since App's validation forbids the / in our app names. Nothing else in ADK does.
        app = agent.app or App.model_construct(name=conversation.app_name, root_agent=agent.root, plugins=[])
        app = app.model_copy(
            update={
                "root_agent": agent.root,
                "plugins": [
                    MeterPlugin(self._meter),
                    StoredAnswersPlugin(conversation.history),
                    *app.plugins,
                    GatePlugin(self._meter, self._settings.model_timeout_seconds),
                ],
                # Resumability is off, whatever the author's App says. With it, a retry after a tool's error
                # ends in an empty "success", and sequential roots refuse the invocation id by which a retry
                # continues.
                "resumability_config": None,
            }
        )
        # ADK's own runner would run only the step of a sequence that asked, and leave out the steps after it
        kind = _runner_from_the_root() if is_sequence(agent.root) else Runner
        return kind(
            app=app,
            app_name=conversation.app_name,  # with our namespace, never the agent's own name (H18)
            session_service=conversation.service,
            artifact_service=InMemoryArtifactService(),
            memory_service=InMemoryMemoryService(),
        )

    async def _play(self, runner: Runner, conversation: Conversation, message: Content) -> None:
        from google.adk.agents.run_config import RunConfig, ToolThreadPoolConfig

        stream = runner.run_async(
            user_id=conversation.user_id,
            session_id=conversation.session_id,
            invocation_id=conversation.invocation_id,
            new_message=message,
            run_config=RunConfig(tool_thread_pool_config=ToolThreadPoolConfig(max_workers=TOOL_THREADS)),
            abort_signal=self._abort,
        )
        asked = QuestionListener()
        async with aclosing(stream) as events:
            async for event in events:
                if event.partial:
                    continue
                self._events.append(event)
                self._on_event(seen(event))
                # Sequential and loop agents would go on after a step's error or question, so the run is
                # stopped here. It is also stopped before a long-running tool begins, since nobody could
                # deliver its result.
                if asked.hear(event) or code_of(event) == BUDGET_EXCEEDED or waits_ahead(event):
                    break

    # the outcome -------------------------------------------------------------------------------------

    def _ended(self, agent: Resolved, conversation: Conversation) -> Outcome:
        ending = ending_of(self._events, single_step=conversation.single_step)
        if self._meter.refusal is not None:
            return self._ruled(error_rules.BUDGET, self._meter.refusal)
        if not self._events and self._meter.usage.llm_calls == 0:
            # ADK found nothing to do: an earlier run ended a workflow, and died before it told so
            ending = last_answer(conversation.history, single_step=conversation.single_step) or ending
        if ending.waits_for and (questions := open_questions(self._events)):
            return self._asked(questions, agent, conversation)
        if ending.waits_for:
            return self._ruled(error_rules.INPUT_UNSUPPORTED, f"tool {ending.waits_for}")
        if ending.error_code:
            judgement = judge_code(ending.error_code, ending.error_message, said=self._said())
            return self._judged(judgement, ending.answer, model=self._meter.called)
        if ending.truncated:
            return self._judged(judge_code("MAX_TOKENS"), ending.answer)
        return self._complete(ending) if ending.answer else self._ruled(error_rules.EMPTY)

    def _asked(self, questions: Sequence[Question], agent: Resolved, conversation: Conversation) -> Outcome:
        tools = ", ".join(dict.fromkeys(question.tool for question in questions))
        whys = [
            "sessions are kept in memory: give the worker a session store"
            if not conversation.lasts
            else may_ask(agent.root, question.author)
            for question in questions
        ]
        if why := next(filter(None, whys), ""):
            return self._ruled(error_rules.INPUT_UNSUPPORTED, f"tool {tools}: {why}")
        outcome = self._ruled(error_rules.ASK, f"tool {tools}")
        return replace(outcome, requests=tuple(question.request() for question in questions))

    def _complete(self, ending: Ending) -> Outcome:
        return self._outcome(Verdict.COMPLETE, Reason.COMPLETED, "", result=ending.answer)

    def _failed(self, error: Exception) -> Outcome:
        if self._meter.refusal is not None:
            return self._ruled(error_rules.BUDGET, self._meter.refusal)
        raised = self._meter.raised(error)
        tool = raised.name if raised.origin is Origin.TOOL else ""
        model = raised.name if raised.origin is Origin.MODEL else ""
        judgement = judge_exception(raised.error, raised.origin, tool=tool, said=self._said())
        return self._judged(judgement, model=model)

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

    def _said(self) -> Iterable[str]:
        return [
            self._spec.message,
            self._instruction,
            *(text for event in self._events for text in texts_in(event)),
            *secrets_of(),
        ]


def _runner_from_the_root() -> type[Runner]:
    """A runner that begins at the root agent. ADK's own hands an answer only to the agent that asked."""
    from google.adk.runners import Runner

    class RunnerFromTheRoot(Runner):
        def _find_agent_to_run(self, session: Session, root_agent: BaseAgent) -> BaseAgent:
            return root_agent

    return RunnerFromTheRoot


async def _close(runner: Runner) -> None:
    """Closes the agent's toolsets and plugins. An error is logged: the run is over and keeps its outcome."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await runner.close()
    except Exception:
        log.warning("a toolset or plugin of the agent did not close", exc_info=True)
