"""From ``agent.module`` to an agent: what is found, in which order, and what each refusal says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from agent_modules import Write, write_module
from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.workflow import FunctionNode, Workflow

from agentjobs.agents.definition.resolve import Resolved, resolve
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, AgentNotFound, ModuleNotAllowed

__all__ = ["write_module"]

HEAD = """
    from google.adk.agents import LlmAgent
    from google.adk.apps import App
    def made(name): return LlmAgent(name=name, model="echo")
"""


async def found(reference: str, *modules: str) -> Resolved:
    return await resolve(
        reference, AgentSettings(modules=modules or (reference.split(":")[0],), pool="small")
    )


async def refusal(kind: type[AgentError], reference: str, *modules: str) -> str:
    with pytest.raises(kind) as caught:
        await found(reference, *modules)
    assert type(caught.value) is kind
    return str(caught.value)


async def test_an_app_comes_before_root_agent_and_agent(write_module: Write) -> None:
    write_module(
        "m1",
        HEAD
        + """
    app = App(name="own", root_agent=made("of_app"))
    root_agent = made("root")
    def agent(): return made("factory")
    """,
    )
    resolved = await found("m1")
    assert (resolved.root.name, resolved.app is not None) == ("of_app", True)


async def test_root_agent_comes_before_agent(write_module: Write) -> None:
    write_module(
        "m2",
        HEAD
        + """
    root_agent = made("root")
    def agent(): return made("factory")
    """,
    )
    assert (await found("m2")).root.name == "root"


@pytest.mark.parametrize("definition", ["def agent():", "async def agent():", "def agent(greeting='hi'):"])
async def test_an_agent_function_is_called_each_time(write_module: Write, definition: str) -> None:
    write_module(
        "m3",
        HEAD
        + f"""
    {definition}
        return made("factory")
    """,
    )
    first, second = await found("m3"), await found("m3")
    assert first.root.name == "factory"
    assert first.root is not second.root


async def test_an_agent_function_may_return_an_app(write_module: Write) -> None:
    write_module(
        "m4",
        HEAD
        + """
    def agent(): return App(name="own", root_agent=made("x"))
    """,
    )
    assert (await found("m4")).app is not None


async def test_an_attribute_can_be_named(write_module: Write) -> None:
    write_module(
        "m5",
        HEAD
        + """
    root_agent = made("root")
    other = made("other")
    async def third(): return made("third")
    """,
    )
    assert (await found("m5:other")).root.name == "other"
    assert (await found("m5:third")).root.name == "third"


def adk_create(folder: Path, name: str, kind: str) -> None:
    """ADK's own command, without questions."""
    from click.testing import CliRunner
    from google.adk.cli.cli_tools_click import main

    arguments = ["create", str(folder / name), "--type", kind, "--model", "echo", "--api_key", "a-key"]
    made = CliRunner().invoke(main, arguments)
    assert made.exit_code == 0, made.output


async def test_what_adk_create_writes_is_found(write_module: Write, tmp_path: Path) -> None:
    """`from . import agent` makes the submodule an attribute named agent."""
    adk_create(tmp_path, "my_agent", "code")
    assert (await found("my_agent")).root.name == "root_agent"
    assert (await found("my_agent.agent")).root.name == "root_agent"


async def test_what_adk_create_writes_as_configuration_is_found(write_module: Write, tmp_path: Path) -> None:
    """It has no ``__init__.py``."""
    adk_create(tmp_path, "my_config", "config")
    importlib.invalidate_caches()
    assert (await found("my_config")).root.name == "root_agent"


async def test_a_package_whose_init_is_empty_is_looked_into(write_module: Write) -> None:
    write_module(
        "plain.agent",
        HEAD
        + """
    root_agent = made("inner")
    """,
    )
    assert (await found("plain")).root.name == "inner"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("SequentialAgent(name='r', sub_agents=[made('a'), made('b')])", SequentialAgent),
        ("LoopAgent(name='r', sub_agents=[made('a')], max_iterations=1)", LoopAgent),
        ("ParallelAgent(name='r', sub_agents=[made('a')])", ParallelAgent),
        ("Own(name='r')", BaseAgent),
        ("made('r')", LlmAgent),
        ("Workflow(name='r', edges=[(START, made('a'))])", Workflow),
        ("FunctionNode(func=lambda node_input: node_input, name='r')", FunctionNode),
    ],
)
async def test_any_kind_of_root_is_taken(write_module: Write, source: str, kind: type) -> None:
    write_module(
        "roots",
        HEAD
        + f"""
    from google.adk.agents import BaseAgent, LoopAgent, ParallelAgent, SequentialAgent
    from google.adk.workflow import FunctionNode, START, Workflow
    class Own(BaseAgent):
        async def _run_async_impl(self, ctx):
            yield
    root_agent = {source}
    """,
    )
    assert isinstance((await found("roots")).root, kind)


async def test_a_missing_module_names_what_was_looked_for() -> None:
    message = await refusal(AgentNotFound, "no_such.module")
    assert "no module 'no_such'" in message
    assert "looked for 'no_such.module'" in message


async def test_a_missing_submodule_names_it(write_module: Write) -> None:
    write_module("pk.one", "")
    assert "no module 'pk.two'" in await refusal(AgentNotFound, "pk.two")


async def test_a_module_with_a_missing_dependency_is_invalid_not_missing(write_module: Write) -> None:
    write_module("dep", "import not_installed_here")
    message = await refusal(AgentInvalid, "dep")
    assert "'dep' failed at import" in message
    assert "'not_installed_here'" in message


@pytest.mark.parametrize("source", ["1/0", "import sys; sys.exit(3)", "def broken(:", "raise KeyError('x')"])
async def test_a_module_that_fails_at_import_is_invalid(write_module: Write, source: str) -> None:
    write_module("fails", source)
    assert "'fails' failed at import" in await refusal(AgentInvalid, "fails")


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("import os\nKEY = os.environ['CRM_KEY']", "'reads' failed at import"),
        ("import os\ndef agent():\n    return os.environ['CRM_KEY']", "reads:agent() failed"),
        ("from os import environ\nKEY = environ['CRM_KEY']", "'reads' failed at import"),
    ],
)
async def test_a_missing_variable_is_named_with_its_remedy(
    write_module: Write, source: str, where: str
) -> None:
    write_module("reads", source)
    message = await refusal(AgentInvalid, "reads")
    assert f"{where}: it reads the environment variable 'CRM_KEY'" in message
    assert "Set it for the worker pool" in message
    assert "event loop" not in message


async def test_nothing_to_run_lists_what_was_looked_for_and_found(write_module: Write) -> None:
    write_module("nothing", "import os\ndef helper(): ...\nVALUE = 1")
    message = await refusal(AgentNotFound, "nothing")
    assert "nothing:app, nothing:root_agent, nothing:agent" in message
    assert "it has VALUE, helper" in message


async def test_a_missing_attribute_lists_what_there_is(write_module: Write) -> None:
    write_module("one_attribute", "one = 1")
    assert "has no attribute 'two'. It has: one" in await refusal(AgentNotFound, "one_attribute:two")


async def test_an_attribute_that_is_where_adk_create_puts_it_is_told(write_module: Write) -> None:
    write_module("a_folder.__init__", "from . import agent")
    write_module("a_folder.agent", "root_agent = 1")
    told = await refusal(AgentNotFound, "a_folder:root_agent")
    assert "It is in a_folder.agent: a_folder.agent:root_agent." in told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("root_agent = 7", "is of type int"),
        ("def agent(): return 'text'", "is of type str"),
        ("def agent(city): ...", "needs some: missing a required argument: 'city'"),
        ("def agent(): raise KeyError('x')", "agent() failed: KeyError: 'x'"),
        ("def agent(): raise SystemExit(1)", "agent() failed: SystemExit: 1"),
        ("async def agent(): return 1/0", "failed: ZeroDivisionError"),
        ("class agent: ...", "is the class agent"),
    ],
)
async def test_what_is_no_agent_is_invalid(write_module: Write, source: str, told: str) -> None:
    write_module("bad", source)
    assert told in await refusal(AgentInvalid, "bad")


@pytest.mark.parametrize(
    "reference", ["", ":x", "a:", "a..b", "a/b", "a b", "a:b.c", "a:_b", "1a", "a\n", "é", "x" * 600]
)
async def test_what_is_no_reference_is_invalid(reference: str) -> None:
    await refusal(AgentInvalid, reference, "a")


# invariant 12 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("os", ("my_agents",)),
        ("os:system", ("my_agents",)),
        ("my_agents_evil", ("my_agents",)),
        ("my_agent", ("my_agents",)),
        ("my_agents.x", ("my_agents.y",)),
        ("my_agents", ()),
        ("my_agents", ("",)),
        ("subprocess:run", ("sub",)),
    ],
)
async def test_invariant_12_a_module_outside_the_allow_list_is_not_imported(
    reference: str, allowed: tuple[str, ...], write_module: Write
) -> None:
    write_module("my_agents_evil", "raise SystemExit('imported')")
    with pytest.raises(ModuleNotAllowed) as caught:
        await resolve(reference, AgentSettings(modules=allowed, pool="small"))
    message = str(caught.value)
    assert "pool 'small'" in message
    assert "AGENTJOBS_MODULES" in message
    assert all(name in message for name in allowed if name) or allowed == ("",)
    assert "my_agents_evil" not in sys.modules


async def test_invariant_12_a_function_that_an_allowed_module_only_imported_is_not_called(
    write_module: Write,
) -> None:
    write_module(
        "innocent",
        "from os import getcwd\nfrom functools import partial\nimport os\npart = partial(os.remove, '/')",
    )
    assert "is a function of module 'posix'" in await refusal(ModuleNotAllowed, "innocent:getcwd")
    assert "'posix'" in await refusal(ModuleNotAllowed, "innocent:part")
    assert "is of type module" in await refusal(AgentInvalid, "innocent:os")


async def test_what_could_have_been_meant_one_level_down_is_named_and_not_imported(
    write_module: Write,
) -> None:
    write_module("noroot.agent", HEAD + """
    my_agent = made("mine")
    _hidden = made("hidden")
    """)  # fmt: skip
    write_module("noroot.weather", "root_agent: object = 1\nraise RuntimeError('imported')")
    write_module("noroot.broken", "root_agent = (")
    write_module("noroot.tools", "other = 1")
    message = await refusal(AgentNotFound, "noroot")
    assert "Did you mean noroot.agent:my_agent or noroot.weather?" in message
    assert "call it root_agent" in message


LOCAL = [
    # (agent.module, a module's text, what the message says, in a cluster, at `agentjobs local`)
    ("there.missing", "", "no module 'there.missing' in this worker's image", "no module 'there.missing' here"),
    ("m", "import nowhere_at_all", "not in this worker's image. Install it in the image", "not here. Install it with pip"),
    ("m", "import os; os.environ['A_KEY']", "the worker pool (pools.small.env of the chart)", "in .env beside the agent"),
    ("m", "from shutil import rmtree as agent", "pools.small.modules of the chart", "which this run does not allow"),
    ("json", "", "pools.small.modules of the chart", "this run, whose manifests name: m, there"),
]  # fmt: skip


@pytest.mark.parametrize(("reference", "text", "cluster", "local"), LOCAL)
@pytest.mark.parametrize("here", [False, True])
async def test_words_are_those_for_where_the_reader_is(
    reference: str, text: str, cluster: str, local: str, here: bool, write_module: Write
) -> None:
    write_module("there", "")
    write_module("m", text)
    sys.modules.pop("m", None)
    settings = AgentSettings(modules=("m", "there"), pool="small", local=here)
    with pytest.raises(AgentError) as caught:
        await resolve(reference, settings)
    assert (local if here else cluster) in str(caught.value)
    assert not here or ("pool" not in str(caught.value) and "image" not in str(caught.value))
