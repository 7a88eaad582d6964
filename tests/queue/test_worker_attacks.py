"""Everything that a tool can do to its worker, at once, beside twenty innocent jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from agentjobs.worker.process.output import TAIL_BYTES
from agentjobs.worker.supervisor.supervisor import Worker
from processes import alive, until
from worker_agents import call, write_modules
from worker_builders import MEMORY_MIB
from workers import is_ready, job, running_worker, state_of, submit, untold, worker_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewDatabase = Callable[[], AbstractContextManager[str]]
TIMEOUT_SECONDS, LONG_SECONDS = 4, 60
"""Of attempts that are to end by it, and of all others: a busy machine shall not end those."""


@dataclass(frozen=True)
class Attack:
    id: str
    message: str
    reason: str
    """Of its only attempt; several, divided by |, where it depends on the version of Python."""
    told: str = ""
    """Part of the attempt's message."""

    @property
    def timeout_seconds(self) -> int:
        return TIMEOUT_SECONDS if self.reason == "AttemptTimeout" else LONG_SECONDS


ATTACKS = [
    Attack("os._exit", call("crash", status=7), "ExecutorCrashed", "status 7"),
    Attack("a segfault", call("segfault"), "ExecutorCrashed", "SIGSEGV"),
    Attack("sys.exit", call("leave"), "ExecutorCrashed", "sys.exit"),
    Attack("an endless loop in a thread", call("burn_in_thread"), "AttemptTimeout"),
    Attack("an endless loop in the event loop", call("burn"), "AttemptTimeout"),
    Attack("an endless loop that ignores SIGTERM", call("burn_deaf"), "AttemptTimeout"),
    Attack("an endless recursion", call("recurse"), "ToolFailed", "RecursionError"),
    Attack("a recursion that uses up the stack", call("recurse_deeply"), "ExecutorCrashed|ToolFailed"),
    Attack("a memory bomb", call("eat", mib=8 * MEMORY_MIB), "OutOfMemory", "memoryLimitMib"),
    Attack(
        "a memory bomb of several processes",
        call("eat_with_children", children=4, mib=MEMORY_MIB // 2 - 20),
        "OutOfMemory",
        "memoryLimitMib",
    ),
    Attack("a tool that closes every descriptor", call("close_everything"), "ExecutorCrashed"),
    Attack("an async tool that closes every descriptor", call("close_everything_async"), "ExecutorCrashed"),
    Attack("100 MB of output and a crash", call("shout", mib=100) + "\n" + call("crash"), "ExecutorCrashed"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    path = write_modules(tmp_path_factory.mktemp("modules"))
    config = worker_config(database, path, queues={"agents": 8}, memory_limit_mib=MEMORY_MIB)
    async with running_worker(config) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


async def test_twenty_innocent_jobs_beside_every_attack_complete_and_each_attack_ends_with_its_reason(
    queue: Queue, worker: Worker, tmp_path: Path
) -> None:
    templates = worker.executors.templates
    pids = tmp_path / "pids"
    bad = [
        job(attack.message, max_attempts=1, attempt_timeout_seconds=attack.timeout_seconds)
        for attack in ATTACKS
    ]
    good = [job(f"answer {n}", module="innocent", max_attempts=1) for n in range(20)]
    forks = job(call("leave_processes", file=str(pids)), max_attempts=1)
    mixed = [one for pair in zip(bad, good, strict=False) for one in pair] + good[len(bad) :] + [forks]
    await submit(queue, *mixed)

    for n, one in enumerate(good):
        view = await state_of(queue, one.uid, seconds=240)
        assert (view.state, view.result, view.run) == (State.COMPLETE, f"answer {n}", 1)
    for attack, one in zip(ATTACKS, bad, strict=True):
        view = await state_of(queue, one.uid, seconds=240)
        assert (view.state, view.exhausted) == (State.FAILED, True), attack.id
        ended = view.attempts_log[-1]
        assert ended.reason in attack.reason.split("|"), f"{attack.id}: {ended.message}"
        assert attack.told in ended.message, attack.id
        if "output" in attack.id:
            assert len(ended.log_tail.encode()) == TAIL_BYTES
            assert ended.log_tail.endswith("y\nthe end\n")
    assert (await state_of(queue, forks.uid)).state is State.COMPLETE
    left = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: not any(alive(pid) for pid in left), f"{left} are gone")
    assert worker.executors.templates == templates, "the template lives"
    await is_ready(worker)


async def test_a_process_that_has_died_frees_its_slot_by_its_death_alone(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """No beat, no poll, no time limit of a run and no grace comes within the hour."""
    deaths, path = tmp_path / "deaths", write_modules(tmp_path / "modules")
    message = call("crash_at", file=str(deaths))
    with new_database() as dsn:
        one = {"queues": {"one": 1}, "stop_grace_seconds": 3600.0}
        async with untold(dsn, path, **one) as (_, queue):
            dying = [
                job(message, queue="one", max_attempts=1, attempt_timeout_seconds=3600) for _ in range(9)
            ]
            views = [await state_of(queue, uid) for uid in await submit(queue, *dying)]
    assert {view.attempts_log[-1].reason for view in views} == {"ExecutorCrashed"}
    died = sorted(float(line) for line in deaths.read_text().splitlines())
    assert len(died) == 9
    claimed = sorted(view.attempts_log[-1].started_at.timestamp() for view in views)
    assert all(before < after for before, after in zip(died, claimed[1:], strict=False)), "one at a time"
