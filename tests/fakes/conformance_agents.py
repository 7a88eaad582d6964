"""Agents in the shapes that people write, each named after what of ADK it uses: they behave here as under ADK's Runner.

Each is the source of a module; HEAD comes before it. CALLS holds what tools, nodes and callbacks did, as values that compare.
"""

from __future__ import annotations

HEAD = """
import asyncio, enum, json, sqlite3
from typing import Any, AsyncGenerator, Literal, Optional
from google.adk.agents import BaseAgent, LlmAgent, LoopAgent, ParallelAgent, SequentialAgent
from google.adk.apps import App
from google.adk.code_executors import BuiltInCodeExecutor
from google.adk.events import Event, EventActions
from google.adk.models import Gemini, LlmResponse
from google.adk.planners import BuiltInPlanner, PlanReActPlanner
from google.adk.plugins import BasePlugin
from google.adk.tools import AgentTool, BaseTool, FunctionTool, ToolContext, exit_loop, google_search, load_artifacts, load_memory, preload_memory
from google.adk.tools.base_toolset import BaseToolset
from google.adk.tools.example_tool import ExampleTool
from google.adk.workflow import START, JoinNode, Workflow
from google.genai import types
from pydantic import BaseModel
CALLS = []
def llm(name="agent", instruction="Answer.", **more):
    return LlmAgent(name=name, model="gemini-2.5-flash", instruction=instruction, **more)
def said(text):
    return types.Content(role="model", parts=[types.Part(text=text)])
def look_up(city: str) -> dict:
    "Looks up a city."
    CALLS.append(("look_up", city))
    return {"city": city, "inhabitants": 3}
async def weigh(grams: float) -> str:
    "Weighs."
    await asyncio.sleep(0)
    CALLS.append(("weigh", grams))
    return f"{grams} g"
class Place(BaseModel):
    city: str
    days: int
"""

AGENTS: dict[str, str] = {
    # an LLM agent -----------------------------------------------------------------------------------------
    "an instruction": "root_agent = llm()",
    "an instruction from a function": "root_agent = llm(instruction=lambda context: f'Answer {context.user_content.parts[0].text}')",
    "an instruction from a coroutine": """
async def instruct(context):
    return f"You are {context.agent_name}."
root_agent = llm(instruction=instruct)
""",
    "global_instruction": "root_agent = llm(global_instruction='Be brief.', sub_agents=[llm('clerk', description='Helps.')])",
    "static_instruction": "root_agent = llm(static_instruction='You are a clerk.')",
    "a variable in the instruction": """
def set_user(callback_context):
    callback_context.state["customer"] = "Ada"
root_agent = llm(instruction="Greet {customer}, born {born?}.", before_agent_callback=set_user)
""",
    "output_key": "root_agent = llm(output_key='answer')",
    "output_schema": "root_agent = llm(output_schema=Place, output_key='place')",
    "output_schema with tools": "root_agent = llm(output_schema=Place, tools=[look_up])",
    "generate_content_config": "root_agent = llm(generate_content_config=types.GenerateContentConfig(temperature=0.1, max_output_tokens=99))",
    "a model object": "root_agent = LlmAgent(name='agent', model=Gemini(model='gemini-2.5-pro'), instruction='Answer.')",
    "include_contents none": "root_agent = SequentialAgent(name='r', sub_agents=[llm('one'), llm('two', include_contents='none')])",
    "BuiltInPlanner": "root_agent = llm(planner=BuiltInPlanner(thinking_config=types.ThinkingConfig(include_thoughts=True)), tools=[look_up])",
    "PlanReActPlanner": "root_agent = llm(planner=PlanReActPlanner(), tools=[look_up])",
    "code_executor": "root_agent = llm(code_executor=BuiltInCodeExecutor())",
    "google_search": "root_agent = llm(tools=[google_search])",
    "an attribute agent()": """
made = llm("made", tools=[look_up])
def agent():
    return made
root_agent = made
""",
    # tools --------------------------------------------------------------------------------------------------
    "a synchronous tool": "root_agent = llm(tools=[look_up])",
    "an asynchronous tool": "root_agent = llm(tools=[weigh])",
    "several tools": "root_agent = llm(tools=[look_up, weigh])",
    "tools called in one answer": """
def add(item: str, tool_context: ToolContext) -> list:
    "Adds to the cart."
    cart = list(tool_context.state.get("cart", []))
    tool_context.state["cart"] = [*cart, item]
    CALLS.append(("add", item))
    return tool_context.state["cart"]
def count(tool_context: ToolContext) -> int:
    "Counts the cart."
    return len(tool_context.state.get("cart", []))
root_agent = llm("together", tools=[add, count, weigh])
""",
    "parameters of many kinds": """
class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"
def order(item: str, number: int = 1, size: Size = Size.SMALL, how: Literal["fast", "slow"] = "slow",
          tags: Optional[list[str]] = None, place: Optional[Place] = None, gift: bool = False) -> dict:
    "Orders."
    CALLS.append(("order", item, number, str(size), how, tags, str(place), gift))
    return {"ordered": number}
root_agent = llm(tools=[order])
""",
    "results that are no objects": """
def nothing() -> None:
    "Nothing."
    CALLS.append("nothing")
def words() -> list[str]:
    "Words."
    return ["a", "b"]
def number() -> int:
    "A number."
    return 7
root_agent = llm(tools=[nothing, words, number])
""",
    "a tool that tells an error": """
def refuse(why: str) -> dict:
    "Refuses."
    CALLS.append("refuse")
    return {"error": why}
root_agent = llm(tools=[refuse])
""",
    "a connection of the module's thread": """
books = sqlite3.connect(":memory:")
books.execute("create table book (title text)")
def store(title: str) -> int:
    "Stores."
    books.execute("insert into book values (?)", (title,))
    CALLS.append(("store", title))
    return books.execute("select count(*) from book").fetchone()[0]
root_agent = llm(tools=[store])
""",
    "a tool that uses the loop": """
def schedule() -> str:
    "Schedules."
    asyncio.get_event_loop().create_task(asyncio.sleep(0))
    CALLS.append("schedule")
    return "scheduled"
root_agent = llm(tools=[schedule])
""",
    "state from a tool": """
def remember(note: str, tool_context: ToolContext) -> str:
    "Remembers."
    tool_context.state["note"] = note
    tool_context.state["user:notes"] = 1
    tool_context.state["app:notes"] = 2
    tool_context.state["temp:note"] = "gone"
    CALLS.append(("remember", note))
    return "remembered"
def recall(tool_context: ToolContext) -> dict:
    "Recalls."
    return {key: tool_context.state.get(key) for key in ("note", "user:notes", "app:notes", "temp:note")}
root_agent = llm(tools=[remember, recall])
""",
    "state by actions": """
def mark(tool_context: ToolContext) -> str:
    "Marks."
    tool_context.actions.state_delta["marked"] = {"by": tool_context.agent_name}
    CALLS.append("mark")
    return "marked"
root_agent = llm(tools=[mark])
""",
    "an artifact saved and loaded": """
async def write(tool_context: ToolContext) -> int:
    "Writes."
    CALLS.append("write")
    await tool_context.save_artifact("report.txt", types.Part(text="draft"))
    return await tool_context.save_artifact("report.txt", types.Part.from_bytes(data=b"\\x00final", mime_type="application/pdf"))
async def read(tool_context: ToolContext) -> str:
    "Reads."
    part = await tool_context.load_artifact("report.txt")
    first = await tool_context.load_artifact("report.txt", version=0)
    return f"{part.inline_data.data!r} after {first.text}" if part else "nothing"
async def search(tool_context: ToolContext) -> list:
    "Lists."
    return await tool_context.list_artifacts()
root_agent = llm(tools=[write, read, search])
""",
    "an artifact of a user": """
async def keep(tool_context: ToolContext) -> int:
    "Keeps."
    CALLS.append("keep")
    return await tool_context.save_artifact("user:photo.png", types.Part.from_bytes(data=b"png", mime_type="image/png"))
root_agent = llm(tools=[keep])
""",
    "load_artifacts": """
async def keep(callback_context):
    if not await callback_context.list_artifacts():
        await callback_context.save_artifact("notes.txt", types.Part(text="notes"))
root_agent = llm(tools=[load_artifacts], before_agent_callback=keep)
""",
    "an image that a tool made is shown to the model": """
async def draw(tool_context: ToolContext) -> int:
    "Draws."
    CALLS.append("draw")
    return await tool_context.save_artifact("x", types.Part.from_bytes(data=bytes(range(256)) * 256, mime_type="image/png"))
root_agent = llm(tools=[draw, load_artifacts])
""",
    "an image in each request": """
def show(callback_context, llm_request):
    image = types.Part.from_bytes(data=bytes(range(256)) * 256, mime_type="image/png")
    llm_request.contents.append(types.Content(role="user", parts=[image, types.Part(text="This is it.")]))
root_agent = llm(before_model_callback=show, tools=[look_up, weigh])
""",
    "load_memory": "root_agent = llm(tools=[load_memory])",
    "preload_memory": "root_agent = llm(tools=[preload_memory])",
    "skip_summarization": """
def answer(tool_context: ToolContext) -> str:
    "Answers."
    tool_context.actions.skip_summarization = True
    CALLS.append("answer")
    return "the tool's own words"
root_agent = llm(tools=[answer])
""",
    "a transfer by a tool": """
def pass_on(tool_context: ToolContext) -> str:
    "Passes on."
    tool_context.actions.transfer_to_agent = "clerk"
    CALLS.append("pass_on")
    return "passed on"
root_agent = llm("desk", tools=[pass_on], sub_agents=[llm("clerk", description="Helps.")])
""",
    "a class of tools": """
class Ring(BaseTool):
    def __init__(self):
        super().__init__(name="ring", description="Rings.")
    def _get_declaration(self):
        return types.FunctionDeclaration(name="ring", description="Rings.", parameters=types.Schema(
            type="OBJECT", properties={"times": types.Schema(type="INTEGER")}, required=["times"]))
    async def run_async(self, *, args, tool_context):
        CALLS.append(("ring", args["times"]))
        return {"rang": args["times"]}
root_agent = llm(tools=[Ring()])
""",
    "a callable object": """
class Adder:
    "Adds."
    def __call__(self, a: int, b: int) -> int:
        "Adds."
        CALLS.append(("add", a, b))
        return a + b
root_agent = llm(tools=[FunctionTool(Adder())])
""",
    "a toolset": """
class Shed(BaseToolset):
    async def get_tools(self, readonly_context=None):
        return [FunctionTool(look_up), FunctionTool(weigh)]
root_agent = llm(tools=[Shed()])
""",
    "ExampleTool": """
from google.adk.examples.example import Example
root_agent = llm(tools=[ExampleTool([Example(
    input=types.Content(role="user", parts=[types.Part(text="2 + 2")]), output=[said("4")])])])
""",
    "exit_loop": "root_agent = LoopAgent(name='r', max_iterations=4, sub_agents=[llm('writer'), llm('critic', tools=[exit_loop])])",
    # callbacks and plugins --------------------------------------------------------------------------------
    "before_agent_callback answers": "root_agent = llm(before_agent_callback=lambda callback_context: said('closed today'))",
    "after_agent_callback adds": "root_agent = llm(after_agent_callback=lambda callback_context: said('and goodbye'))",
    "before_model_callback answers": """
def answer(callback_context, llm_request):
    return LlmResponse(content=said("from the cache"))
root_agent = llm(before_model_callback=answer)
""",
    "before_model_callback changes": """
def change(callback_context, llm_request):
    llm_request.config.temperature = 0.5
    callback_context.state["asked"] = callback_context.state.get("asked", 0) + 1
root_agent = llm(before_model_callback=change, tools=[look_up])
""",
    "after_model_callback changes": """
async def change(callback_context, llm_response):
    if llm_response.content.parts[0].text:
        return LlmResponse(content=said(llm_response.content.parts[0].text.upper()))
root_agent = llm(after_model_callback=change, tools=[look_up])
""",
    "before_tool_callback answers": """
def answer(tool, args, tool_context):
    CALLS.append(("before", tool.name))
    return {"from": "the callback"}
root_agent = llm(before_tool_callback=answer, tools=[look_up])
""",
    "after_tool_callback changes": """
def change(tool, args, tool_context, tool_response):
    return {**tool_response, "checked": True}
root_agent = llm(after_tool_callback=change, tools=[look_up])
""",
    "on_tool_error_callback": """
def fail(city: str) -> str:
    "Fails."
    CALLS.append("fail")
    raise LookupError(city)
def mend(tool, args, tool_context, error):
    return {"mended": type(error).__name__}
root_agent = llm(on_tool_error_callback=mend, tools=[fail])
""",
    "several callbacks": """
def first(callback_context):
    callback_context.state["seen"] = ["first"]
def second(callback_context):
    callback_context.state["seen"] = [*callback_context.state["seen"], "second"]
root_agent = llm(before_agent_callback=[first, second], after_agent_callback=[lambda callback_context: None])
""",
    "an App with a plugin": """
class Counter(BasePlugin):
    async def before_tool_callback(self, *, tool, tool_args, tool_context):
        tool_context.state["tools"] = tool_context.state.get("tools", 0) + 1
    async def after_model_callback(self, *, callback_context, llm_response):
        callback_context.state["models"] = callback_context.state.get("models", 0) + 1
root_agent = llm(tools=[look_up])
app = App(name="desk", root_agent=root_agent, plugins=[Counter(name="counter")])
""",
    "a plugin that changes the message": """
class Prefix(BasePlugin):
    async def on_user_message_callback(self, *, invocation_context, user_message):
        return types.Content(role="user", parts=[types.Part(text="Please: " + user_message.parts[0].text)])
root_agent = llm()
app = App(name="desk", root_agent=root_agent, plugins=[Prefix(name="prefix")])
""",
    # several agents --------------------------------------------------------------------------------------
    "a transfer": "root_agent = llm('desk', sub_agents=[llm('clerk', description='Helps.', tools=[look_up])])",
    "a transfer over two": """
root_agent = llm("desk", sub_agents=[llm("clerk", description="Helps.", sub_agents=[llm("expert", description="Knows.", tools=[weigh])])])
""",
    "transfers that are not allowed": """
root_agent = llm("desk", sub_agents=[
    llm("clerk", description="Helps.", tools=[look_up], disallow_transfer_to_parent=True, disallow_transfer_to_peers=True),
    llm("porter", description="Carries.")])
""",
    "AgentTool": "root_agent = llm('desk', tools=[AgentTool(llm('expert', description='Knows.', tools=[look_up]))])",
    "AgentTool with schemas": """
root_agent = llm("desk", tools=[AgentTool(llm("expert", description="Knows.", input_schema=Place, output_schema=Place))])
""",
    "AgentTool in AgentTool": """
inner = llm("inner", description="Knows more.", output_key="inner_answer")
root_agent = llm("desk", tools=[AgentTool(llm("outer", description="Knows.", tools=[AgentTool(inner)]))])
""",
    "SequentialAgent": """
root_agent = SequentialAgent(name="r", sub_agents=[
    llm("writer", output_key="draft"), llm("reviewer", "Review {draft}.", tools=[look_up], output_key="review"), llm("editor", "Mend {draft}: {review}.")])
""",
    "a sequence in a sequence": """
inner = SequentialAgent(name="inner", sub_agents=[llm("one", output_key="one"), llm("two", "After {one}.")])
root_agent = SequentialAgent(name="r", sub_agents=[inner, llm("three")])
""",
    "LoopAgent": "root_agent = LoopAgent(name='r', max_iterations=2, sub_agents=[llm('writer', output_key='draft'), llm('critic', 'Judge {draft}.')])",
    "a long run": """
def note(step: int, tool_context: ToolContext) -> int:
    "Notes."
    CALLS.append(step)
    tool_context.state["noted"] = tool_context.state.get("noted", 0) + step
    return tool_context.state["noted"]
writers = [llm(f"writer_{n}", output_key=f"draft_{n}", include_contents="none", tools=[note]) for n in range(6)]
root_agent = SequentialAgent(name="r", sub_agents=[*writers, LoopAgent(name="again", max_iterations=3, sub_agents=[llm("critic", "Judge {draft_5}.")])])
""",
    "ParallelAgent": "root_agent = ParallelAgent(name='r', sub_agents=[llm('optimist', output_key='good'), llm('pessimist', output_key='bad')])",
    "parallel, then one": """
panel = ParallelAgent(name="panel", sub_agents=[llm("optimist", output_key="good"), llm("pessimist", output_key="bad", tools=[look_up])])
root_agent = SequentialAgent(name="r", sub_agents=[panel, llm("judge", "Weigh {good} and {bad}.")])
""",
    "an own BaseAgent": """
class Clock(BaseAgent):
    async def _run_async_impl(self, ctx) -> AsyncGenerator[Event, None]:
        CALLS.append("clock")
        yield Event(invocation_id=ctx.invocation_id, author=self.name, content=said("It is noon."),
                    actions=EventActions(state_delta={"time": "noon"}))
root_agent = Clock(name="clock")
""",
    "an own BaseAgent that directs others": """
class Director(BaseAgent):
    first: LlmAgent
    second: LlmAgent
    async def _run_async_impl(self, ctx):
        async for event in self.first.run_async(ctx):
            yield event
        if ctx.session.state.get("plan"):
            async for event in self.second.run_async(ctx):
                yield event
one, two = llm("planner", output_key="plan"), llm("actor", "Do {plan}.")
root_agent = Director(name="director", first=one, second=two, sub_agents=[one, two])
""",
    # workflows --------------------------------------------------------------------------------------------
    "a Workflow of functions": """
def read(node_input: str) -> Event:
    CALLS.append("read")
    return Event(output=node_input.upper(), state={"read": node_input})
def sign(node_input: str) -> str:
    CALLS.append("sign")
    return f"{node_input} -- signed"
root_agent = Workflow(name="desk", edges=[(START, read, sign)])
""",
    "a Workflow with an agent": """
def read(node_input: str) -> str:
    CALLS.append("read")
    return node_input.strip()
def sign(node_input: str) -> str:
    CALLS.append("sign")
    return f"{node_input} -- signed"
root_agent = Workflow(name="desk", edges=[(START, read, llm("planner", output_key="plan", tools=[look_up]), sign)])
""",
    "a Workflow with routes": """
def choose(node_input: str) -> Event:
    CALLS.append("choose")
    return Event(output=node_input, route="long" if len(node_input) > 3 else "short")
def long(node_input: str) -> str:
    CALLS.append("long")
    return f"long: {node_input}"
def short(node_input: str) -> str:
    return f"short: {node_input}"
root_agent = Workflow(name="desk", edges=[(START, choose), (choose, {"long": long, "short": short})])
""",
    "a Workflow that joins": """
def left(node_input: str) -> str:
    CALLS.append("left")
    return "left"
def right(node_input: str) -> str:
    return "right"
def both(node_input: dict) -> str:
    return json.dumps(node_input, sort_keys=True)
join = JoinNode(name="join")
root_agent = Workflow(name="desk", edges=[(START, (left, right), join, both)])
""",
    "a Workflow in a Workflow": """
def read(node_input: str) -> str:
    CALLS.append("read")
    return node_input
def sign(node_input: str) -> str:
    return f"{node_input} -- signed"
inner = Workflow(name="inner", edges=[(START, read, llm("planner"))])
root_agent = Workflow(name="desk", edges=[(START, inner, sign)])
""",
}
