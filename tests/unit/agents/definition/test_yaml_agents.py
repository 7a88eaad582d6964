"""From a ``root_agent.yaml`` to an agent: what runs, and what is refused before anything that its files name is imported."""

from __future__ import annotations

import importlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from agent_modules import Write, write_module
from google.adk.agents import LlmAgent
from runs import Job, module
from yaml_samples import SAMPLES, write_agent

from agentjobs.agents.definition.resolve import Resolved, resolve
from agentjobs.agents.definition.settings import AgentSettings
from agentjobs.agents.definition.yaml_files import MAX_AGENTS, MAX_DEPTH, MAX_FILE_BYTES, MAX_VALUES
from agentjobs.agents.definition.yaml_references import Kind, Named, named_in
from agentjobs.agents.prefork import imports
from agentjobs.agents.verdict.errors import AgentError, AgentInvalid, AgentNotFound, ModuleNotAllowed
from agentjobs.agents.verdict.outcome import Verdict
from agentjobs.values.reasons import Reason
from doc_rules import shown

__all__ = ["write_module"]

LLM = "name: root\nmodel: echo\ninstruction: Answer.\n"

Folder = Callable[..., str]
"""(files, tools=…, name=…) → the module's name. The folder is on the path, and without an ``__init__.py``."""


@pytest.fixture
def folder(write_module: Write, tmp_path: Path) -> Folder:
    def made(files: Mapping[str, str] | str, tools: str = "", name: str = "shop") -> str:
        files = {"root_agent.yaml": files} if isinstance(files, str) else files
        write_agent(tmp_path.joinpath(*name.split(".")), files, tools)
        importlib.invalidate_caches()
        return name

    return made


async def found(name: str, *modules: str, local: bool = False) -> Resolved:
    return await resolve(name, AgentSettings(modules=modules or (name,), pool="small", local=local))


async def refusal(kind: type[AgentError], name: str, *modules: str, local: bool = False) -> str:
    with pytest.raises(kind) as caught:
        await found(name, *modules, local=local)
    assert type(caught.value) is kind
    return str(caught.value)


# what is found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
async def test_yaml_agents_of_many_shapes_are_found(name: str, write_module: Write, tmp_path: Path) -> None:
    write_agent(tmp_path / "shape", SAMPLES[name])
    importlib.invalidate_caches()
    assert (await found("shape")).root.name


async def test_the_agent_that_the_page_shows_is_found(folder: Folder) -> None:
    page = shown("docs/agents.md", "# weather/root_agent.yaml; the job says spec.agent.module: weather")
    clerks = _CLERK.replace("clerk", "travel")
    files = {"root_agent.yaml": page, "packing.yaml": LLM.replace("root", "packing"), "clerks.py": clerks}
    agent = (await found(folder(files, "def forecast(): ...", "weather"))).root
    assert isinstance(agent, LlmAgent)
    assert (len(agent.tools), [one.name for one in agent.sub_agents]) == (2, ["packing", "travel"])


@pytest.mark.parametrize(
    "file", ["__init__.py", "agent.py"], ids=["in the package", "where adk create puts it"]
)
async def test_an_agent_in_python_comes_before_the_yaml(file: str, folder: Folder) -> None:
    python = "from google.adk.agents import LlmAgent\nroot_agent = LlmAgent(name='python', model='echo')\n"
    assert (await found(folder({"root_agent.yaml": "not: read", file: python}))).root.name == "python"


async def test_python_without_an_agent_leaves_it_to_the_yaml(folder: Folder) -> None:
    name = folder({"root_agent.yaml": LLM, "__init__.py": "from . import agent\n", "agent.py": "LIMIT = 3\n"})
    assert (await found(name)).root.name == "root"


async def test_a_folder_below_a_package_is_found(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: team.shop.tools.refund\n", "def refund(): ...", name="team.shop")
    assert (await found(name, "team")).root.name == "root"


async def test_a_process_makes_the_agent_once(folder: Folder) -> None:
    """As it imports a module once; an agent of a module could have no second parent."""
    name = folder(f"{LLM}sub_agents:\n- code: shop.tools.clerk\n", _CLERK)
    assert (await found(name)).root is (await found(name)).root


async def test_its_models_need_no_allow_list(folder: Folder) -> None:
    """The file is in the image, as a module's code is."""
    name = folder(LLM.replace("echo", "gemini-2.5-flash"))
    settings = AgentSettings(modules=(name,), models=())
    root = (await resolve(name, settings)).root
    assert isinstance(root, LlmAgent)
    assert root.model == "gemini-2.5-flash"


async def test_an_attribute_that_only_the_yaml_has_is_told(folder: Folder) -> None:
    name = folder(LLM)
    assert "Its agent is in root_agent.yaml: shop. " in await refusal(
        AgentNotFound, f"{name}:root_agent", name
    )


async def test_nothing_is_warned_of(folder: Folder) -> None:
    """`adk run` says that the loader is experimental. Warnings of what is deprecated are not shown to users."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        await found(folder(f"{LLM}sub_agents:\n- code: shop.tools.clerk\n", _CLERK))
    assert {one.category for one in told} <= {DeprecationWarning}


_CLERK = "from google.adk.agents import LlmAgent\nclerk = LlmAgent(name='clerk', model='echo')\n"


async def test_an_error_in_a_tool_names_its_file_and_line(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: shop.tools.refund\n", "def refund():\n    raise KeyError('order')\n")
    outcome = await Job(module(name), "echo:call refund {}", modules=(name,)).attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.RETRY, Reason.TOOL_FAILED.value)
    assert "at shop/tools.py:2 in refund" in outcome.message


async def test_a_value_that_adk_ignores_is_a_warning_of_the_run(folder: Folder) -> None:
    name = folder(
        "agent_class: Workflow\nname: flow\nmax_iterationz: 3\nedges:\n- [START, shop.tools.shout]\n",
        "def shout(node_input: str) -> str:\n    return 'LOUD'\n",
    )
    outcome = await Job(module(name), "hello", modules=(name,)).attempt()
    assert outcome.verdict is Verdict.COMPLETE, outcome
    [warning] = outcome.warnings
    assert "does not accept" in warning


async def test_the_template_imports_what_the_files_name(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: shop.tools.refund\n", "def refund(): ...")
    assert imports.preload(name, AgentSettings(modules=(name,))) == ""
    assert "shop.tools" in sys.modules


async def test_the_template_tells_of_a_yaml_that_it_cannot_load(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: shop.tols.refund\n")
    assert "no module 'shop.tols'" in imports.preload(name, AgentSettings(modules=(name,)))


async def test_the_template_does_not_look_at_a_yaml_beside_an_agent_in_python(folder: Folder) -> None:
    python = "from google.adk.agents import LlmAgent\nroot_agent = LlmAgent(name='python', model='echo')\n"
    name = folder({"root_agent.yaml": "- wrong", "agent.py": python})
    assert imports.preload(name, AgentSettings(modules=(name,))) == ""


# invariant 12: what may be named -------------------------------------------------------------------------

NOT_ALLOWED = [
    # (a part of the file, the field that the message names, the name in it)
    ("tools:\n- name: os.system\n", "tools[0].name", "os.system"),
    ("tools:\n- name: builtins.eval\n", "tools[0].name", "builtins.eval"),
    ("tools:\n- name: subprocess.run\n  args: {args: [id]}\n", "tools[0].name", "subprocess.run"),
    ("tools:\n- name: shop_evil.tool\n", "tools[0].name", "shop_evil.tool"),
    ("tools:\n- name: shop.tools.roll\n- name: evil.tool\n", "tools[1].name", "evil.tool"),
    ("tools:\n- name: agentjobs.agents.context.current_job\n", "tools[0].name", "agentjobs.agents.context.current_job"),
    ("tools:\n- name: google.adk.tools.bash_tool.ExecuteBashTool\n", "tools[0].name", "google.adk.tools.bash_tool.ExecuteBashTool"),
    ("tools:\n- name: google.adk.tools.load_web_page.load_web_page\n", "tools[0].name", "google.adk.tools.load_web_page.load_web_page"),
    ("tools:\n- name: google.adk.agents.config_agent_utils.from_config\n", "tools[0].name", "google.adk.agents.config_agent_utils.from_config"),
    ("tools:\n- name: FunctionTool\n  args: {func: evil.tool}\n", "tools[0].args.func", "evil.tool"),
    ("tools:\n- name: google.adk.tools.FunctionTool\n  args: {func: evil.tool}\n", "tools[0].args.func", "evil.tool"),
    ("tools:\n- name: ExampleTool\n  args: {examples: evil.examples}\n", "tools[0].args.examples", "evil.examples"),
    ("tools:\n- name: AgentTool\n  args: {agent: {code: evil.agent}}\n", "tools[0].args.agent.code", "evil.agent"),
    ("tools:\n- name: google.adk.integrations.langchain.LangchainTool\n  args: {tool: evil.search}\n", "tools[0].args.tool", "evil.search"),
    ("before_agent_callbacks:\n- name: evil.hook\n", "before_agent_callbacks[0].name", "evil.hook"),
    ("after_tool_callbacks: [{name: shop.tools.roll}, {name: evil.hook}]\n", "after_tool_callbacks[1].name", "evil.hook"),
    ("sub_agents:\n- code: evil.agent\n", "sub_agents[0].code", "evil.agent"),
    ("output_schema: {name: evil.Place}\n", "output_schema.name", "evil.Place"),
    ("input_schema: {name: pydantic.BaseModel}\n", "input_schema.name", "pydantic.BaseModel"),
    ("model_code: {name: evil.model}\n", "model_code.name", "evil.model"),
    ("agent_class: evil.Agent\n", "agent_class", "evil.Agent"),
    ("agent_class: google.adk.cli.utils.agent_loader.AgentLoader\n", "agent_class", "google.adk.cli.utils.agent_loader.AgentLoader"),
    ("agent_class: Workflow\nedges:\n- [START, evil.node]\n", "edges[0][1]", "evil.node"),
    ("agent_class: Workflow\nedges:\n- [START, {agent_class: evil.Node, name: n}]\n", "edges[0][1].agent_class", "evil.Node"),
    ("agent_class: Workflow\nedges:\n- {from_node: START, to_node: {name: n, func_code: evil.f}}\n", "edges[0].to_node.func_code", "evil.f"),
    ("agent_class: Workflow\nedges:\n- [START, {quick: evil.f, slow: shop.tools.roll}]\n", "edges[0][1].quick", "evil.f"),
    ("tools:\n- &bad {name: evil.tool}\n- *bad\n", "tools[1].name", "evil.tool"),
    ("tools:\n- name: shоp.tools.roll\n", "tools[0].name", "shоp.tools.roll"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "name"), NOT_ALLOWED, ids=[f"{f}: {n}" for _, f, n in NOT_ALLOWED])
async def test_invariant_12_what_the_pool_does_not_allow_is_not_imported(
    text: str, field: str, name: str, folder: Folder, write_module: Write
) -> None:
    for evil in ("evil", "shop_evil", "shоp.tools"):
        write_module(evil, "raise SystemExit('imported')")
    folder(f"{LLM}{text}", "raise SystemExit('imported')")
    message = await refusal(ModuleNotAllowed, "shop")
    assert f"agent.module: shop/root_agent.yaml: {field}: {name!r} is " in message
    top = name.partition(".")[0]
    assert ("standard library" if top in sys.stdlib_module_names else "pools.small.modules") in message
    assert not {"evil", "shop_evil", "shop.tools"} & {*sys.modules}


async def test_invariant_12_a_standard_module_is_refused_though_it_is_allowed(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: os.system\n")
    assert "standard library (os)" in await refusal(ModuleNotAllowed, name, name, "os")
    assert "standard library (os)" in await refusal(ModuleNotAllowed, name, local=True)


async def test_invariant_12_a_function_that_an_allowed_module_only_imported_is_no_tool(
    folder: Folder,
) -> None:
    tools = "from os import getcwd\nfrom functools import partial\nimport shutil\nremove = partial(shutil.rmtree, '/')\n"
    for tool in ("getcwd", "remove"):
        name = folder(f"{LLM}tools:\n- name: shop.tools.{tool}\n", tools)
        assert "which shop.tools only imports" in await refusal(ModuleNotAllowed, name)


async def test_invariant_12_a_name_that_only_a_class_of_ones_own_knows_is_asked_about(
    folder: Folder, write_module: Write
) -> None:
    """Which arguments of a tool are code, its class says; ADK imports them as it builds the tool."""
    write_module("evil", "raise SystemExit('imported')")
    tools = """
from collections.abc import Callable
from google.adk.tools import BaseTool
class Own(BaseTool):
    def __init__(self, rule: Callable[[str], str]):
        super().__init__(name="own", description="Own.")
def good(text: str) -> str: ...
"""
    own = f"{LLM}tools:\n- name: FOLDER.tools.Own\n"
    assert (
        await found(folder(f"{own}  args: {{rule: good.tools.good}}\n", tools, "good"))
    ).root.name == "root"
    message = await refusal(ModuleNotAllowed, folder(f"{own}  args: {{rule: evil.rule}}\n", tools))
    assert "'evil.rule' is in module 'evil'" in message
    assert "evil" not in sys.modules


async def test_invariant_12_adks_loader_asks_about_each_name(folder: Folder) -> None:
    """The function that is made to ask is ADK's, and not public: a version without it must fail this."""
    from google.adk.agents import config_agent_utils

    before = config_agent_utils._validate_module_reference
    await found(folder(LLM))
    assert config_agent_utils._validate_module_reference is before


async def test_each_refused_name_is_told_with_the_pools_list_once(folder: Folder) -> None:
    name = folder(
        {
            "root_agent.yaml": f"{LLM}tools:\n- name: one.a\nsub_agents:\n- config_path: below/two.yaml\n",
            "below/two.yaml": f"{LLM.replace('root', 'two')}before_model_callbacks:\n- name: two.b\n",
        }
    )
    assert (await refusal(ModuleNotAllowed, name)).splitlines() == [
        "agent.module: shop/root_agent.yaml: tools[0].name: 'one.a' is in module 'one'.",
        "agent.module: shop/below/two.yaml: before_model_callbacks[0].name: 'two.b' is in module 'two'.",
        "Worker pool 'small' allows: shop, and ADK's own agents and tools. Name what is in one of these, or have the module added "
        "to pools.small.modules of the chart, or AGENTJOBS_MODULES.",
    ]


@pytest.mark.parametrize(
    "text", ["tools:\n- name: shop.tools.roll\n", "agent_class: FunctionNode\nfunc_code: .tools.roll\n"]
)
async def test_a_name_as_adk_run_wants_it_below_a_package_is_told_with_the_package(
    text: str, folder: Folder
) -> None:
    name = folder(f"{LLM}{text}" if "class" not in text else text, name="team.shop")
    assert "did you mean team.shop.tools.roll?" in await refusal(ModuleNotAllowed, name)


async def test_a_local_run_allows_what_its_callers_files_name(folder: Folder, write_module: Write) -> None:
    write_module("beside", "def tool(): ...")
    assert (await found(folder(f"{LLM}tools:\n- name: beside.tool\n"), local=True)).root.name == "root"


async def test_an_mcp_server_of_a_command_is_refused_as_adk_refuses_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = "tools:\n- name: McpToolset\n  args:\n    stdio_server_params: {command: none-such}\n"
    name = folder(f"{LLM}{server}")
    assert "ADK_ALLOW_CONFIG_STDIO_MCP_SERVERS=1" in await refusal(AgentInvalid, name)
    monkeypatch.setenv("ADK_ALLOW_CONFIG_STDIO_MCP_SERVERS", "1")
    assert (await found(name)).root.name == "root"


async def test_an_mcp_server_at_an_address_is_taken(folder: Folder) -> None:
    server = "streamable_http_connection_params: {url: 'http://127.0.0.1:9/mcp'}, tool_filter: [a]"
    assert (
        await found(folder(f"{LLM}tools:\n- name: McpToolset\n  args: {{{server}}}\n"))
    ).root.name == "root"


def test_fields_of_somebodys_own_class_are_left_to_adk() -> None:
    assert list(
        named_in({"agent_class": "shop.Own", "db_schema": "crm.contacts", "host": "api.example.com"}, "shop")
    ) == [Named("agent_class", "shop.Own", Kind.CLASS)]


def test_what_an_edge_says_beside_its_nodes_names_nothing() -> None:
    edges = [
        {"from_node": "START", "to_node": "shop.a.f", "route": "v1.x"},
        {"condition": "data.get('valid')"},
        [".b.g"],
    ]
    assert list(named_in({"edges": edges}, "shop")) == [
        Named("edges[0].to_node", "shop.a.f", Kind.CODE),
        Named("edges[2][0]", "shop.b.g", Kind.CODE),
    ]


# wrong files ------------------------------------------------------------------------------------------------

WRONG = [
    # (the file, what the message says)
    ("", "it is empty, and an agent is a mapping"),
    ("# nothing\n", "it is empty"),
    ("- a\n", "it is a list, and an agent is a mapping"),
    ("a: [\n", "is not YAML that ADK reads: while parsing a flow node"),
    ("a: !!python/object/apply:os.system [id]\n", "could not determine a constructor for the tag"),
    ("a: !!python/name:os.system\n", "could not determine a constructor for the tag"),
    ("a: 1\n---\nb: 2\n", "expected a single document"),
    ("a: 2026-99-99\n", "is not YAML that ADK reads: month must be in 1..12"),
    ("a: !!bool maybe\n", "is not YAML that ADK reads"),
    ("a: &a [*a]\n", "an alias stands within what it repeats"),
    ("{{" * 5000, "nested too deep"),
    ("[" * 5000 + "]" * 5000, "nested too deep"),
    (f"{LLM}tools:\n- name: gogle_search\n", "tools[0].name: ADK has no tool 'gogle_search'. Did you mean google_search?"),
    (f"{LLM}tools:\n- name: importlib\n", "ADK has no tool 'importlib'. Name a function of your own with its module"),
    (f"{LLM}tools:\n- name: shop.tools.rol\n", "tools[0].name: shop.tools has no 'rol'. Did you mean roll?"),
    (f"{LLM}tools:\n- name: shop.tols.roll\n", "tools[0].name: there is no module 'shop.tols' in this worker's image"),
    (f"{LLM}tools:\n- name: shop.needs.roll\n", "'shop.needs' failed at import: it needs the module 'not_installed_here'"),
    (f"{LLM}tools:\n- name: shop.lacks.roll\n", "tools[0].name: roll of shop.lacks needs the module 'absent', which is not in this worker's image"),
    (f"{LLM}tools:\n- name: shop..roll\n", "tools[0].name: 'shop..roll' is no dotted name"),
    (f"{LLM}tools:\n- name: ../shop.roll\n", "tools[0].name: '../shop.roll' is no dotted name"),
    (f"{LLM}sub_agents:\n- config_path: /etc/passwd\n", "sub_agents[0].config_path: '/etc/passwd' is absolute, or leads out"),
    (f"{LLM}sub_agents:\n- config_path: ../other/root_agent.yaml\n", "'../other/root_agent.yaml' is absolute, or leads out"),
    (f"{LLM}sub_agents:\n- config_path: link.yaml\n", "'link.yaml' is absolute, or leads out of the file's folder"),
    (f"{LLM}sub_agents:\n- config_path: round.yaml\n", "'round.yaml' is no file's path"),
    (f"{LLM}sub_agents:\n- config_path: 'a\\0b'\n".replace("'", '"'), "sub_agents[0].config_path: 'a\\x00b' is no file's path"),
    (f"{LLM}sub_agents:\n- config_path: none.yaml\n", "sub_agents[0].config_path: there is no file 'none.yaml' beside it"),
    (f"{LLM}sub_agents:\n- config_path: .\n", "there is no file '.' beside it"),
    (f"{LLM}sub_agents:\n- config_path: root_agent.yaml\n", "circle: shop/root_agent.yaml → shop/root_agent.yaml"),
    (f"{LLM}tools:\n- name: AgentTool\n  args: {{agent: {{config_path: root_agent.yaml}}}}\n", "tools[0].args.agent.config_path: the files name"),
    ("agent_class: Workflow\nname: w\nedges:\n- [START, root_agent.yaml]\n", "edges[0][1]: the files name each other in a circle"),
    (f"{LLM}instructions: Twice.\n", "instructions: Extra inputs are not permitted"),
    ("name: root\nmodel: echo\n", "instruction: Field required"),
    (f"{LLM}model_code: {{name: shop.tools.roll}}\n", "Only one of `model` or `model_code`"),
    (LLM.replace("root", "no name"), "name: Value error, Node name 'no name' must be a valid Python identifier"),
    (f"{LLM}agent_class: NoAgent\n", "ADK does not accept it"),
    (f"{LLM}tools:\n- name: AgentTool\n  args: {{agent: ./one.yaml}}\n", "agent: Input should be a valid dictionary or instance of AgentRefConfig (AgentToolConfig)."),
    (f"{LLM}tools:\n- name: shop.yaml.unsafe_load\n", "there is no module 'shop.yaml'"),
    (f"{LLM}tools: google_search\n", "tools: Input should be a valid list"),
    (f"{LLM}sub_agents:\n- {{config_path: a.yaml, code: shop.tools.roll}}\n", "there is no file 'a.yaml'"),
    ("name: flow\nagent_class: Workflow\nedges:\n- [START, unknown]\n", "Unknown node 'unknown'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told[:60] for _, told in WRONG])
async def test_a_wrong_file_is_told_with_file_and_field(
    text: str, told: str, folder: Folder, tmp_path: Path
) -> None:
    (tmp_path / "outside.yaml").write_text(LLM)
    name = folder(
        {
            "root_agent.yaml": text,
            "needs.py": "import not_installed_here\n",
            "lacks.py": "def __getattr__(name): import absent\n",
        },
        "def roll(): ...\n",
    )
    (tmp_path / name / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (tmp_path / name / "round.yaml").symlink_to("round.yaml")
    message = await refusal(AgentInvalid, name)
    assert message.startswith("agent.module: shop/root_agent.yaml: ")
    assert told in message


async def test_what_adk_never_imports_is_refused_though_the_pool_allows_it(folder: Folder) -> None:
    name = folder(f"{LLM}tools:\n- name: yaml.unsafe_load\n")
    assert "shop/root_agent.yaml: tools[0].name: Blocked module reference" in await refusal(
        AgentInvalid, name, name, "yaml"
    )


async def test_each_problem_of_each_file_is_on_a_line(folder: Folder) -> None:
    name = folder(
        {
            "root_agent.yaml": f"{LLM}sub_agents:\n- config_path: one.yaml\n- config_path: two.yaml\n- config_path: ../x.yaml\n",
            "one.yaml": "",
            "two.yaml": "- a",
        }
    )
    lines = (await refusal(AgentInvalid, name)).splitlines()
    assert [line.partition(": it is ")[0].partition(": '../")[0] for line in lines] == [
        "agent.module: shop/one.yaml",
        "agent.module: shop/two.yaml",
        "agent.module: shop/root_agent.yaml: sub_agents[2].config_path",
    ]


async def test_what_adk_does_not_accept_is_told_of_the_file_that_has_it(folder: Folder) -> None:
    name = folder(
        {
            "root_agent.yaml": f"{LLM}sub_agents:\n- config_path: one.yaml\n",
            "one.yaml": "name: one\nmodl: echo\ntemperature: 3\n",
        }
    )
    assert sorted((await refusal(AgentInvalid, name)).splitlines()) == [
        "agent.module: shop/one.yaml: instruction: Field required (LlmAgentConfig).",
        "agent.module: shop/one.yaml: modl: Extra inputs are not permitted (LlmAgentConfig).",
        "agent.module: shop/one.yaml: temperature: Extra inputs are not permitted (LlmAgentConfig).",
    ]


async def test_what_the_message_tells_whole_prints_no_traceback(
    folder: Folder, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Job(module(folder("name: root\nmodel: echo\n")), "hello", modules=("shop",))
    run.settings = replace(run.settings, tracebacks=True)
    outcome = await run.attempt()
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, Reason.AGENT_INVALID.value)
    assert "Traceback" not in capfd.readouterr().err


async def test_an_error_of_ones_own_class_names_its_line(folder: Folder) -> None:
    tools = "from google.adk.tools import BaseTool\nclass Own(BaseTool):\n    def __init__(self):\n        raise KeyError('key')\n"
    name = folder(f"{LLM}tools:\n- name: shop.tools.Own\n", tools)
    message = await refusal(AgentInvalid, name)
    assert "KeyError: 'key' at shop/tools.py:4 in __init__" in message


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"k{n}: &k{n} {{<<: [{', '.join([f'*k{n - 1}' if n else '*a'] * 9)}]}}\n" for n in range(30)
)


@pytest.mark.parametrize(
    "text", [BOMB, MERGES, f"a: [{'x, ' * MAX_VALUES}]"], ids=["aliases", "merges", "values"]
)
async def test_a_file_that_stands_for_very_much_is_refused_at_once(text: str, folder: Folder) -> None:
    name, began = folder(text), time.monotonic()
    assert f"more than {MAX_VALUES} keys and values" in await refusal(AgentInvalid, name)
    assert time.monotonic() - began < 30


async def test_a_large_file_is_not_read(folder: Folder) -> None:
    name = folder(f"{LLM}description: {'x' * 10_000_000}\n")
    assert f"at most {MAX_FILE_BYTES}" in await refusal(AgentInvalid, name)


async def test_what_is_no_regular_file_is_not_waited_for(folder: Folder, tmp_path: Path) -> None:
    name = folder({})
    os.mkfifo(tmp_path / name / "root_agent.yaml")
    assert "no regular file" in await refusal(AgentInvalid, name)


async def test_bytes_that_are_no_text_are_told(folder: Folder, tmp_path: Path) -> None:
    name = folder({})
    (tmp_path / name / "root_agent.yaml").write_bytes(b"name: \xff\xfe")
    assert "no UTF-8" not in (message := await refusal(AgentInvalid, name))
    assert "it is not UTF-8 text" in message


async def test_a_tree_that_doubles_at_each_level_is_refused(folder: Folder) -> None:
    files = {
        f"a{n}.yaml": f"name: a{n}\n{LLM[11:]}sub_agents:\n- config_path: a{n + 1}.yaml\n- config_path: a{n + 1}.yaml\n"
        for n in range(12)
    }
    name = folder({**files, "root_agent.yaml": files["a0.yaml"], "a12.yaml": LLM})
    assert f"more than {MAX_AGENTS} agents" in await refusal(AgentInvalid, name)


async def test_agents_below_each_other_are_bounded(folder: Folder) -> None:
    def files(depth: int) -> dict[str, str]:
        chain = {
            f"a{n}.yaml": f"name: a{n}\n{LLM[11:]}sub_agents:\n- config_path: a{n + 1}.yaml\n"
            for n in range(depth)
        }
        return {**chain, f"a{depth}.yaml": LLM, "root_agent.yaml": chain["a0.yaml"].replace("a0", "top")}

    assert (await found(folder(files(MAX_DEPTH - 1), name="deep"))).root.name == "top"
    assert f"more than {MAX_DEPTH} agents below each other" in await refusal(
        AgentInvalid, folder(files(MAX_DEPTH + 1))
    )


async def test_one_file_may_stand_in_two_places(folder: Folder) -> None:
    """As a ConfigMap's files do, it may also be a link within its folder."""
    name = folder(
        {
            "root_agent.yaml": f"{LLM}sub_agents:\n- config_path: one.yaml\n- config_path: below/two.yaml\n",
            "below/two.yaml": LLM.replace("root", "two"),
            "..data/one.yaml": LLM.replace("root", "one"),
        }
    )
    root = Path(importlib.import_module(name).__path__[0])
    (root / "one.yaml").symlink_to("..data/one.yaml")
    agent = (await found(name)).root
    assert isinstance(agent, LlmAgent)
    assert [one.name for one in agent.sub_agents] == ["one", "two"]
