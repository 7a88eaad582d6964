"""The names of one setting in chart, environment and commands lead to each other, and docs/settings.md has them all."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import chart_reference
import pytest

from agentjobs.cli.chart_names import BY_ENV, BY_THE_CHART, CHART, EVERY_COMMAND, FLAGS, OUTSIDE, flag_of
from agentjobs.cli.commands import operator, web, worker
from agentjobs.cli.remedies import REMEDIES
from agentjobs.cli.settings import Settings
from agentjobs.values.reasons import Reason
from agentjobs.values.setting_names import PREFIX

ROOT = Path(__file__).parents[3]
TEMPLATES = "\n".join(
    path.read_text()
    for pattern in ("*.tpl", "*.yaml")
    for path in sorted((ROOT / "charts" / "agentjobs" / "templates").glob(pattern))
)
COMMANDS: dict[str, Callable[..., None]] = {
    "worker": worker.worker,
    "operator": operator.operator,
    "web": web.web,
}


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
    for setting, paths in [*CHART.items(), *((name, tuple(env.split(", "))) for name, env in BY_ENV.items())]:
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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_of_the_table_are_those_of_the_commands(command: str) -> None:
    parameters = {
        f"--{name.replace('_', '-')}" for name in inspect.signature(COMMANDS[command]).parameters
    } - {"--config"}
    assert {flag_of(setting) for setting in (*FLAGS[command], *EVERY_COMMAND)} == parameters


def test_the_table_of_the_charts_values_is_that_of_values_yaml() -> None:
    text = chart_reference.PAGE.read_text()
    assert chart_reference.renewed(text) == text, "run: make crds"


def test_each_reason_says_who_acts_and_what_they_do() -> None:
    assert set(REMEDIES) == set(Reason)
    for reason, remedy in REMEDIES.items():
        assert len(remedy.do) >= len("Nothing"), reason
        assert not remedy.do.endswith("."), reason
