"""The input reader: an answer that jobs share is never older than what makes one of them look."""

from __future__ import annotations

import asyncio
from typing import Any

from agentjobs.api.agentjob import AgentJobSpec
from agentjobs.api.given import Given
from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.values.json import JsonObject

SPEC = AgentJobSpec.model_validate(
    {
        "agent": {"module": "a"},
        "message": "Go.",
        "inputs": [{"name": "a.csv", "artifactRef": {"job": "first", "name": "a.csv"}}],
    }
)
FIRST = {
    "metadata": {"namespace": "team", "name": "first", "uid": "u"},
    "spec": {},
    "status": {"state": "Complete", "artifacts": [{"name": "a.csv", "version": 0}]},
}


class _Objects:
    """An API server that has the AgentJob ``first``, or none."""

    def __init__(self) -> None:
        self.first: JsonObject | None = None
        self.asked = 0

    async def request(self, method: str, path: str, **_: Any) -> Reply:
        self.asked += 1
        return Reply(404, {}) if self.first is None else Reply(200, self.first)


class _Looks:
    """What the reader has found, look by look."""

    def __init__(self) -> None:
        self.found: asyncio.Queue[Given | str] = asyncio.Queue()

    def __call__(self, found: Given | str) -> asyncio.Event:
        self.found.put_nowait(found)
        stored = asyncio.Event()
        stored.set()
        return stored


async def test_a_job_that_is_woken_does_not_take_its_own_last_answer_for_the_present_one() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=3600.0), _Looks()
    reader.read("later", "team", SPEC, looks)
    async with asyncio.timeout(30):
        assert "does not exist" in str(await looks.found.get())
        api.first = FIRST
        reader.completed("team", "first")
        assert isinstance(await looks.found.get(), Given)


async def test_a_new_job_shares_no_answer_that_is_older_than_itself() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=3600.0), _Looks()
    reader.read("one", "team", SPEC, looks)
    async with asyncio.timeout(30):
        assert "does not exist" in str(await looks.found.get())
        api.first = FIRST
        reader.read("two", "team", SPEC, looks)
        assert isinstance(await looks.found.get(), Given)
    await reader.close()


async def test_jobs_that_come_together_share_the_answer_that_something_is_not_there() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=3600.0), _Looks()
    for number in range(50):
        reader.read(f"job-{number}", "team", SPEC, looks)
    async with asyncio.timeout(30):
        for _ in range(50):
            assert "does not exist" in str(await looks.found.get())
    assert api.asked < 10
    await reader.close()
