"""The place in the agent's own code where an error was raised."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable

import pytest
from agent_modules import Write

from agentjobs.agents.verdict.classify import Origin, judge_exception
from agentjobs.agents.verdict.places import place_of

pytest_plugins = ["agent_modules"]


def raised_by(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except Exception as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without this test's frame
        return error
    raise AssertionError("nothing was raised")


def test_the_place_is_the_last_line_of_the_agents_code(write_module: Write) -> None:
    write_module(
        "shop.tools",
        "import json\ndef refund():\n    return read()\ndef read():\n    return json.loads('{')\n",
    )
    tools = importlib.import_module("shop.tools")
    error = raised_by(tools.refund)
    assert isinstance(error, json.JSONDecodeError)
    assert place_of(error) == "shop/tools.py:5 in read"


def test_a_packages_own_file_and_a_module_at_the_top_are_named_as_they_are_imported(
    write_module: Write,
) -> None:
    write_module("alone", "def work():\n    raise KeyError('customer')\n")
    assert place_of(raised_by(importlib.import_module("alone").work)) == "alone.py:2 in work"
    write_module("whole.inner", "")
    whole = importlib.import_module("whole")
    exec(compile("def work():\n    raise KeyError\n", str(whole.__file__), "exec"), vars(whole))
    assert place_of(raised_by(whole.work)) == "whole/__init__.py:2 in work"


def test_installed_code_is_the_agents_own_where_it_is_the_agents_package() -> None:
    import yaml

    error = raised_by(lambda: yaml.safe_load("{"))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without the lambda's frame
    assert place_of(error) == ""
    assert place_of(error, "yaml.loader:SafeLoader").startswith("yaml/")


@pytest.mark.parametrize(
    ("origin", "place"),
    [(Origin.TOOL, " at alone.py:2 in work)"), (Origin.AGENT, " at alone.py:2 in work)"), (Origin.MODEL, "'customer')")],
)  # fmt: skip
def test_a_message_names_the_place_of_what_the_agent_raised_and_none_of_a_models_call(
    write_module: Write, origin: Origin, place: str
) -> None:
    write_module("alone", "def work():\n    raise KeyError('customer')\n")
    sys.modules.pop("alone", None)
    told = judge_exception(raised_by(importlib.import_module("alone").work), origin).message
    assert told.endswith(place), told


def test_a_text_of_the_conversation_cannot_take_the_place_out(write_module: Write) -> None:
    write_module("alone", "def work():\n    raise KeyError('customer')\n")
    sys.modules.pop("alone", None)
    error = raised_by(importlib.import_module("alone").work)
    assert judge_exception(error, said=["alone.py:2 in work"]).message.endswith("at alone.py:2 in work)")
