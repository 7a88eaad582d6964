"""A module agent with a tool. AgentJobs name it as ``agents.weather``; what is found in it is ``root_agent``."""

from __future__ import annotations

from google.adk.agents import LlmAgent

FORECASTS = {
    "Berlin": {"sky": "light rain", "celsius": 9},
    "Lisbon": {"sky": "sunny", "celsius": 21},
    "Oslo": {"sky": "snow", "celsius": -2},
}


def get_forecast(city: str) -> dict[str, object]:
    """Tomorrow's weather in a city.

    Args:
        city: the city's English name.
    """
    print(f"looking up {city}")  # kept with the attempt: shown when it fails
    forecast = FORECASTS.get(city)
    return forecast or {"error": f"no forecast for {city}; known: {', '.join(FORECASTS)}"}


root_agent = LlmAgent(
    name="weather",
    # "echo" is built in: it needs no key and no network, and does what the message tells it to.
    # For a real model: model="gemini-2.5-flash", and GOOGLE_API_KEY in the worker's environment.
    model="echo",
    description="Tells tomorrow's weather.",
    instruction="Use get_forecast for every city that the user asks about, then answer in one sentence.",
    tools=[get_forecast],
)
