"""Parallel fan-out, then gather: three researchers at once, and one who puts their findings together."""

from google.adk.agents import LlmAgent, ParallelAgent, SequentialAgent


def _researcher(topic: str) -> LlmAgent:
    return LlmAgent(
        name=f"{topic.title()}Researcher",
        model="gemini-2.5-flash",
        description=f"Researches {topic}.",
        instruction=f"Sum up the latest on {topic} in one sentence.",
        output_key=f"{topic}_result",
    )


research = ParallelAgent(
    name="Research", sub_agents=[_researcher("energy"), _researcher("vehicles"), _researcher("carbon")]
)

synthesis = LlmAgent(
    name="Synthesis",
    model="gemini-2.5-flash",
    instruction=(
        "Combine these summaries into a report, and use nothing else:\n"
        "Energy: {energy_result}\nVehicles: {vehicles_result}\nCarbon: {carbon_result}"
    ),
)

root_agent = SequentialAgent(name="ResearchPanel", sub_agents=[research, synthesis])
