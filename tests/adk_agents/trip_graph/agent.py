"""A graph: functions and agents as nodes of a Workflow."""

from google.adk import Event
from google.adk.agents import LlmAgent
from google.adk.workflow import START, Workflow


def read_city(node_input: str) -> Event:
    return Event(output=node_input.strip().rstrip("?!."), state={"city": node_input.strip().rstrip("?!.")})


planner = LlmAgent(
    name="planner", model="gemini-2.5-flash", instruction="Plan a day in {city}.", output_key="plan"
)


def sign(node_input: str) -> str:
    return f"{node_input}\n-- the trip planner"


root_agent = Workflow(name="trip_graph", edges=[(START, read_city, planner, sign)])
