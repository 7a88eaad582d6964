"""Histories that a failed run leaves behind: agents with every kind of root, and models that fail in every way.

The source :data:`AGENTS` is that of a module; a :class:`Root` and the name of a fault complete it. Each agent's model calls the tool ``act`` once, unless its prompt has the result, and
then answers, or hands over to its target. In the first run the model of the agent that is ill does what its fault says,
at its first answer or after its tool's result.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from agent_modules import Write
from google.adk.sessions import InMemorySessionService
from runs import Job, module, until

from agentjobs.agents.verdict.outcome import Outcome, Verdict

AGENTS = '''
import asyncio, copy
from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.apps.app import App, EventsCompactionConfig
from google.adk.apps.llm_event_summarizer import LlmEventSummarizer
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
from google.adk.tools.agent_tool import AgentTool
from google.adk.workflow import START, Workflow
from google.genai import errors, types
from pydantic import BaseModel
from agentjobs.agents.context import current_job

FAULT, WHEN = "", ""
NUMBERS_CALLS = False
"""Whether the provider's ids of calls count those of the prompt: an answer that is asked for again has the ids of the first."""


class Report(BaseModel):
    said: str


ACTED, REQUESTS, STRIKES = [], [], []


def act(name: str, tool_context: ToolContext) -> str:
    "Acts."
    ACTED.append(name)
    return f"acted {name}"


def ill() -> bool:
    return current_job().run == 1


def strikes(fault: str) -> bool:
    """Whether this fault happens now: once, in the first run."""
    if FAULT != fault or not ill() or STRIKES:
        return False
    STRIKES.append(fault)
    return True


def break_once() -> str:
    "Fails in the first run."
    ACTED.append("break_once")
    if ill():
        raise RuntimeError("broken")
    return "done"


async def hang_once() -> str:
    "Hangs in the first run."
    ACTED.append("hang_once")
    if ill():
        await asyncio.Event().wait()
    return "done"


def leave(tool_context: ToolContext) -> str:
    "Escalates, and ends with its result."
    ACTED.append("leave")
    tool_context.actions.escalate = True
    tool_context.actions.skip_summarization = True
    return "left"


def begin_long() -> dict:
    "Begins something long."
    ACTED.append("begin_long")
    return {"status": "pending"}


def remember(tool_context: ToolContext) -> str:
    "Writes state."
    ACTED.append("remember")
    tool_context.state["remembered"] = "yes"
    return "remembered"


TOOLS = [act, break_once, hang_once, leave, LongRunningFunctionTool(begin_long), remember]


def called(tool, /, **arguments):
    return types.Part(function_call=types.FunctionCall(name=tool, args=arguments))


def say(*parts, role="model", **more):
    return LlmResponse(content=types.Content(role=role, parts=list(parts)), **more)


def numbered(response, contents):
    """The answer, with the ids that this provider gives its calls."""
    calls = [p.function_call for p in response.content.parts or [] if p.function_call] if response.content else []
    made = sum(bool(p.function_call) for c in contents for p in c.parts or [])
    for number, call in enumerate(calls if NUMBERS_CALLS else [], made):
        call.id = f"call_{number}"
    return response


def text(said, **more):
    return types.Part(text=said, **more)


STOP, CUT = types.FinishReason.STOP, types.FinishReason.MAX_TOKENS
CODE = types.Part(executable_code=types.ExecutableCode(code="1+1", language="PYTHON"))
RAN = types.Part(code_execution_result=types.CodeExecutionResult(outcome="OUTCOME_OK", output="2"))
IMAGE = types.Part(inline_data=types.Blob(data=b"png", mime_type="image/png"))


def fail(status=500):
    raise errors.ServerError(status, {"error": {"code": status, "message": "boom", "status": "INTERNAL"}})


FAULTS = {
    "the model fails": lambda a: fail(),
    "unknown tool": lambda a: say(called("no_such_tool", x=1)),
    "unknown tool beside a known one": lambda a: say(called("act", name=a), called("no_such_tool")),
    "arguments missing": lambda a: say(called("act")),
    "arguments unknown": lambda a: say(called("act", name=a, more=1)),
    "arguments of another type": lambda a: say(called("act", name={"a": [None]})),
    "tool raises": lambda a: say(called("break_once")),
    "tool raises beside one that ends": lambda a: say(called("act", name=a), called("break_once")),
    "tool hangs": lambda a: say(called("hang_once")),
    "tool hangs beside one that ends": lambda a: say(called("act", name=a), called("hang_once")),
    "text and a call": lambda a: say(text("I look."), called("break_once")),
    "the same call twice": lambda a: say(called("act", name=a), called("act", name=a)),
    "long-running tool": lambda a: say(called("begin_long")),
    "long-running beside a plain one": lambda a: say(called("act", name=a), called("begin_long")),
    "transfer to nobody": lambda a: say(called("transfer_to_agent", agent_name="nobody")),
    "transfer to itself": lambda a: say(called("transfer_to_agent", agent_name=a)),
    "escalate": lambda a: say(called("leave")),
    "state": lambda a: say(called("remember")),
    "thoughts only": lambda a: say(text("hm", thought=True), finish_reason=STOP),
    "thoughts only, no reason": lambda a: say(text("hm", thought=True)),
    "signature only": lambda a: say(types.Part(thought_signature=b"sig"), finish_reason=STOP),
    "no parts": lambda a: say(finish_reason=STOP),
    "no parts, no reason": lambda a: say(),
    "no content": lambda a: LlmResponse(),
    "no role": lambda a: say(text("half"), role=None, error_code="OTHER"),
    "space": lambda a: say(text(" \\n"), finish_reason=STOP),
    "space, no reason": lambda a: say(text(" \\n")),
    "malformed call": lambda a: LlmResponse(error_code="MALFORMED_FUNCTION_CALL", error_message="print(act("),
    "malformed call with text": lambda a: say(text("I call"), error_code="MALFORMED_FUNCTION_CALL"),
    "malformed call with a call": lambda a: say(called("act", name=a), error_code="MALFORMED_FUNCTION_CALL"),
    "unexpected call": lambda a: LlmResponse(error_code="UNEXPECTED_TOOL_CALL"),
    "error with text": lambda a: say(text("half"), error_code="OTHER"),
    "error without a code": lambda a: LlmResponse(error_message="remote is down"),
    "cut": lambda a: say(text("half an ans"), finish_reason=CUT),
    "cut, told as an error": lambda a: say(text("half an ans"), finish_reason=CUT, error_code="MAX_TOKENS"),
    "cut in thoughts": lambda a: say(text("hm", thought=True), finish_reason=CUT),
    "blocked": lambda a: LlmResponse(error_code="SAFETY"),
    "blocked with text": lambda a: say(text("half"), error_code="SAFETY"),
    "interrupted": lambda a: say(text("half"), interrupted=True, error_code="INTERRUPTED"),
    "code that ran": lambda a: say(CODE, RAN),
    "code without its result": lambda a: say(CODE),
    "not the schema": lambda a: say(text("no report"), finish_reason=STOP),
    "image": lambda a: say(IMAGE, finish_reason=STOP),
}
"""What the ill agent's model says, or raises, instead."""

CALLBACKS = ("before_agent", "after_agent", "before_model", "after_model", "before_tool", "after_tool")
"""Callbacks of the ill agent that raise in the first run."""

FILLERS = ("Continue processing previous requests", "Handle the requests as specified")


def ends_with_a_filler(contents) -> bool:
    """Whether ADK asks to go on in place of anybody; after code that ran, it always does."""
    filled = any(filler in (p.text or "") for p in contents[-1].parts or [] for filler in FILLERS)
    return filled and not (contents[:-1] and contents[-2].parts[-1].code_execution_result)


class Model(BaseLlm):
    target: str = ""
    sick: bool = False

    async def generate_content_async(self, request, stream=False):
        self._maybe_append_user_content(request)  # as ADK's models do
        async for response in self.answer(request):
            yield numbered(response, request.contents)

    async def answer(self, request):
        contents = copy.deepcopy(request.contents)
        REQUESTS.append((current_job().run, self.model, contents))
        done = [p.function_response for c in contents for p in c.parts or [] if p.function_response]
        acted = any(r.response == {"result": f"acted {self.model}"} for r in done) or "act" not in request.tools_dict
        if self.sick and FAULT in FAULTS and WHEN == ("after the tool" if acted else "at once") and strikes(FAULT):
            yield FAULTS[FAULT](self.model)
        elif ends_with_a_filler(contents):
            yield say(text("Nothing remains to be done."))
        elif not acted:
            yield say(called("act", name=self.model))
        elif self.target and not any(
            r.name in ("transfer_to_agent", self.target) and "error" not in r.response for r in done
        ):
            inner = self.target == "inner"
            yield say(called("inner", request="go") if inner else called("transfer_to_agent", agent_name=self.target))
        elif "set_model_response" in request.tools_dict:
            yield say(called("set_model_response", said=f"{self.model} has done it"))
        elif request.config.response_schema:
            yield say(text(Report(said=f"{self.model} has done it").model_dump_json()), finish_reason=STOP)
        else:
            yield say(text(f"{self.model} has done it"), finish_reason=STOP)


class Summary(BaseLlm):
    async def generate_content_async(self, request, stream=False):
        yield say(text("They spoke."))


def compacting(agent):
    """An App that sums up its session after each run."""
    summarizer = LlmEventSummarizer(llm=Summary(model="summary"))
    config = EventsCompactionConfig(compaction_interval=1, overlap_size=0, summarizer=summarizer)
    return App(name="compacting", root_agent=agent, events_compaction_config=config)


def breaking(place):
    def callback(*_, **__):
        if strikes(f"{place} callback raises"):
            raise RuntimeError("broken")

    return callback


def llm(name, sick=False, target="", **more):
    if sick:
        more.update({f"{place}_callback": breaking(place) for place in CALLBACKS if FAULT == f"{place} callback raises"})
    more.setdefault("tools", TOOLS)
    return LlmAgent(name=name, model=Model(model=name, sick=sick, target=target), instruction="Act.", **more)


class Own(BaseAgent):
    async def _run_async_impl(self, ctx):
        for sub in self.sub_agents:
            async for event in sub.run_async(ctx):
                yield event
'''


@dataclass(frozen=True)
class Root:
    """A kind of root agent, with an agent in it that is ill in the first run."""

    name: str
    source: str
    answers: tuple[str, ...] = ("b has done it",)
    repeats_tools: bool = False
    """Whether a finished tool call is made again, as docs/agents.md says for this kind."""
    loops: bool = False


ROOTS = [
    Root("LlmAgent", "llm('b', sick=True)"),
    Root("LlmAgent, transfer", "llm('a', target='b', sub_agents=[llm('b', sick=True)])"),
    Root("LlmAgent that transfers is ill", "llm('a', sick=True, target='b', sub_agents=[llm('b')])"),
    Root(
        "LlmAgent with a schema",
        "llm('b', sick=True, output_schema=Report)",
        answers=('{"said": "b has done it"}', '{"said":"b has done it"}'),
    ),
    Root(
        "LlmAgent with a schema and no tools",
        "llm('b', sick=True, output_schema=Report, tools=[])",
        answers=('{"said":"b has done it"}',),
    ),
    Root("App that compacts", "compacting(llm('b', sick=True))"),
    Root("SequentialAgent", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b', sick=True)])"),
    Root(
        "SequentialAgent, first step", "SequentialAgent(name='r', sub_agents=[llm('a', sick=True), llm('b')])"
    ),
    Root("LoopAgent", "LoopAgent(name='r', sub_agents=[llm('b', sick=True)], max_iterations=1)"),
    Root(
        "LoopAgent of two",
        "LoopAgent(name='r', sub_agents=[llm('a'), llm('b', sick=True)], max_iterations=1)",
    ),
    Root(
        "ParallelAgent",
        "ParallelAgent(name='r', sub_agents=[llm('a'), llm('b', sick=True)])",
        answers=('{"a": "a has done it", "b": "b has done it"}',),
    ),
    Root("own BaseAgent", "Own(name='r', sub_agents=[llm('a'), llm('b', sick=True)])"),
    Root(
        "Workflow", "Workflow(name='r', edges=[(START, llm('a'), llm('b', sick=True))])", repeats_tools=True
    ),
    Root(
        "AgentTool",
        "llm('b', target='inner', tools=[*TOOLS, AgentTool(llm('inner', sick=True))])",
        repeats_tools=True,
    ),
]


LOADED = "histories_of_an_agent"
"""Name of the module that :class:`Histories` writes."""


@dataclass(frozen=True)
class Cell:
    """A first run that fails in one way, and the run after it."""

    root: Root
    fault: str
    when: str = "at once"
    dies_after: int | None = None
    """The run's process dies when it has stored so many events. None: the run ends as it ends."""
    aborted: bool = False
    """A tool that hangs is ended by the user's cancel, and not by a drain."""
    numbers_calls: bool = False
    """The provider's ids of calls count those of the prompt."""


class Histories:
    """Runs cells with sessions in memory."""

    def __init__(self, write_module: Write, patch: pytest.MonkeyPatch) -> None:
        self._write = write_module
        self._patch = patch

    async def broken(self, cell: Cell) -> tuple[list[str], int]:
        """What is wrong with the run after the one that fails, and the events that the failing one stored."""
        job = self._job(cell)
        first = await self._first_run(job, cell)
        stored = await job.stored()
        acted = Counter(map(str, loaded().ACTED)) if LOADED in sys.modules else Counter()
        if first is not None and first.verdict is Verdict.COMPLETE:
            return [], len(stored)
        if first is not None and first.verdict in (Verdict.FAIL, Verdict.CANCELLED):
            job.round += 1  # somebody retries it by hand
        second = await job.attempt()
        problems = list(self._outcome(cell, second))
        for run, agent, contents in loaded().REQUESTS:
            if run > 1:
                problems += [f"{agent}: {rule}" for rule in broken_rules(contents)]
        finished = _finished_calls(stored)
        for tool, count in (Counter(map(str, loaded().ACTED)) - acted).items():
            if count > 1 or (tool in finished and not cell.root.repeats_tools):
                problems.append(f"{tool} acted {count} times again")
        said = [
            e
            for e in await job.stored()
            if e.author == "user" and e.content and any(p.text for p in e.content.parts)
        ]
        if len(said) != 1:
            problems.append(f"the message is stored {len(said)} times")
        return problems, len(stored)

    def _job(self, cell: Cell) -> Job:
        head = AGENTS.replace('FAULT, WHEN = "", ""', f"FAULT, WHEN = {cell.fault!r}, {cell.when!r}")
        head = head.replace("NUMBERS_CALLS = False", f"NUMBERS_CALLS = {cell.numbers_calls}")
        sys.modules.pop(LOADED, None)
        self._write(LOADED, f"{head}\n\nroot_agent = {cell.root.source}\n")
        importlib.invalidate_caches()
        return Job(module(LOADED), "Do it.", modules=(LOADED,))

    async def _first_run(self, job: Job, cell: Cell) -> Outcome | None:
        """The outcome of the run that fails. None: its process died."""
        run = asyncio.create_task(job.attempt())
        stop = (lambda: job.abort.set()) if cell.aborted else run.cancel
        with self._patch.context() as patch:
            patch.setattr(InMemorySessionService, "append_event", dying(run, cell.dies_after))
            watch = asyncio.create_task(_once_a_tool_hangs(stop))
            try:
                return await run
            except asyncio.CancelledError:
                return None
            finally:
                watch.cancel()

    def _outcome(self, cell: Cell, outcome: Outcome) -> Iterator[str]:
        answers = (*cell.root.answers, "left") if cell.fault == "escalate" else cell.root.answers
        if outcome.verdict is not Verdict.COMPLETE:
            yield f"{outcome.verdict.value} {outcome.reason} {outcome.message}"
        elif outcome.result not in answers:
            yield f"the result is {outcome.result!r}"


def dying(run: asyncio.Task[Any], after: int | None) -> Any:
    """An ``append_event`` that stores so many events, and then ends ``run`` as a kill would."""
    store, left = InMemorySessionService.append_event, after

    async def append(self: InMemorySessionService, session: Any, event: Any) -> Any:
        nonlocal left
        if left == 0:
            raise asyncio.CancelledError
        stored = await store(self, session=session, event=event)
        if left is not None:
            left -= 1
            if left == 0:
                run.cancel()
                await asyncio.Event().wait()
        return stored

    return append


async def _once_a_tool_hangs(stop: Callable[[], Any]) -> None:
    await until(lambda: LOADED in sys.modules and "hang_once" in loaded().ACTED, 600)
    stop()


def _finished_calls(events: list[Any]) -> set[str]:
    """What the tools with a stored result have written into ACTED. ADK seals an aborted call with an error."""
    done = {r.id for event in events if not event.error_code for r in event.get_function_responses()}
    calls = [call for event in events for call in event.get_function_calls() if call.id in done]
    return {
        str(call.args["name"]) if call.name == "act" and "name" in call.args else call.name for call in calls
    }


FILLERS = ("Continue processing previous requests", "Handle the requests as specified")


def broken_rules(contents: list[Any]) -> Iterator[str]:
    """The rules of Gemini, Anthropic and OpenAI that a request's contents break."""
    if not contents:
        yield "no contents"
        return
    if contents[0].role != "user":
        yield "begins with the model"
    open_calls: list[tuple[str | None, str | None]] = []
    for content in contents:
        parts = content.parts or []
        if not parts or content.role not in ("user", "model"):
            yield f"an empty content, or one of role {content.role!r}"
        if any(not part.model_dump(exclude_none=True, exclude={"thought"}) for part in parts):
            yield "an empty part"
        results = [(p.function_response.id, p.function_response.name) for p in parts if p.function_response]
        if sorted(map(str, results)) != sorted(map(str, open_calls)):
            yield f"calls {open_calls} are answered by {results}"
        open_calls = [(p.function_call.id, p.function_call.name) for p in parts if p.function_call]
    if open_calls:
        yield f"calls {open_calls} are not answered"
    after_code = bool(contents[:-1] and contents[-2].parts[-1].code_execution_result)
    if not after_code and any(
        filler in (p.text or "") for p in contents[-1].parts or [] for filler in FILLERS
    ):
        yield "the last turn is ADK's filler"


def loaded() -> ModuleType:
    return sys.modules[LOADED]
