"""The names of one setting in chart and environment lead to each other, and messages tell both."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import chart_reference
import pytest

from agentjobs.cli.settings import QueueRule, Settings
from agentjobs.values.setting_names import (
    BY_ENV,
    BY_THE_CHART,
    CHART,
    CHART_KEYS,
    OUTSIDE,
    PREFIX,
    both_names,
)

CHART_FOLDER = Path(__file__).parents[3] / "charts" / "agentjobs"
TEMPLATES = "\n".join(file.read_text() for file in sorted((CHART_FOLDER / "templates").glob("*.*")))


def test_each_setting_says_once_how_the_chart_sets_it() -> None:
    told = [*CHART, *BY_THE_CHART, *BY_ENV, *OUTSIDE]
    assert sorted(told) == sorted(set(told))
    assert set(told) == set(Settings.model_fields)


def test_each_value_of_the_chart_that_sets_a_setting_exists() -> None:
    known = {
        chart_reference.shown_path(value.path)
        for value in chart_reference.values(chart_reference.VALUES.read_text())
    }
    assert len(known) > 150
    for setting, paths in [*CHART.items(), *BY_ENV.items()]:
        assert set(paths) <= known, f"{setting}: values.yaml has no {set(paths) - known}"


@pytest.mark.parametrize("setting", sorted({*CHART, *BY_THE_CHART}))
def test_the_templates_set_what_the_table_says_that_the_chart_sets(setting: str) -> None:
    names = {setting, f"{setting}_file"}
    assert any(f"name: {PREFIX}{name.upper()}," in TEMPLATES for name in names)


@pytest.mark.parametrize("setting", sorted(BY_ENV))
def test_the_templates_leave_the_others_to_env(setting: str) -> None:
    assert f"{PREFIX}{setting.upper()}" not in TEMPLATES


def test_a_template_that_takes_a_value_of_a_pool_sets_the_setting_of_the_table() -> None:
    found = re.findall(r"name: AGENTJOBS_(\w+), value: [^}]*\$pool\.(\w+)", TEMPLATES)
    assert len(found) >= 7
    for variable, value in found:
        if variable != "QUEUES":  # made of the queues by a function
            assert f"pools.<name>.{value}" in CHART[variable.lower()], variable


@pytest.mark.parametrize(("key", "value"), CHART_KEYS.items())
def test_a_key_of_a_settings_value_is_one_that_the_template_sets(key: str, value: str) -> None:
    setting, _, name = key.partition(".")
    assert (setting, name in QueueRule.model_fields) == ("queue_access", True)
    assert f'"{name}" (' in TEMPLATES
    assert f"$rule.{value.rpartition('.')[2]}" in TEMPLATES


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
