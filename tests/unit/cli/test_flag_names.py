"""The flags of settings are those of the commands, and the generated tables of docs/ are the present ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import chart_reference
import pytest

from agentjobs.cli.commands import operator, web, worker
from agentjobs.cli.flag_names import EVERY_COMMAND, FLAGS, flag_of
from agentjobs.values.reasons import Reason
from agentjobs.values.remedies import REMEDIES

COMMANDS: dict[str, Callable[..., None]] = {
    "worker": worker.worker,
    "operator": operator.operator,
    "web": web.web,
}


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
