"""Workers in processes of their own: killed, drained, and looked into."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from processes import alive, family, until
from worker_agents import call
from workers import Start, job, state_of, step_of, submit


def proc(pid: int, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()


async def test_a_supervisor_never_imports_adk_and_shows_no_secret(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    worker = start()
    async with await Queue.open(dsn) as queue:
        (uid,) = await submit(queue, job(call("environment", name="AGENTJOBS_DATABASE_URL")))
        view = await state_of(queue, uid, seconds=120)
    assert view.result == "(absent)", f"an executor sees the DSN of the queue: {view.message}"
    template = (await worker.event("template.ready"))["pid"]
    for file in ("environ", "cmdline"):
        assert dsn not in proc(template, file)
    assert dsn not in proc(worker.pid, "cmdline")
    resident = int(proc(worker.pid, "statm").split()[1]) * 4096
    assert resident < 80 * 2**20, "the supervisor is small"
    worker.signal(signal.SIGTERM)
    assert await worker.exit() == 0
    end = await worker.event("the end")
    assert end["heavy_modules"] == []
    assert end["dumpable"] == 0, "other processes of its user cannot read its memory and environment"
    assert dsn not in worker.text()
    assert not alive(template)


async def test_invariant_4_the_runs_of_a_killed_worker_are_finished_by_another(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    first = start(heartbeat_seconds=1.0, expiry_seconds=4.0)
    file = tmp_path / "runs"
    message = call("note", file=str(file)) + "\n" + call("wait", seconds=4)
    async with await Queue.open(dsn, expiry_seconds=4.0) as queue:
        await first.event("template.ready")
        uids = await submit(queue, *(job(message, max_attempts=1) for _ in range(5)))
        for uid in uids:
            await state_of(queue, uid, State.RUNNING)
        template = first.events("template.ready")[0]["pid"]
        second = start(heartbeat_seconds=1.0, expiry_seconds=4.0)
        await second.event("template.ready")
        first.process.kill()
        await until(lambda: not alive(template), "executors do not outlive their supervisor")
        views = [await state_of(queue, uid) for uid in uids]
    assert {view.state for view in views} == {State.COMPLETE}
    assert all(view.attempts == 1 for view in views), "the loss is refunded"
    assert all(view.run == 1 + (view.attempts_log[0].reason == "WorkerLost") for view in views)
    notes = Counter(line.split()[0] for line in file.read_text().splitlines())
    assert all(1 <= notes[str(uid)] <= view.run for uid, view in zip(uids, views, strict=True))


async def test_sigterm_lets_short_runs_finish_gives_back_long_ones_and_claims_nothing(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = start(drain_seconds=6.0)
    async with await Queue.open(dsn) as queue:
        await worker.event("template.ready")
        (short,) = await submit(queue, job(call("wait_for", file=str(gate))))
        (long,) = await submit(queue, job(call("wait", seconds=600), max_attempts=1))
        await step_of(queue, short, "wait_for")
        await step_of(queue, long, "wait")
        worker.signal(signal.SIGTERM)
        await worker.event("worker.drain")
        gate.touch()
        (late,) = await submit(queue, job(module="innocent"))
        assert await worker.exit() == 0
        views = {uid: await state_of(queue, uid, *State) for uid in (short, long, late)}
    assert views[short].state is State.COMPLETE
    assert (views[long].state, views[long].attempts) == (State.QUEUED, 0)
    given_back = views[long].attempts_log[-1]
    assert (given_back.outcome, given_back.reason, given_back.charged) == ("release", "Drained", False)
    assert (views[late].state, views[late].run) == (State.QUEUED, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hurries_the_drain(dsn: str, start: Start, number: signal.Signals) -> None:
    worker = start(drain_seconds=600.0)
    async with await Queue.open(dsn) as queue:
        await worker.event("template.ready")
        (uid,) = await submit(queue, job(call("wait")))
        await state_of(queue, uid, State.RUNNING)
        worker.signal(number)
        await worker.event("worker.drain")
        worker.signal(number)
        assert await worker.exit() == 0
        view = await queue.show(uid)
    assert view is not None
    assert (view.state, view.attempts, view.attempts_log[-1].reason) == (State.QUEUED, 0, "Drained")


async def test_a_third_signal_kills_what_does_not_stop(dsn: str, start: Start) -> None:
    worker = start(drain_seconds=600.0, stop_grace_seconds=600.0)
    async with await Queue.open(dsn) as queue:
        await worker.event("template.ready")
        (uid,) = await submit(queue, job(call("burn_deaf")))
        await state_of(queue, uid, State.RUNNING)
        for event in ("worker.drain", "worker.hurry", "worker.kill"):
            worker.signal(signal.SIGTERM)
            await worker.event(event)
        assert await worker.exit() == 0
        view = await queue.show(uid)
    assert view is not None
    assert (view.state, view.attempts, view.attempts_log[-1].reason) == (State.QUEUED, 0, "Drained")


@pytest.mark.parametrize(
    "phase", ["worker.start", "worker.registered", "template.ready", "job.start", "job.complete"]
)
async def test_sigterm_in_every_phase_ends_the_worker_and_loses_no_job(
    dsn: str, start: Start, phase: str
) -> None:
    """Starting, warming, idle or claiming, in the first run, in the middle of many."""
    async with await Queue.open(dsn) as queue:
        uids = await submit(queue, *(job(f"hello {n}", module="innocent", max_attempts=1) for n in range(20)))
        worker = start(drain_seconds=30.0)
        await worker.event(phase)
        processes = family(worker.pid)
        worker.signal(signal.SIGTERM)
        assert await worker.exit() == 0
        await until(lambda: not any(alive(pid) for pid in processes), "nothing of it is left")
        for uid in uids:
            view = await queue.show(uid)
            assert view is not None
            assert (view.state, view.run, view.attempts) in [(State.COMPLETE, 1, 1), (State.QUEUED, 0, 0)]
        start()
        views = [await state_of(queue, uid) for uid in uids]
    assert {(view.state, view.run) for view in views} == {(State.COMPLETE, 1)}


@pytest.mark.parametrize("phase", ["worker.registered", "job.start"])
async def test_a_killed_supervisor_leaves_no_process_and_loses_no_job(
    dsn: str, start: Start, phase: str
) -> None:
    short = {"heartbeat_seconds": 1.0, "expiry_seconds": 4.0}
    async with await Queue.open(dsn, expiry_seconds=4.0) as queue:
        messages = [call("wait", seconds=1) for _ in range(20)]
        uids = await submit(queue, *(job(message, max_attempts=1) for message in messages))
        worker = start(**short)
        await worker.event(phase)
        processes = family(worker.pid)
        worker.process.kill()
        await until(lambda: not any(alive(pid) for pid in processes), "nothing of it is left")
        start(**short)
        views = [await state_of(queue, uid) for uid in uids]
    assert {(view.state, view.attempts) for view in views} == {(State.COMPLETE, 1)}


async def test_a_drained_jobs_next_run_is_another_workers(dsn: str, start: Start) -> None:
    first = start(drain_seconds=0.1)
    async with await Queue.open(dsn) as queue:
        await first.event("template.ready")
        (uid,) = await submit(queue, job(call("wait_in_first_run")))
        await state_of(queue, uid, State.RUNNING)
        second = start()
        await second.event("template.ready")
        first.signal(signal.SIGTERM)
        assert await first.exit() == 0
        view = await state_of(queue, uid)
    assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 2)
    assert view.result == "run 2"


async def test_every_log_line_is_json_and_each_transition_names_its_job(dsn: str, start: Start) -> None:
    worker = start()
    async with await Queue.open(dsn) as queue:
        (uid,) = await submit(queue, job("private words\n" + call("crash_first_run")))
        await state_of(queue, uid, seconds=120)
    worker.signal(signal.SIGTERM)
    assert await worker.exit() == 0
    lines = worker.text().splitlines()
    assert all(line.startswith("{") for line in lines), [line for line in lines if not line.startswith("{")]
    told = [line for line in worker.events() if line.get("uid") == str(uid)]
    assert [line["event"] for line in told] == ["job.start", "job.retry", "job.start", "job.complete"]
    assert all(
        line["namespace"] == "team" and line["queue"] == "agents" and line["run"] and line["attempt"]
        for line in told
    )
    assert "private words" not in worker.text()
