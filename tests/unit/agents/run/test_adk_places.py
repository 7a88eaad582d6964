"""The list of places where ADK reports a failure, or goes on after one: none is unknown, and each verdict is tried."""

from __future__ import annotations

import os
from pathlib import Path

from adk_failures import FAILURES
from adk_places import listed
from agentjobs.agents.verdict.adk_places import LOSSES, TOLD_OTHERWISE

GOLDEN = Path(__file__).with_name("adk_places.txt")

NOT_PROVOKED = {
    "tools.load_mcp_resource_tool.LoadMcpResourceTool._append_resources_to_llm_request": "takes an MCP server with "
    "resources that goes away between two calls; by the same rule as those that are provoked",
    "tools.skill_toolset.SkillToolset._resolve_additional_tools_from_state": "takes a skill that names tools of a "
    "toolset which is away; by the same rule",
    "tools.skill_toolset.LoadSkillResourceTool.process_llm_request": "takes Google's registry of skills; by the same "
    "rule",
}
"""Place of a verdict → why no failure of the table leads there."""


def test_each_place_where_adk_reports_a_failure_is_listed() -> None:
    found = "\n".join(listed()) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), (
        "read what is new in ADK, then write the list anew: tests/support/adk_places.py"
    )


def test_each_rule_is_for_a_place_that_adk_has() -> None:
    places = {tuple(line.split(" | ")[:2]) for line in listed()}
    assert not {*LOSSES, *TOLD_OTHERWISE} - places


def test_each_verdict_of_a_place_is_provoked_or_says_why_not() -> None:
    provoked = {failure.place for failure in FAILURES}
    assert {place for place, _ in LOSSES} - provoked == set(NOT_PROVOKED)
