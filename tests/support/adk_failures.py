"""Failures that ADK swallows, reports beside the answer, or reports under another name: each with what must come of it.

A failure is provoked by an agent of the table, run through ADK's real runner with a model server. ``adk_log_places``
has the places in ADK where a record is logged; a ``Failure`` names the one that it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

from gemini import Answer, blocked, call, error, finished, no_candidates, no_parts, text, truncated

from agentjobs.agents.verdict.outcome import Verdict

COMPLETE, RETRY, FAIL, SNOOZE = Verdict.COMPLETE, Verdict.RETRY, Verdict.FAIL, Verdict.SNOOZE

HEAD = '''
import asyncio, json, os, sys
import aiohttp, httpx, pydantic
from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.apps import App
from google.adk.apps.app import EventsCompactionConfig
from google.adk.events import Event, EventActions
from google.adk.models import BaseLlm, LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.plugins.context_filter_plugin import ContextFilterPlugin
from google.adk.tools import BaseTool, FunctionTool, ToolContext
from google.adk.tools.agent_tool import AgentTool
from google.adk.tools.base_toolset import BaseToolset
from google.adk.tools.load_artifacts_tool import LoadArtifactsTool
from google.adk.tools.preload_memory_tool import PreloadMemoryTool
from google.adk.workflow import START, Workflow
from google.genai import errors, types

SAID = "heron 4711"

class Number(pydantic.BaseModel):
    number: int

def llm(name="agent", **more):
    return LlmAgent(**{"name": name, "model": "gemini-2.5-flash", "instruction": "Answer.", **more})

def nothing() -> str:
    "Nothing."
    return ""

class Down(BaseToolset):
    """A toolset whose server is away, from the given call on."""
    def __init__(self, after=0, **more):
        super().__init__(**more)
        self.after = after
        self._use_invocation_cache = False
    async def get_tools(self, readonly_context=None):
        self.after -= 1
        if self.after < 0:
            raise ConnectionError(f"no server for {SAID}")
        return [FunctionTool(nothing)]
    async def close(self):
        pass

def stdio(command, *args, seconds=30):
    from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
    from mcp import StdioServerParameters
    return McpToolset(connection_params=StdioConnectionParams(
        timeout=seconds, server_params=StdioServerParameters(command=command, args=list(args))), errlog=sys.__stderr__)

def http(url):
    from google.adk.tools.mcp_tool import McpToolset
    from google.adk.tools.mcp_tool.mcp_session_manager import StreamableHTTPConnectionParams
    return McpToolset(connection_params=StreamableHTTPConnectionParams(url=url, timeout=5))

class Tells(BaseAgent):
    """Yields the given events' fields, in order."""
    events: list
    async def _run_async_impl(self, ctx):
        for fields in self.events:
            yield Event(author=self.name, invocation_id=ctx.invocation_id, branch=ctx.branch, **fields)

def says(name, said):
    return Tells(name=name, events=[dict(content=types.ModelContent(said))])

class Falls(BaseAgent):
    """An own agent that asks its sub-agents in turn until one answers."""
    async def _run_async_impl(self, ctx):
        for agent in self.sub_agents:
            failed = False
            async for event in agent.run_async(ctx):
                failed = failed or bool(event.error_code or event.error_message)
                yield event
            if not failed:
                return

class Late(BaseAgent):
    """Answers when the others have."""
    async def _run_async_impl(self, ctx):
        while not any(event.error_code for event in ctx.session.events):
            await asyncio.sleep(0)
        yield Event(author=self.name, branch=ctx.branch, content=types.ModelContent("late"))

def raises(error):
    def callback(*args, **more):
        raise error
    return callback

def no_memory(callback_context):
    class Broken:
        async def search_memory(self, **_):
            raise ConnectionError(SAID)
    callback_context._invocation_context.memory_service = Broken()

def once(then=None):
    state = {"left": 1}
    def callback(callback_context):
        if state["left"]:
            state["left"] = 0
            raise then or RuntimeError("once")
    return callback
'''


@dataclass(frozen=True)
class Failure:
    """A situation in which ADK goes on, and what must come of it."""

    name: str
    root: str
    """Source of the module's ``root_agent`` or ``app``; lines before the last one are its own definitions."""
    verdict: Verdict
    reason: str
    model: tuple[Answer, ...] = ()
    """The model's answers, in order; then "ok" for ever."""
    told: tuple[str, ...] = ()
    """Parts of the outcome's message."""
    warns: tuple[str, ...] = ()
    """Places (``module.function`` below ``google.adk``) of the warnings on the attempt; none else."""
    result: str | None = None
    place: str = ""
    """The place in ADK whose record or ``except`` this is about."""
    message: str = "Tell me about heron 4711."
    requests: int | None = None
    """Number of model calls. None: not looked at."""


def _retry(name: str, root: str, reason: str, *told: str, **more: object) -> Failure:
    return Failure(name, root, RETRY, reason, told=told, **more)  # type: ignore[arg-type]


def _fail(name: str, root: str, reason: str, *told: str, **more: object) -> Failure:
    return Failure(name, root, FAIL, reason, told=told, **more)  # type: ignore[arg-type]


def _complete(name: str, root: str, result: str = "ok", **more: object) -> Failure:
    return Failure(name, root, COMPLETE, "Completed", result=result, **more)  # type: ignore[arg-type]


def _lost(name: str, root: str, *told: str, **more: object) -> Failure:
    """A toolset that did not load."""
    place = more.pop("place", "agents.llm_agent._convert_tool_union_to_tools")
    return _retry(name, root, "ToolFailed", *told, place=place, **more)


_SAVE = (
    "async def save(callback_context):\n"
    "    await callback_context.save_artifact('a.txt', types.Part(text='x'))\n"
)

_TOOLSETS = (
    _lost("MCP over stdio: no such command", "llm(tools=[stdio('no-such-server')])", "McpToolset", requests=0),
    _lost("MCP over stdio: ends at once", "llm(tools=[stdio(sys.executable, '-c', 'raise SystemExit(3)')])", "McpToolset", requests=0),
    _lost("MCP over stdio: never answers", "llm(tools=[stdio(sys.executable, '-c', 'import sys; sys.stdin.read()', seconds=1)])", "McpToolset", requests=0),
    _lost("MCP over HTTP: nobody listens", "llm(tools=[http('http://127.0.0.1:1/mcp')])", "McpToolset", requests=0),
    _lost("an own toolset raises", "llm(tools=[Down()])", "Toolset 'Down'", "agent 'agent'", "ConnectionError", requests=0),
    _lost("one toolset of two", "llm(tools=[Down(after=9), Down(tool_name_prefix='crm')])", "'crm'", requests=0),
    _lost(
        "a toolset of the agent that is handed over to", "llm(sub_agents=[llm('clerk', tools=[Down()])])", "agent 'clerk'",
        model=(call("transfer_to_agent", {"agent_name": "clerk"}),), requests=1,
    ),
    _lost(
        "a toolset of an agent inside a tool", "llm(tools=[AgentTool(llm('clerk', tools=[Down()]))])", "agent 'clerk'",
        model=(call("clerk", {"request": "x"}),), requests=1,
    ),
    _lost(
        "a toolset of a step", "SequentialAgent(name='r', sub_agents=[llm('a', tools=[Down()]), llm('b')])", "agent 'a'",
        requests=0,
    ),
    _lost(
        "a toolset of a parallel step", "ParallelAgent(name='r', sub_agents=[llm('a', tools=[Down()]), says('b', 'b')])",
        "agent 'a'", requests=0,
    ),
    _lost(
        "a toolset that is away from the second call on", "llm(tools=[Down(after=1)])", "'Down'",
        model=(call("nothing"),), requests=1,
    ),
    _lost(
        "the memory that is put before the question", "llm(tools=[PreloadMemoryTool()], before_agent_callback=no_memory)",
        "preload_memory", "ConnectionError", place="tools.preload_memory_tool.PreloadMemoryTool.process_llm_request", requests=0,
    ),
    _lost(
        "an artifact that cannot be put before the model",
        f"{_SAVE}llm(tools=[LoadArtifactsTool(process_artifact=raises(RuntimeError(SAID)))], before_agent_callback=save)",
        "load_artifacts", "RuntimeError", model=(call("load_artifacts", {"artifact_names": ["a.txt"]}),),
        place="tools.load_artifacts_tool.LoadArtifactsTool._append_artifacts_to_llm_request", requests=1,
    ),
)  # fmt: skip

_STEPS = (
    _fail(
        "a blocked step of a sequence", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])",
        "ModelSafetyBlocked", "SAFETY", model=(blocked("SAFETY"),), requests=1,
    ),
    _fail(
        "a refused prompt of a step", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])",
        "ModelSafetyBlocked", model=(Answer(body={"promptFeedback": {"blockReason": "SAFETY"}}),),
    ),
    _fail(
        "a cut step", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])", "ModelOutputTruncated",
        model=(truncated("The first half"),),
    ),
    _retry(
        "a step with an empty answer", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])", "EmptyAnswer",
        model=(no_parts(),),
    ),
    _retry(
        "a malformed call of a step", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])",
        "ModelResponseInvalid", model=(finished("MALFORMED_FUNCTION_CALL"),),
    ),
    _retry(
        "an unknown finish of a step", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])", "ModelError",
        model=(finished("OTHER"),),
    ),
    _retry(
        "the last step answers nothing", "SequentialAgent(name='r', sub_agents=[llm('a'), llm('b')])", "EmptyAnswer",
        model=(text("of a"), no_candidates()),
    ),
    _retry(
        "an error without a code, in a step", "SequentialAgent(name='r', sub_agents=[Tells(name='a', "
        "events=[dict(error_message='the remote is down')]), llm('b')])", "AgentFailed", "the remote is down",
    ),
    _fail(
        "a blocked branch of a step, beside one that answers later",
        "SequentialAgent(name='r', sub_agents=[ParallelAgent(name='p', sub_agents=[llm('a'), Late(name='late')]), llm('b')])",
        "ModelSafetyBlocked", model=(blocked("SAFETY"),), requests=1,
    ),
    _fail(
        "a blocked step of a loop, which is a step itself",
        "SequentialAgent(name='r', sub_agents=[LoopAgent(name='l', max_iterations=2, sub_agents=[llm('a')]), llm('b')])",
        "ModelSafetyBlocked", model=(blocked("SAFETY"), blocked("SAFETY")), requests=2,
    ),
    _complete(
        "a blocked step of a sequence in a loop, which answers in the next round",
        "LoopAgent(name='l', max_iterations=2, sub_agents=[SequentialAgent(name='r', sub_agents=[llm('a'), says('b', 'of b')])])",
        "of b", model=(blocked("SAFETY"),), requests=2,
    ),
    _complete(
        "a step that asks another agent instead",
        "SequentialAgent(name='r', sub_agents=[Falls(name='f', sub_agents=[llm('a'), llm('b')]), llm('c')])", "of c",
        model=(blocked("SAFETY"), text("of b"), text("of c")),
    ),
    _fail(
        "a blocked branch beside one that answers later",
        "ParallelAgent(name='r', sub_agents=[llm('a'), Late(name='late')])",
        "ModelSafetyBlocked", model=(blocked("SAFETY"),),
    ),
    _fail(
        "a blocked step in each round of a loop", "LoopAgent(name='r', max_iterations=2, sub_agents=[llm('a'), says('b', 'b')])",
        "ModelSafetyBlocked", model=(blocked("SAFETY"), blocked("SAFETY")),
    ),
    _complete(
        "a blocked step that answers in the next round of a loop",
        "LoopAgent(name='r', max_iterations=2, sub_agents=[llm('a'), says('b', 'of b')])", "of b", model=(blocked("SAFETY"),),
    ),
    _fail(
        "a blocked step below two sequences",
        "SequentialAgent(name='r', sub_agents=[SequentialAgent(name='s', sub_agents=[llm('a')]), llm('b')])",
        "ModelSafetyBlocked", model=(blocked("SAFETY"),), requests=1,
    ),
    _complete(
        "an own agent that asks another one instead", "Falls(name='r', sub_agents=[llm('a'), llm('b')])",
        "of b", model=(blocked("SAFETY"), text("of b")),
    ),
    _retry(
        "an error without a code, at the end",
        "Tells(name='r', events=[dict(error_message='Failed to initialize remote A2A agent')])",
        "AgentFailed", "Failed to initialize remote A2A agent",
    ),
    _retry(
        "an error without a code, behind a text",
        "Tells(name='r', events=[dict(content=types.ModelContent('so far')), dict(error_message='the remote is down')])",
        "AgentFailed", "the remote is down",
    ),
    _fail(
        "an agent inside a tool that is blocked", "llm(tools=[AgentTool(llm('clerk'))])", "ModelSafetyBlocked", "clerk",
        model=(call("clerk", {"request": "x"}), blocked("SAFETY"), text("made up")),
    ),
    _retry(
        "an agent inside a tool with an empty answer", "llm(tools=[AgentTool(llm('clerk'))])", "EmptyAnswer", "clerk",
        model=(call("clerk", {"request": "x"}), no_parts(), text("made up")),
    ),
    _fail(
        "an agent inside a tool that is cut", "llm(tools=[AgentTool(llm('clerk'))])", "ModelOutputTruncated", "clerk",
        model=(call("clerk", {"request": "x"}), truncated("half"), text("made up")),
    ),
    _retry(
        "an error without a code inside a tool",
        "llm(tools=[AgentTool(Tells(name='clerk', events=[dict(error_message='the remote is down')]))])",
        "AgentFailed", "clerk", "the remote is down", model=(call("clerk", {"request": "x"}), text("made up")),
    ),
    _retry(
        "a step inside a tool",
        "llm(tools=[AgentTool(SequentialAgent(name='clerk', sub_agents=[llm('a'), says('b', 'b')]))])",
        "EmptyAnswer", "clerk", model=(call("clerk", {"request": "x"}), no_parts(), text("made up")),
    ),
    _complete(
        "an agent inside a tool that answers", "llm(tools=[AgentTool(llm('clerk'))])", "of agent",
        model=(call("clerk", {"request": "x"}), text("of clerk"), text("of agent")),
    ),
    _retry(
        "a tool whose result is the answer, and which reports an error",
        "def lookup(tool_context: ToolContext) -> dict:\n    'Looks up.'\n"
        "    tool_context.actions.skip_summarization = True\n    return {'error': 'the index is away'}\nllm(tools=[lookup])",
        "ToolFailed", "lookup", model=(call("lookup"),),
    ),
)  # fmt: skip

_CALLED = "llm(sub_agents=[llm('clerk', mode='single_turn', description='x')])"
_CALLS = (
    _fail("a blocked sub-agent that the model calls", _CALLED, "ModelSafetyBlocked",
          model=(call("clerk", {"request": "x"}), blocked("SAFETY"), text("made up"))),
    _retry("a sub-agent with an empty answer that the model calls", _CALLED, "EmptyAnswer",
           model=(call("clerk", {"request": "x"}), no_parts(), text("made up"))),
    _complete("a sub-agent that answers at the second call", _CALLED, "of agent",
              model=(call("clerk", {"request": "x"}), blocked("SAFETY"), call("clerk", {"request": "y"}), text("of clerk"), text("of agent"))),
    _fail("a blocked sub-agent with a task", "llm(sub_agents=[llm('clerk', mode='task', description='x')])", "ModelSafetyBlocked",
          model=(call("clerk", {"request": "x"}), blocked("SAFETY"), text("made up"))),
    _fail("a blocked node of a workflow that the model calls",
          "llm(tools=[Workflow(name='flow', description='x', edges=[(START, llm('a'), llm('b'))])])", "ModelSafetyBlocked",
          model=(call("flow", {"request": "x"}), blocked("SAFETY"), text("of b"), text("made up"))),
    _retry("a sub-agent that the model calls, and whose model fails", _CALLED, "ModelServerError",
           model=(call("clerk", {"request": "x"}), error(500), text("made up")), requests=2),
    Failure("a sub-agent that the model calls, at its model's limit", _CALLED, SNOOZE, "ModelRateLimited",
            model=(call("clerk", {"request": "x"}), error(429), text("made up")), requests=2),
    _retry("a sub-agent that the model calls, and whose callback fails",
           "llm(sub_agents=[llm('clerk', mode='single_turn', description='x', before_agent_callback=raises(ValueError('x')))])",
           "AgentFailed", model=(call("clerk", {"request": "x"}), text("made up")), requests=1),
    _retry("a sub-agent that the model calls where ADK cannot run it", f"SequentialAgent(name='r', sub_agents=[{_CALLED}, llm('b')])",
           "ToolFailed", "clerk", model=(call("clerk", {"request": "x"}), text("of clerk"), text("made up"), text("of b")), requests=2),
)  # fmt: skip

_FINISHES = tuple(
    Failure(
        f"half an answer, finished as {finish}", "llm()", verdict, reason, told=(finish,), requests=1,
        model=(Answer(body={"candidates": [{"content": {"role": "model", "parts": [{"text": "half"}]}, "finishReason": finish}]}),),
    )
    for finish, verdict, reason in (
        ("SAFETY", FAIL, "ModelSafetyBlocked"), ("RECITATION", FAIL, "ModelSafetyBlocked"),
        ("LANGUAGE", FAIL, "ModelSafetyBlocked"), ("MAX_TOKENS", FAIL, "ModelOutputTruncated"),
        ("OTHER", RETRY, "ModelError"), ("MALFORMED_FUNCTION_CALL", RETRY, "ModelResponseInvalid"),
    )
)  # fmt: skip

_FLOWS = (
    _fail(
        "a blocked node of a workflow", "Workflow(name='w', edges=[(START, llm('a'), llm('b'))])", "ModelSafetyBlocked",
        model=(blocked("SAFETY"),),
    ),
    _retry(
        "a node of a workflow with an empty answer", "Workflow(name='w', edges=[(START, llm('a'), llm('b'))])", "EmptyAnswer",
        model=(no_parts(),),
    ),
    _fail(
        "a cut node of a workflow", "Workflow(name='w', edges=[(START, llm('a'), llm('b'))])", "ModelOutputTruncated",
        model=(truncated("half"),),
    ),
    _complete(
        "a workflow that answers", "Workflow(name='w', edges=[(START, llm('a'), llm('b'))])", "of b",
        model=(text("of a"), text("of b")),
    ),
    _complete(
        "a workflow whose next node decides what an empty answer means",
        "def judge(node_input: object):\n    return Event(route='again' if not node_input else 'good')\n"
        "def other(node_input: object) -> str:\n    return 'instead'\n"
        "Workflow(name='w', edges=[(START, llm('a'), judge), (judge, {'again': other, 'good': llm('b')})])", "instead",
        model=(blocked("SAFETY"),),
    ),
    _complete(
        "a workflow whose edges lead nowhere",
        "def route(node_input: object):\n    return Event(route='other', output='so far')\n"
        "Workflow(name='w', edges=[(START, route), (route, {'good': llm('b')})])", "so far",
        warns=("workflow._graph.Graph.get_next_pending_nodes",),
    ),
    _fail(
        "an agent inside a tool that asks a person",
        "def pay() -> str:\n    'Pays.'\n    return ''\n"
        "llm(tools=[AgentTool(llm('clerk', tools=[FunctionTool(pay, require_confirmation=True)]))])", "InputUnsupported", "pay",
        model=(call("clerk", {"request": "x"}), call("pay"), text("made up")),
    ),
    _lost(
        "a toolset, with all logging switched off",
        "import logging\nlogging.getLogger('google_adk').setLevel(logging.CRITICAL)\nllm(tools=[Down()])", "'Down'", requests=0,
    ),
    _lost(
        "a toolset, with the loggers of others disabled",
        "import logging.config\nlogging.config.dictConfig({'version': 1})\nllm(tools=[Down()])", "'Down'", requests=0,
    ),
    _lost(
        "a toolset of an agent that is made in the run",
        "class Makes(BaseAgent):\n    async def _run_async_impl(self, ctx):\n"
        "        async for event in llm('made', tools=[Down()]).run_async(ctx):\n            yield event\nMakes(name='m')",
        "agent 'made'", requests=0,
    ),
    _complete(
        "a toolset that has tools in place of those of its server",
        "class Spare(Down):\n    async def get_tools(self, readonly_context=None):\n        try:\n"
        "            return await super().get_tools(readonly_context)\n        except ConnectionError:\n"
        "            return [FunctionTool(nothing)]\nllm(tools=[Spare()])",
    ),
    _complete(
        "a toolset that asks another one and can do without it",
        "class Both(Down):\n    async def get_tools(self, readonly_context=None):\n        try:\n"
        "            return await Down().get_tools_with_prefix(readonly_context)\n        except ConnectionError:\n"
        "            return [FunctionTool(nothing)]\nllm(tools=[Both()])",
    ),
)  # fmt: skip

_CANCELLED = "async def gone() -> str:\n    'Goes.'\n    {}\n    return ''\nllm(tools=[gone])"

_BLAME = (
    *(
        _retry(f"a tool lets a CancelledError out: {name}", _CANCELLED.format(body), "ToolFailed", "gone", model=(call("gone"),))
        for name, body in {
            "raised": "raise asyncio.CancelledError()",
            "of a task that it cancelled": "t = asyncio.ensure_future(asyncio.sleep(60)); t.cancel(); await t",
            "its own task": "asyncio.current_task().cancel(); await asyncio.sleep(0)",
        }.items()
    ),
    _retry(
        "a callback lets a CancelledError out", "llm(before_model_callback=raises(asyncio.CancelledError()))", "AgentFailed",
        place="runners.Runner._cleanup_root_task",
    ),
    _retry(
        "a callback after the answer lets a CancelledError out", "llm(after_agent_callback=raises(asyncio.CancelledError()))",
        "AgentFailed", place="runners.Runner._cleanup_root_task",
    ),
    _retry(
        "an own agent lets a CancelledError out",
        "class Own(BaseAgent):\n    async def _run_async_impl(self, ctx):\n        raise asyncio.CancelledError()\n        yield\n"
        "Own(name='own')", "AgentFailed",
    ),
    *(
        _retry(
            f"a tool returns {name}", f"def totals() -> dict:\n    'Totals.'\n    return {result}\nllm(tools=[totals])",
            "ToolFailed", "totals", model=(call("totals"),),
        )
        for name, result in {
            "whole numbers as keys": "{1: 100, 2: 250}",
            "None as a key": "{None: 1, 'a': 2}",
            "pairs as keys": "{('a', 1): 1}",
        }.items()
    ),
    _retry(
        "a callback makes a result of numbers as keys", "llm(tools=[nothing], after_tool_callback=lambda **_: {1: 2})",
        "ToolFailed", "nothing", model=(call("nothing"),),
    ),
    *(
        _retry(f"a callback raises {name}", f"llm(before_agent_callback=raises({error}))", "AgentFailed")
        for name, error in {
            "404 of httpx": "httpx.HTTPStatusError('x', request=httpx.Request('GET', 'http://crm/'), response=httpx.Response(404))",
            "429 of httpx": "httpx.HTTPStatusError('x', request=httpx.Request('GET', 'http://crm/'), response=httpx.Response(429, headers={'retry-after': '9'}))",
            "401 of httpx": "httpx.HTTPStatusError('x', request=httpx.Request('GET', 'http://crm/'), response=httpx.Response(401))",
            "503 of google's client": "errors.ServerError(503, {'error': {'message': 'x'}})",
            "400 of google's client": "errors.ClientError(400, {'error': {'message': 'x'}})",
            "a time-out of httpx": "httpx.ReadTimeout('x')",
            "no connection of httpx": "httpx.ConnectError('x')",
            "no connection of aiohttp": "aiohttp.ServerDisconnectedError()",
            "no JSON": "json.JSONDecodeError('x', 'y', 0)",
        }.items()
    ),
    _retry(
        "a callback cannot validate its own data",
        "def check(callback_context):\n    Number.model_validate({})\nllm(before_agent_callback=check)", "AgentFailed",
    ),
    _retry(
        "an answer that does not fit the schema", "llm(output_schema=Number, output_key='n')", "ModelResponseInvalid",
        model=(text("none"),),
    ),
    _retry(
        "an answer whose JSON is of another shape", "llm()", "ModelResponseInvalid",
        model=(Answer(body={"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"name": "f", "args": 7}}]}}]}),),
    ),
    _fail(
        "an option that google's client refuses before any request",
        "llm(generate_content_config=types.GenerateContentConfig(routing_config=types.GenerationConfigRoutingConfig()))", "ModelRequestInvalid", requests=0,
    ),
    _retry(
        "a plugin fails after the run",
        "class Saves(BasePlugin):\n    async def after_run_callback(self, *, invocation_context):\n"
        "        raise RuntimeError('no disk')\napp = App(name='x', root_agent=llm(), plugins=[Saves('saves')])",
        "AgentFailed", "no disk",
    ),
    _retry("a callback fails after the answer", "llm(after_agent_callback=raises(RuntimeError('no disk')))", "AgentFailed", "no disk"),
)  # fmt: skip

_BESIDE = (
    _complete("nothing is wrong", "llm()"),
    _complete("nothing is wrong with a tool", "llm(tools=[nothing])", model=(call("nothing"),)),
    _complete(
        "nothing is wrong with a transfer", "llm(sub_agents=[llm('clerk')])", "of clerk",
        model=(call("transfer_to_agent", {"agent_name": "clerk"}), text("of clerk")),
        place="runners.Runner._warn_uncached_agent_transfer",
    ),
    _complete(
        "a tool that does not exist: the model is told", "llm(tools=[nothing])", model=(call("nothin"),),
        warns=("flows.llm_flows.tools._caller._execute_single_prepared_call._run_with_trace",),
    ),
    _complete(
        "two tools of one name", "def other() -> str:\n    'Other.'\n    return ''\nother.__name__ = 'nothing'\nllm(tools=[nothing, other])",
        warns=("models.llm_request.LlmRequest.append_tools",),
    ),
    _complete(
        "a plugin's note of an error fails",
        "class Notes(BasePlugin):\n    async def on_agent_error_callback(self, **_):\n        raise RuntimeError(SAID)\n"
        "async def flaky() -> str:\n    'Flaky.'\n    return ''\n"
        "class Once(BaseAgent):\n    async def _run_async_impl(self, ctx):\n"
        "        try:\n            async for e in self.sub_agents[0].run_async(ctx):\n                yield e\n"
        "        except RuntimeError:\n            pass\n"
        "        yield Event(author=self.name, content=types.ModelContent('ok'))\n"
        "app = App(name='x', root_agent=Once(name='o', sub_agents=[llm('a', before_agent_callback=raises(RuntimeError('x')))]), "
        "plugins=[Notes('notes')])",
        warns=("plugins.plugin_manager.PluginManager._run_notification_callbacks",),
    ),
    _complete(
        "the filter of the context fails",
        "class Filter(ContextFilterPlugin):\n    pass\n"
        "app = App(name='x', root_agent=llm(), plugins=[Filter(num_invocations_to_keep=1, custom_filter=raises(RuntimeError(SAID)))])",
        warns=("plugins.context_filter_plugin.ContextFilterPlugin.before_model_callback",),
    ),
    _complete(
        "an artifact that is not there", f"{_SAVE}llm(tools=[LoadArtifactsTool()], before_agent_callback=save)",
        model=(call("load_artifacts", {"artifact_names": ["heron 4711"]}),),
        warns=("tools.load_artifacts_tool.LoadArtifactsTool._append_artifacts_to_llm_request",),
    ),
    _complete(
        "a compaction that fails",
        "class Broken(BaseLlm):\n    async def generate_content_async(self, llm_request, stream=False):\n        raise RuntimeError(SAID)\n        yield\n"
        "from google.adk.apps.llm_event_summarizer import LlmEventSummarizer\n"
        "app = App(name='x', root_agent=llm(), events_compaction_config=EventsCompactionConfig(compaction_interval=1, overlap_size=0, "
        "summarizer=LlmEventSummarizer(llm=Broken(model='broken'))))",
        text("ok " * 2000).body["candidates"][0]["content"]["parts"][0]["text"].strip(), model=(text("ok " * 2000),),
        warns=("apps.compaction._summarize_events_with_trace",),
    ),
    _complete(
        "an MCP tool that fails: the model is told",
        "SERVER = '''\nfrom mcp.server.mcpserver import MCPServer\nserver = MCPServer('s')\n@server.tool()\ndef look() -> str:\n"
        "    import os\n    os._exit(1)\nserver.run('stdio')\n'''\nllm(tools=[stdio(sys.executable, '-c', SERVER)])",
        model=(call("look"),), warns=("tools.mcp_tool.mcp_tool.McpTool.run_async",),
    ),
)  # fmt: skip

FAILURES: tuple[Failure, ...] = (*_TOOLSETS, *_STEPS, *_CALLS, *_FINISHES, *_FLOWS, *_BLAME, *_BESIDE)
