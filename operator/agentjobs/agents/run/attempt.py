"""One attempt of a job, from its spec to its outcome, through ADK."""

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
from agentjobs.agents.run.conversation import Conversation, open_conversation
from agentjobs.agents.run.events import Ending, code_of, ending_of, seen, texts_in, waits_ahead
from agentjobs.agents.run.questions import (
    Asked,
    Question,
    is_sequence,
    may_ask,
    open_questions,
    remaining,
    reply_to,
)
from agentjobs.agents.verdict import table
from agentjobs.agents.verdict.classify import Judgement, Origin, judge_code, judge_exception
from agentjobs.agents.verdict.errors import AgentInvalid
from agentjobs.agents.verdict.outcome import AgentEvent, Outcome, Verdict
from agentjobs.agents.verdict.redaction import bounded_error, secrets_of, without
from agentjobs.agents.verdict.table import Rule
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
"""For ADK to end an aborted run by itself."""
TOOL_THREADS = 16
"""For synchronous tools. A call that waits for a thread has passed the gate already, and would begin after it (H13)."""
CLOSE_SECONDS = 10
"""For toolsets and plugins to close after a run; what takes longer dies with the process."""

log = logging.getLogger(__name__)


async def run_attempt(
    spec: AttemptSpec,
    settings: AgentSettings,
    *,
    on_event: Callable[[AgentEvent], None],
    abort: asyncio.Event,
    on_usage: Callable[[Usage], None] = lambda _: None,
) -> Outcome:
    """Runs the agent once.

    :param on_event: called for every event of ADK's as it happens.
    :param on_usage: called with what the run has spent so far, whenever that changes; also from other threads.
    :param abort: set it to cancel for good: the history is sealed (H27), the outcome is CANCELLED unless the answer
        came first (H15).
    :raises asyncio.CancelledError: this task was cancelled. The history can be continued by another attempt; use it
        for drain, suspend, time-out and lost leases.
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
    """Nothing of what was said gets into logs and spans, unless somebody set it so.

    ADK logs each error's traceback twice, with the texts in it; the outcome says what is to be known.
    """
    for variable, value in _QUIET_VARIABLES.items():
        os.environ.setdefault(variable, value)
    for name in ("google_adk", "google_genai", "LiteLLM"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)


class _Attempt:
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
            async with open_conversation(self._spec, self._settings, agent.root) as conversation:
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
        if conversation.ended is not None:  # a former run gave the answer, and its ack was lost
            return self._complete(conversation.ended)
        message = self._message(conversation)
        if message is None:  # a former run asked, and nobody has answered
            return self._asked(open_questions(conversation.history), agent, conversation)
        root = remaining(agent.root, conversation.history)
        runner = self._runner(replace(agent, root=root), conversation)
        error: Exception | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                shortened = asyncio.create_task(self._cut_when_aborted(deadline))
                try:
                    await self._play(runner, conversation, message)
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
                message=table.CANCELLED.told,
                delay_seconds=None,
                result=None,
            )
        return outcome

    async def _cut_when_aborted(self, deadline: asyncio.Timeout) -> None:
        """ADK interrupts a lone LLM agent at once, and others only at their next event: those are cancelled. ADK
        seals the history on this way out, too."""
        await self._abort.wait()
        deadline.reschedule(asyncio.get_running_loop().time() + ABORT_SECONDS)

    def _message(self, conversation: Conversation) -> Content | None:
        """What the run is told: the job's message, or people's answers to what a former run asked; None: they are
        missing.

        An answer is said once. When a run dies after it is stored, the next one goes on with the message alone, as
        after any other death: ADK ends an invocation at once that is told an answer again.
        """
        from google.genai import types

        if questions := open_questions(conversation.history):
            return reply_to(questions, self._spec.answers)
        return types.UserContent(parts=[types.Part(text=self._spec.message)])

    def _runner(self, agent: Resolved, conversation: Conversation) -> Runner:
        from google.adk.apps import App
        from google.adk.artifacts import InMemoryArtifactService
        from google.adk.memory import InMemoryMemoryService
        from google.adk.runners import Runner

        # Not validated: ADK forbids the / in an app's name, but only there.
        app = agent.app or App.model_construct(name=conversation.app_name, root_agent=agent.root, plugins=[])
        app = app.model_copy(
            update={
                "root_agent": agent.root,
                "plugins": [
                    MeterPlugin(self._meter),
                    *app.plugins,
                    GatePlugin(self._meter, self._settings.model_timeout_seconds),
                ],
                # Off, whatever the app says: with it, a tool's error and a retry give an empty "success", and
                # sequential roots refuse the invocation id that makes a retry continue.
                "resumability_config": None,
            }
        )
        # ADK would run the step alone that asked, and leave out those after it
        kind = _runner_from_the_root() if is_sequence(agent.root) else Runner
        return kind(
            app=app,
            app_name=conversation.app_name,  # ours, never the agent's (H18)
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
        asked = Asked()
        async with aclosing(stream) as events:
            async for event in events:
                if event.partial:
                    continue
                self._events.append(event)
                self._on_event(seen(event))
                # Sequential and loop agents go on after an error of one of theirs, and after a question: stop them
                # here. And a tool that somebody would have to answer later is not begun.
                if asked.hear(event) or code_of(event) == BUDGET_EXCEEDED or waits_ahead(event):
                    break

    # what came of it ---------------------------------------------------------------------------------

    def _ended(self, agent: Resolved, conversation: Conversation) -> Outcome:
        ending = ending_of(self._events, single_step=not conversation.marks_its_end)
        if self._meter.refusal is not None:
            return self._ruled(table.BUDGET, self._meter.refusal)
        if ending.waits_for and (questions := open_questions(self._events)):
            return self._asked(questions, agent, conversation)
        if ending.waits_for:
            return self._ruled(table.INPUT_UNSUPPORTED, f"tool {ending.waits_for}")
        if ending.error_code:
            judgement = judge_code(ending.error_code, ending.error_message, said=self._said())
            return self._judged(judgement, ending.answer, model=self._meter.called)
        if ending.truncated:
            return self._judged(judge_code("MAX_TOKENS"), ending.answer)
        return self._complete(ending) if ending.answer else self._ruled(table.EMPTY)

    def _asked(self, questions: Sequence[Question], agent: Resolved, conversation: Conversation) -> Outcome:
        tools = ", ".join(dict.fromkeys(question.tool for question in questions))
        whys = [
            "sessions are kept in memory: give the worker a session store"
            if not conversation.lasts
            else may_ask(agent.root, question.author)
            for question in questions
        ]
        if why := next(filter(None, whys), ""):
            return self._ruled(table.INPUT_UNSUPPORTED, f"tool {tools}: {why}")
        outcome = self._ruled(table.ASK, f"tool {tools}")
        return replace(outcome, requests=tuple(question.request() for question in questions))

    def _complete(self, ending: Ending) -> Outcome:
        return self._outcome(Verdict.COMPLETE, Reason.COMPLETED, "", result=ending.answer)

    def _failed(self, error: Exception) -> Outcome:
        if self._meter.refusal is not None:
            return self._ruled(table.BUDGET, self._meter.refusal)
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
        if judgement.health is None:
            return outcome
        answered = tuple(name for name in outcome.answered if name != model)  # its last word counts
        return replace(outcome, health=judgement.health, model=model, answered=answered)

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
    """ADK's runner hands an answer to the agent that asked, and to it alone."""
    from google.adk.runners import Runner

    class RunnerFromTheRoot(Runner):
        def _find_agent_to_run(self, session: Session, root_agent: BaseAgent) -> BaseAgent:
            return root_agent

    return RunnerFromTheRoot


async def _close(runner: Runner) -> None:
    """Toolsets and plugins. Their failure does not spoil the run: it is over."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await runner.close()
    except Exception:
        log.warning("a toolset or plugin of the agent did not close", exc_info=True)
