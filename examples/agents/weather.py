"""A module agent with a tool. An AgentJob names the module, ``agents.weather``; its ``root_agent`` runs."""

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
    print(f"looking up {city}")  # kept with the attempt, and shown where it fails
    forecast = FORECASTS.get(city)
    return forecast or {"error": f"no forecast for {city}; known: {', '.join(FORECASTS)}"}


root_agent = LlmAgent(
    name="weather",
    # "echo" is a built-in model without key or network: it does what the message says.
    # For a real model: model="gemini-2.5-flash", and GOOGLE_API_KEY in the worker's environment.
    model="echo",
    description="Tells tomorrow's weather.",
    instruction="Use get_forecast for every city that the user asks about, then answer in one sentence.",
    tools=[get_forecast],
)
