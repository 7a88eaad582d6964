"""The place in the agent's own code where an error was raised."""

from __future__ import annotations

import importlib
import json
import sys
import sysconfig
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from agent_modules import Write

from agentjobs.agents.definition.resolve import resolve
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.classify import Origin, judge_exception
from agentjobs.agents.verdict.errors import AgentInvalid
from agentjobs.agents.verdict.places import frames_of, place_of
from agentjobs.values.bounds import MOST_FRAMES

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


CALLBACKS = """
def before():
    pass
class Checks:
    def method(self):
        pass
    def __call__(self):
        pass
checks = Checks()
method = checks.method
short = lambda: None
class Inherits(Checks):
    def __getattr__(self, name):
        raise KeyError(name)
inherits = Inherits()
from functools import partial
part = partial(before)
"""


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("before", "shop/calls.py:2 in before"),
        ("method", "shop/calls.py:5 in method"),
        ("checks", "shop/calls.py:7 in __call__"),
        ("short", "shop/calls.py:11 in <lambda>"),
        ("inherits", "shop/calls.py:7 in __call__"),
        ("part", "shop/calls.py:2 in before"),
    ],
)
def test_a_callback_with_other_parameters_is_told_by_the_line_where_it_begins(
    write_module: Write, name: str, place: str
) -> None:
    """ADK has called it: no frame of the error is the agent's own."""
    write_module("shop.calls", CALLBACKS)
    callback = getattr(importlib.import_module("shop.calls"), name)
    installed: dict[str, Any] = {"__name__": "google.adk.agents.base_agent"}
    caller = "def call(callback):\n    return callback(llm_request=1)\n"
    folder = sysconfig.get_paths()["purelib"]
    exec(compile(caller, f"{folder}/google/adk/agents/base_agent.py", "exec"), installed)
    error = raised_by(lambda: installed["call"](callback))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without the lambda's frame
    assert place_of(error, "shop.calls") == place


def test_a_type_error_of_other_kinds_has_no_such_line(write_module: Write) -> None:
    write_module("shop.sums", "def add(f):\n    return 1 + f()\n")
    add = importlib.import_module("shop.sums").add
    assert place_of(raised_by(lambda: add(str)), "shop.sums") == "shop/sums.py:2 in add"


def test_a_wrong_call_in_the_agents_own_code_is_told_by_the_line_of_the_call(write_module: Write) -> None:
    write_module("shop.own", "def inner():\n    pass\ndef outer(f=inner):\n    f(1)\n")
    outer = importlib.import_module("shop.own").outer
    assert place_of(raised_by(outer), "shop.own") == "shop/own.py:4 in outer"


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


SHOP = """\
def refund(order):
    return read(order)
def read(order):
    secret = order
    raise KeyError("customer")
def again(n):
    return again(n - 1) if n else read("A-1")
def wrapped():
    try:
        read("A-1")
    except KeyError as error:
        raise ValueError("no such order") from error
def group():
    try:
        read("A-1")
    except KeyError as error:
        raise ExceptionGroup("both", [error])
"""


@pytest.fixture
def shop(write_module: Write) -> Iterator[ModuleType]:
    write_module("shop.tools", SHOP)
    yield importlib.import_module("shop.tools")
    for name in ("shop", "shop.tools"):
        sys.modules.pop(name, None)


def test_frames_are_the_lines_of_the_agents_code_without_source_and_values(shop: ModuleType) -> None:
    error = raised_by(lambda: shop.refund("A-1"))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert frames_of(error) == ("shop/tools.py:2 in refund", "shop/tools.py:5 in read")


def test_frames_of_a_long_way_are_bounded_and_have_both_ends(shop: ModuleType) -> None:
    frames = frames_of(raised_by(lambda: shop.again(500)), own_only=True)
    assert len(frames) == MOST_FRAMES
    assert frames[-1] == "shop/tools.py:5 in read"
    assert sum(frame.startswith("(") for frame in frames) == 1


def test_where_none_is_the_agents_own_the_line_that_raised_it_stands_alone() -> None:
    import yaml

    error = raised_by(lambda: yaml.safe_load("{"))
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without the lambda's frame
    (frame,) = frames_of(error)
    assert frame.startswith("yaml/")
    assert frames_of(error, own_only=True) == ()


@pytest.mark.parametrize(
    ("function", "told", "last"),
    [
        ("wrapped", "ValueError: no such order", "shop/tools.py:12 in wrapped"),
        ("group", "KeyError: 'customer'", "shop/tools.py:5 in read"),
    ],
)
def test_the_place_is_that_of_the_error_that_was_judged(
    shop: ModuleType, function: str, told: str, last: str
) -> None:
    judgement = judge_exception(raised_by(getattr(shop, function)))
    assert f"{told} at {last})" in judgement.message
    assert judgement.frames[-1] == last


async def test_what_raises_at_import_has_its_frames(write_module: Write) -> None:
    write_module("broken.keys", "KEYS = {}\nKEY = KEYS['CRM']\n")
    write_module("broken.agent", "import broken.keys\n")
    error = await resolving("broken.agent")
    judgement = judge_exception(error, module="broken.agent")
    assert "KeyError: 'CRM' at broken/keys.py:2 in <module>" in judgement.message
    assert judgement.frames == ("broken/agent.py:1 in <module>", "broken/keys.py:2 in <module>")


async def resolving(reference: str) -> BaseException:
    with pytest.raises(AgentInvalid) as caught:
        await resolve(reference, AgentSettings(modules=(reference.partition(".")[0],)))
    return caught.value
