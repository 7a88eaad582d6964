"""The input reader: an answer that jobs share is never older than what makes one of them look, and what is missing is asked
for rarely, however many jobs miss it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from agentjobs.api.agentjob import AgentJobSpec
from agentjobs.api.given import Given
from agentjobs.controller.agentjob.input_reader import InputReader
from agentjobs.controller.agentjob.look_turns import GETS_A_SECOND
from agentjobs.controller.apiserver.reply import Reply
from agentjobs.values.json import JsonObject
from controller_builders import until

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
    """An API server that has no AgentJobs but those that a test puts in."""

    def __init__(self) -> None:
        self.there: dict[str, JsonObject] = {}
        self.asked: list[str] = []
        """Names, as often as they were asked for."""

    async def request(self, method: str, path: str, **_: Any) -> Reply:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        return Reply(200, self.there[name]) if name in self.there else Reply(404, {})


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
        api.there["first"] = FIRST
        reader.completed("team", "first")
        assert isinstance(await looks.found.get(), Given)


async def test_a_new_job_shares_no_answer_that_is_older_than_itself() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=3600.0), _Looks()
    reader.read("one", "team", SPEC, looks)
    async with asyncio.timeout(30):
        assert "does not exist" in str(await looks.found.get())
        api.there["first"] = FIRST
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
    assert len(api.asked) < 10
    await reader.close()


def naming(number: int) -> AgentJobSpec:
    """Of a job that waits for an AgentJob of its own."""
    reference = {"job": f"job-{number}", "name": "a.csv"}
    return AgentJobSpec.model_validate(
        {"agent": {"module": "a"}, "message": "Go.", "inputs": [{"name": "a.csv", "artifactRef": reference}]}
    )


async def have_looked(reader: InputReader, looks: _Looks, jobs: int) -> None:
    """That many jobs of team have looked for what they miss; in turns, 400 of them would take 100 seconds."""
    api: Any = reader.api
    for number in range(jobs):
        reader.read(f"job-{number}", "team", naming(number), looks)
    async with asyncio.timeout(60):
        while len(set(api.asked)) < jobs:
            await looks.found.get()


async def test_jobs_that_miss_something_each_ask_a_few_times_a_second_however_many_they_are() -> None:
    api: Any = _Objects()
    reader, looks, others = InputReader(api, first_seconds=0.01), _Looks(), _Looks()
    await have_looked(reader, looks, 400)
    first, began = len(api.asked), time.monotonic()
    await asyncio.sleep(2.0)
    again = len(api.asked) - first
    assert 0 < again <= GETS_A_SECOND * (time.monotonic() - began) + 1
    reader.read("other", "elsewhere", naming(1), others)
    async with asyncio.timeout(30):
        for _ in range(2):
            await others.found.get()
    api.there["job-399"] = FIRST
    reader.completed("team", "job-399")
    async with asyncio.timeout(30):  # in the queue its turn would come after a minute or more
        while not isinstance(await looks.found.get(), Given):
            pass
    await reader.close()


async def test_what_is_there_at_last_is_had_by_all_that_wait_for_it_without_a_pause() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=0.05), _Looks()
    for number in range(100):
        reader.read(f"job-{number}", "team", SPEC, looks)
    await asyncio.sleep(0.2)
    api.there["first"] = FIRST
    given = 0
    async with asyncio.timeout(20):
        while given < 100:
            given += isinstance(await looks.found.get(), Given)
    await asyncio.sleep(0)
    assert not reader._tasks
    await reader.close()


async def test_jobs_that_are_deleted_while_they_wait_for_their_turn_leave_the_others_before() -> None:
    api: Any = _Objects()
    reader, looks = InputReader(api, first_seconds=0.01), _Looks()
    await have_looked(reader, looks, 200)
    await asyncio.sleep(0.3)
    for number in range(199):
        reader.drop(f"job-{number}")
    while not looks.found.empty():
        looks.found.get_nowait()
    async with asyncio.timeout(20):  # behind the others, its turn would come after 50 seconds
        await looks.found.get()
    await reader.close()
    await until(lambda: not reader._turns)
