"""The agent of the attempt benches: the deterministic ``echo`` model, one model call, one tool, one more model call."""

from __future__ import annotations

import asyncio

from google.adk.agents import LlmAgent

from agentjobs.agents import echo

MESSAGE = 'hello\necho:call note {"text": "noted"}'
WAITING = 'hello\necho:call wait {"seconds": 600}'


def note(text: str) -> str:
    """Hands the text back."""
    return text


async def wait(seconds: float) -> str:
    """A tool that takes its time."""
    await asyncio.sleep(seconds)
    return "waited"


echo.register()
root_agent = LlmAgent(name="bench", model="echo", instruction="Answer.", tools=[note, wait])
