"""The places in ADK that report a failure in the log alone: the verdict of each. Data; ``run/records.py`` reads it.

A place is a function of ADK's by module and qualified name, without ``google.adk.``, and the level at which it logs.
A record of any other place is a warning on the attempt. The tests have the list of all places, so a version of ADK
with new ones shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agentjobs.agents.verdict import error_rules
from agentjobs.agents.verdict.error_rules import Rule

Place = tuple[str, str]
"""(module and function, level)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a run has lost where ADK logs a record of this place and goes on: the run has failed."""

    rule: Rule
    subject: Callable[[Sequence[object]], str]
    """The lost part as people know it, from the record's arguments. It takes names alone, never a text."""
    with_error: bool = True
    """Whether only records that carry an exception tell of a loss."""


def _named(subject: str) -> Callable[[Sequence[object]], str]:
    return lambda _: subject


LOSSES: Mapping[Place, Loss] = {
    ("tools.preload_memory_tool.PreloadMemoryTool.process_llm_request", "WARNING"): Loss(
        error_rules.TOOLS_LOST, _named("Tool 'preload_memory'")
    ),
    ("tools.load_mcp_resource_tool.LoadMcpResourceTool._append_resources_to_llm_request", "WARNING"): Loss(
        error_rules.TOOLS_LOST, _named("Tool 'load_mcp_resource'")
    ),
    ("tools.load_artifacts_tool.LoadArtifactsTool._append_artifacts_to_llm_request", "ERROR"): Loss(
        error_rules.TOOLS_LOST, _named("Tool 'load_artifacts'")
    ),
    ("tools.skill_toolset.SkillToolset._resolve_additional_tools_from_state", "WARNING"): Loss(
        error_rules.TOOLS_LOST, lambda arguments: f"Toolset {arguments[0]!r} of a skill"
    ),
    ("tools.skill_toolset.LoadSkillResourceTool.process_llm_request", "WARNING"): Loss(
        error_rules.TOOLS_LOST, _named("Tool 'load_skill_resource'")
    ),
    # ADK ends the run without an error here. Its record at ERROR comes with one that is raised.
    ("runners.Runner._cleanup_root_task", "WARNING"): Loss(
        error_rules.CANCELLED_INSIDE, _named(""), with_error=False
    ),
}

TOLD_OTHERWISE = frozenset(
    {
        # the exception itself ends the run, or is what the tool or toolset has raised
        ("runners.Runner._cleanup_root_task", "ERROR"),
        ("workflow._node_runner.NodeRunner.run", "ERROR"),
        ("plugins.plugin_manager.PluginManager._run_callbacks", "ERROR"),
        ("tools.mcp_tool.mcp_toolset.McpToolset._execute_with_session", "ERROR"),
        ("tools.mcp_tool.session_context.SessionContext._run", "WARNING"),
        ("models.lite_llm._message_to_generate_content_response", "WARNING"),
        # the toolset itself tells: run/toolsets.py
        ("agents.llm_agent._convert_tool_union_to_tools", "ERROR"),
        # an error event follows
        ("agents._managed_agent.ManagedAgent._run_async_impl", "ERROR"),
        ("a2a.agent._remote_a2a_agent.RemoteA2aAgent._ensure_resolved", "ERROR"),
        ("a2a.agent._remote_a2a_agent.RemoteA2aAgent._run_async_impl", "ERROR"),
        ("a2a.agent._remote_a2a_agent.RemoteA2aAgent._handle_a2a_response", "ERROR"),
        ("a2a.agent._remote_a2a_agent.RemoteA2aAgent._handle_a2a_response_v2", "ERROR"),
        # a paused agent inside of a tool: its events tell
        ("tools.agent_tool.AgentTool.run_async", "WARNING"),
        # a server that wants a client's certificate then refuses the connection
        ("tools.mcp_tool.mcp_session_manager.MCPSessionManager._get_mtls_transport", "WARNING"),
        # advice about cost and names, the same in each run
        ("runners.Runner._enforce_app_name_alignment", "WARNING"),
        ("runners.Runner._warn_uncached_agent_transfer", "WARNING"),
    }
)
"""Places whose records say nothing that the outcome does not say, or that concerns no single run."""

BESIDE_THE_RUN = ("telemetry.",)
"""Beginnings of places that lose nothing of a run, whatever they log: ADK's own spans and metrics."""
