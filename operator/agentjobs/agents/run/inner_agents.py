"""Agents inside of tools: the executor judges how each of their conversations ended.

ADK's ``AgentTool`` gives the outer model the last text of its agent, or the text of its error, or nothing: a blocked
or remote agent that failed looks like a short answer. So the events of the inner conversation are judged as those of
a run. Events reach this module through ``MeterPlugin``, which ADK hands on to inner runners.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentjobs.agents.definition.nodes import is_a
from agentjobs.agents.run.events import ending_of, judgement_of
from agentjobs.agents.run.steps import failure_in
from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.errors import AgentError
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.reasons import Reason

if TYPE_CHECKING:
    from google.adk.agents import BaseAgent
    from google.adk.events.event import Event
    from google.adk.tools.base_tool import BaseTool


@dataclass(slots=True)
class _Heard:
    """What was heard of the agent inside a tool."""

    apart: bool = False
    """Whether it speaks in a session of its own, which ADK drops: nothing in it can wait for an answer."""
    events: list[Event] = field(default_factory=list)
    error: Exception | None = None
    """The exception that the agent raised. ADK makes a text for the model of it where the agent is a sub-agent."""


_heard: ContextVar[_Heard | None] = ContextVar("agentjobs_inner_agent", default=None)
_ERROR_OF_ADK = "Error running sub-agent: "
"""Begin of the result that ADK gives the model where a sub-agent in mode single_turn raised something."""


class InnerAgentFailed(AgentError):
    """The agent inside a tool has failed, by the verdict of what it ended with."""


def begin(tool: BaseTool) -> None:
    """Begins to listen to the agent inside ``tool``, which is called next in this context.

    :raises InnerAgentFailed: the tool is a long-running one of an agent to which no later run could give its result.
    """
    around = _heard.get()
    apart = around is not None and around.apart
    if apart and tool.is_long_running:
        rule = error_rules.INPUT_UNSUPPORTED
        raise _made(
            rule.verdict,
            rule.reason,
            f"{rule.told} (tool {tool.name}: its agent is used as a tool, and ADK drops what it said; make it one of "
            "the sub_agents)",
        )
    _heard.set(
        _Heard(apart or is_a(tool, "AgentTool", "google.adk.tools.agent_tool"))
        if _inner(tool) is not None
        else None
    )


def is_inner() -> bool:
    """Whether the caller runs in the conversation of an agent inside a tool."""
    return _heard.get() is not None


def hear(event: Event) -> bool:
    """Collects an event of an agent inside a tool. False: the event is one of the run itself."""
    heard = _heard.get()
    if heard is None:
        return False
    if not event.partial:
        heard.events.append(event)
    return True


def failed(error: Exception) -> None:
    """Hears that an agent has raised an exception."""
    heard = _heard.get()
    if heard is not None:
        heard.error = heard.error or error


def end(tool: BaseTool, result: Any) -> None:
    """Judges what was heard of the agent inside ``tool``.

    :param result: the tool's result, as the model will get it.
    :raises InnerAgentFailed: the inner conversation did not end with an answer, but with an error.
    :raises Exception: the agent's own, where ADK has made a text of it.
    """
    heard = _heard.get()
    _heard.set(None)
    agent = _inner(tool)
    if agent is None or heard is None:
        return
    if (told := _error_told(result)) is not None:
        if heard.error is not None:
            raise heard.error
        rule = error_rules.TOOL_FAILED
        raise _made(rule.verdict, rule.reason, f"Tool {tool.name!r}: {rule.told} ({told})")
    ending = failure_in(agent, heard.events) or ending_of(heard.events)
    if ending.waits_for:
        rule, detail = error_rules.INPUT_UNSUPPORTED, f"tool {ending.waits_for}"
        raise _made(rule.verdict, rule.reason, f"Tool {tool.name!r}: {rule.told} ({detail})")
    if ending.failed:
        judged = judgement_of(ending)
        raise _made(judged.verdict, judged.reason, f"Tool {tool.name!r}: {judged.message}")


def _error_told(result: Any) -> str | None:
    """The error of a sub-agent that ADK tells the model as a result. None: the result is another."""
    text = result.get("result") if isinstance(result, dict) else result
    return (
        text.removeprefix(_ERROR_OF_ADK) if isinstance(text, str) and text.startswith(_ERROR_OF_ADK) else None
    )


def _made(verdict: Verdict, reason: Reason, message: str) -> InnerAgentFailed:
    error = InnerAgentFailed(message)
    error.verdict, error.reason = verdict, reason
    return error


def _inner(tool: BaseTool) -> BaseAgent | None:
    """The agent that ``tool`` runs. None: it runs none."""
    from google.adk.agents import BaseAgent

    agent = getattr(tool, "agent", None)
    return agent if isinstance(agent, BaseAgent) else None
