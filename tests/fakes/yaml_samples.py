"""Yaml agents in the shapes that people write, each named after what of ADK it uses: they behave here as under ADK's Runner.

Each is the files of a folder. CALLS of its module ``tools`` holds what tools and callbacks did; ``FOLDER`` in a file stands for
the folder's name, since the files name their code with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

TOOLS = """
from typing import Any, AsyncGenerator
from google.adk.agents import BaseAgent, LlmAgent
from google.adk.events import Event
from google.adk.models import Gemini
from google.adk.tools import BaseTool, FunctionTool, LongRunningFunctionTool, ToolContext
from google.adk.tools.tool_configs import ToolArgsConfig
from google.genai import types
from pydantic import BaseModel

CALLS = []

def roll(sides: int, tool_context: ToolContext) -> int:
    "Rolls a die."
    CALLS.append(("roll", sides))
    tool_context.state["rolls"] = [*tool_context.state.get("rolls", []), 4]
    return 4

async def is_prime(numbers: list[int]) -> str:
    "Says which are prime."
    CALLS.append(("is_prime", numbers))
    return "none"

class Rename(BaseTool):
    "Renames by a rule that its arguments give."
    def __init__(self, prefix: str, times: int = 1):
        super().__init__(name="rename", description="Renames.")
        self.prefix, self.times = prefix, times
    def _get_declaration(self):
        return types.FunctionDeclaration(name="rename", description="Renames.",
            parameters=types.Schema(type="OBJECT", properties={"name": types.Schema(type="STRING")}))
    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> str:
        CALLS.append(("rename", args["name"]))
        return self.prefix * self.times + args["name"]

def made(args: ToolArgsConfig) -> FunctionTool:
    unit = args.model_extra["unit"]
    def weigh(grams: float) -> str:
        "Weighs."
        CALLS.append(("weigh", grams))
        return f"{grams} {unit}"
    return FunctionTool(weigh)

ready = FunctionTool(is_prime)

def before(callback_context):
    CALLS.append(("before", callback_context.agent_name))
    callback_context.state["greeted"] = True

def before_model(callback_context, llm_request):
    llm_request.append_instructions(["Be brief."])

def after_model(callback_context, llm_response):
    CALLS.append("after_model")

def before_tool(tool, args, tool_context):
    CALLS.append(("before_tool", tool.name))

def after_tool(tool, args, tool_context, tool_response):
    return {"result": tool_response, "checked": True}

class Place(BaseModel):
    city: str
    days: int

class Counting(BaseAgent):
    "An agent of one's own, with a field of its own."
    upto: int = 1
    async def _run_async_impl(self, ctx) -> AsyncGenerator[Event, None]:
        for number in range(self.upto):
            yield Event(author=self.name, content=types.Content(role="model", parts=[types.Part(text=str(number))]))

clerk = LlmAgent(name="clerk", model="gemini-2.5-flash", description="Helps with papers.", instruction="Help.")

pro = Gemini(model="gemini-2.5-pro")

def shout(node_input: str) -> str:
    "Shouts."
    CALLS.append(("shout", node_input))
    return "LOUD"
"""

_AGENT = "model: gemini-2.5-flash\ninstruction: Answer.\n"

SAMPLES: dict[str, dict[str, str]] = {
    "what adk create writes": {
        "root_agent.yaml": "name: root_agent\ndescription: A helpful assistant for user questions.\n"
        "instruction: Answer user questions to the best of your knowledge\nmodel: gemini-2.5-flash\n"
    },
    "generate_content_config and output_key": {
        "root_agent.yaml": f"name: brief\n{_AGENT}output_key: said\ngenerate_content_config:\n  temperature: 0.1\n  max_output_tokens: 99\n"
    },
    "functions as tools": {
        "root_agent.yaml": f"name: dice\n{_AGENT}tools:\n- name: FOLDER.tools.roll\n- name: FOLDER.tools.is_prime\n"
    },
    "a tool object, a class and a function with arguments": {
        "root_agent.yaml": f"name: kit\n{_AGENT}tools:\n- name: FOLDER.tools.ready\n"
        "- name: FOLDER.tools.Rename\n  args: {prefix: re, times: 2}\n"
        "- name: FOLDER.tools.made\n  args: {unit: grams}\n"
    },
    "ADK's own tools": {
        "root_agent.yaml": f"name: search\n{_AGENT}tools:\n- name: google_search\n- name: google.adk.tools.url_context\n"
    },
    "ADK's ExampleTool and FunctionTool": {
        "root_agent.yaml": f"name: shown\n{_AGENT}tools:\n"
        "- name: ExampleTool\n  args:\n    examples:\n    - input: {role: user, parts: [{text: Hello}]}\n"
        "      output: [{role: model, parts: [{text: Hi}]}]\n"
        "- name: FunctionTool\n  args: {func: FOLDER.tools.roll}\n"
    },
    "callbacks": {
        "root_agent.yaml": f"name: watched\n{_AGENT}tools:\n- name: FOLDER.tools.roll\n"
        "before_agent_callbacks:\n- name: FOLDER.tools.before\n"
        "before_model_callbacks:\n- name: FOLDER.tools.before_model\nafter_model_callbacks:\n- name: FOLDER.tools.after_model\n"
        "before_tool_callbacks:\n- name: FOLDER.tools.before_tool\nafter_tool_callbacks:\n- name: FOLDER.tools.after_tool\n"
    },
    "output_schema": {
        "root_agent.yaml": f"name: guide\n{_AGENT}output_key: place\noutput_schema:\n  name: FOLDER.tools.Place\n"
    },
    "a model object": {
        "root_agent.yaml": "name: pro\ninstruction: Answer.\nmodel_code:\n  name: FOLDER.tools.pro\n"
    },
    "sub_agents by config_path and by code": {
        "root_agent.yaml": f"name: desk\n{_AGENT}sub_agents:\n- config_path: prime.yaml\n- config_path: below/dice.yaml\n"
        "- code: FOLDER.tools.clerk\n",
        "prime.yaml": f"name: prime\ndescription: Knows primes.\n{_AGENT}tools:\n- name: FOLDER.tools.is_prime\n",
        "below/dice.yaml": f"name: dice\ndescription: Rolls.\n{_AGENT}sub_agents:\n- config_path: deeper.yaml\n",
        "below/deeper.yaml": f"agent_class: LlmAgent\nname: deeper\ndescription: Deep.\n{_AGENT}",
    },
    "AgentTool": {
        "root_agent.yaml": f"name: boss\n{_AGENT}tools:\n- name: AgentTool\n  args:\n    agent: {{config_path: helper.yaml}}\n"
        "    skip_summarization: false\n",
        "helper.yaml": f"name: helper\ndescription: Helps.\n{_AGENT}tools:\n- name: FOLDER.tools.roll\n",
    },
    "SequentialAgent": {
        "root_agent.yaml": "agent_class: SequentialAgent\nname: line\nsub_agents:\n- config_path: one.yaml\n- config_path: two.yaml\n",
        "one.yaml": f"name: one\noutput_key: first\n{_AGENT}",
        "two.yaml": "name: two\nmodel: gemini-2.5-flash\ninstruction: Continue {first}.\n",
    },
    "LoopAgent": {
        "root_agent.yaml": "agent_class: LoopAgent\nname: rounds\nmax_iterations: 3\nsub_agents:\n- config_path: writer.yaml\n"
        "- config_path: critic.yaml\n",
        "writer.yaml": f"name: writer\n{_AGENT}tools:\n- name: FOLDER.tools.roll\n",
        "critic.yaml": f"name: critic\n{_AGENT}tools:\n- name: exit_loop\n",
    },
    "ParallelAgent": {
        "root_agent.yaml": "agent_class: ParallelAgent\nname: panel\nsub_agents:\n- config_path: one.yaml\n- config_path: two.yaml\n",
        "one.yaml": f"name: one\n{_AGENT}",
        "two.yaml": f"name: two\n{_AGENT}",
    },
    "an agent class of one's own": {
        "root_agent.yaml": "agent_class: FOLDER.tools.Counting\nname: counter\nupto: 3\n"
    },
    "a Workflow": {
        "root_agent.yaml": "agent_class: Workflow\nname: flow\nedges:\n- [START, one.yaml, FOLDER.tools.shout]\n",
        "one.yaml": f"name: one\n{_AGENT}",
    },
    "anchors and Windows' line ends": {
        "root_agent.yaml": "name: paired\r\nmodel: &m gemini-2.5-flash\r\ninstruction: |\r\n  Answer.\r\n  Briefly.\r\n"
        "sub_agents:\r\n- config_path: one.yaml\r\n",
        "one.yaml": "\ufeffname: one\r\ndescription: č\r\nmodel: gemini-2.5-flash\r\ninstruction: Answer.\r\n",
    },
}


def write_agent(folder: Path, files: Mapping[str, str], tools: str = TOOLS) -> Path:
    """Writes an agent's folder: its files, and the module ``tools``, without an ``__init__.py``."""
    for name, text in {"tools.py": tools, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.replace("FOLDER", folder.name).encode())
    return folder
