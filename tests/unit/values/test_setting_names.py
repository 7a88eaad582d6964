"""Both names of a setting are those of the chart and of the process."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentjobs.cli.settings import QueueRule, Settings
from agentjobs.values.setting_names import CHART, both_names, variable

CHART_FOLDER = Path(__file__).parents[3] / "charts" / "agentjobs"
VALUES: dict[str, Any] = yaml.safe_load((CHART_FOLDER / "values.yaml").read_text())
TEMPLATES = "\n".join(file.read_text() for file in sorted((CHART_FOLDER / "templates").glob("*.*")))


@pytest.mark.parametrize("setting", CHART)
def test_the_process_has_the_setting_and_the_chart_sets_it(setting: str) -> None:
    field, _, key = setting.partition(".")
    assert field in Settings.model_fields
    assert not key or key in QueueRule.model_fields
    assert re.search(rf"\b{variable(setting)}(_FILE)?\b", TEMPLATES)


@pytest.mark.parametrize(("setting", "value"), CHART.items())
def test_the_chart_has_the_value(setting: str, value: str) -> None:
    first, *rest = value.split(".")
    if first == "queues":
        assert f"$rule.{rest[-1]}" in TEMPLATES
        return
    if first == "pools":
        first, rest = "poolDefaults", rest[1:]
    found = VALUES[first]
    for part in rest:
        found = found[part]


def test_a_pools_values_are_those_from_which_its_variables_are_set() -> None:
    lines = re.findall(r"AGENTJOBS_(\w+), value: .*\$pool\.(\w+)", TEMPLATES)
    named = {field.lower(): f"pools.{{pool}}.{key}" for field, key in lines}
    assert len(named) > 5
    assert {field: CHART[field] for field in named if field in CHART} == {
        field: value for field, value in named.items() if field in CHART
    }


def test_a_message_names_both() -> None:
    assert both_names("modules", pool="team") == "pools.team.modules of the chart, or AGENTJOBS_MODULES"
    assert both_names("queue_access.namespaces", queue="fast") == (
        "queues.fast.allowedNamespaces of the chart, or AGENTJOBS_QUEUE_ACCESS"
    )


def test_no_message_names_such_a_setting_by_hand() -> None:
    package = Path(__file__).parents[3] / "operator" / "agentjobs"
    by_hand = re.compile(
        rf"\b(setting|settings) ({'|'.join(CHART)})\b|\bAGENTJOBS_(MODULES|MODELS|QUEUE_ACCESS|MEMORY_LIMIT_MIB)\b"
        r"|\bqueue_access\b.* operator"
    )
    found = [
        f"{file.relative_to(package)}: {text}"
        for file in sorted(package.rglob("*.py"))
        if not file.is_relative_to(package / "cli" / "local")  # which sets them
        for text in texts(ast.parse(file.read_text()))
        if by_hand.search(text)
    ]
    assert found == []


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings in a module that are no docstrings."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
