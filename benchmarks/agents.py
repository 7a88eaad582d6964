"""The agent of the attempt benches: the deterministic ``echo`` model, one model call, one tool, one more model call."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from google.adk.agents import LlmAgent

from agentjobs.agents.definition import echo

MESSAGE = 'hello\necho:call note {"text": "noted"}'
WAITING = 'hello\necho:call wait {"seconds": 600}'


def note(text: str) -> str:
    """Hands the text back."""
    return text


async def wait(seconds: float) -> str:
    """A tool that takes its time."""
    await asyncio.sleep(seconds)
    return "waited"


def crash(file: str) -> None:
    """Says when, and is gone."""
    with Path(file).open("a") as out:
        out.write(f"{time.time()}\n")
    os._exit(1)


echo.register()
root_agent = LlmAgent(name="bench", model="echo", instruction="Answer.", tools=[note, wait])
mortal = LlmAgent(name="mortal", model="echo", instruction="Answer.", tools=[crash])
"""Apart: each tool of an agent adds to what its run costs."""
