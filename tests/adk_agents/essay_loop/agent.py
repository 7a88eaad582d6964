"""Loop: a critic and a refiner take turns until the refiner calls exit_loop, which escalates."""

from google.adk.agents import LlmAgent, LoopAgent, SequentialAgent
from google.adk.tools.tool_context import ToolContext

COMPLETION_PHRASE = "No major issues found."


def exit_loop(tool_context: ToolContext) -> dict[str, object]:
    """Call this only when the critique says that nothing is left to improve: it ends the iteration."""
    tool_context.actions.escalate = True
    tool_context.actions.skip_summarization = True
    return {}


initial_writer = LlmAgent(
    name="InitialWriter",
    model="gemini-2.5-flash",
    include_contents="none",
    instruction="Write the first draft of a very short story on the topic: {topic?}",
    output_key="current_document",
)

critic = LlmAgent(
    name="Critic",
    model="gemini-2.5-flash",
    include_contents="none",
    instruction=(
        "Review this document:\n{current_document}\nGive one or two suggestions, "
        f"or say exactly: {COMPLETION_PHRASE}"
    ),
    output_key="criticism",
)

refiner = LlmAgent(
    name="Refiner",
    model="gemini-2.5-flash",
    include_contents="none",
    instruction=(
        "Document:\n{current_document}\nCritique:\n{criticism}\n"
        f"If the critique is exactly '{COMPLETION_PHRASE}', call exit_loop. Else improve the document."
    ),
    tools=[exit_loop],
    output_key="current_document",
)

root_agent = SequentialAgent(
    name="EssayLoop",
    sub_agents=[initial_writer, LoopAgent(name="Refinement", sub_agents=[critic, refiner], max_iterations=5)],
)
