"""A worker with a real queue: jobs go in, answers come out, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from agentjobs.queue.numbers import POLL_SECONDS
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob, State
from agentjobs.telemetry import signals
from agentjobs.telemetry.signals import Signal
from agentjobs.worker.supervisor.payload import VERSION
from agentjobs.worker.supervisor.supervisor import Worker
from processes import until
from worker_agents import call, write_modules
from workers import is_ready, job, running_worker, state_of, step_of, submit, untold, worker_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewDatabase = Callable[[], AbstractContextManager[str]]


class Counted(Queue):
    """The real queue; counts what goes to the database."""

    statements = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for database in (self._db, self._beats):
            database.fetch = self._counting(database.fetch)  # type: ignore[method-assign]

    @staticmethod
    def _counting(fetch: Any) -> Any:
        async def counted(*args: Any) -> Any:
            Counted.statements += 1
            return await fetch(*args)

        return counted


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(database: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    path = write_modules(tmp_path_factory.mktemp("modules"))
    config = worker_config(
        database, path, queues={"agents": 5, "few": 2}, health_port=0, health_host="127.0.0.1"
    )
    async with running_worker(config, Counted) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def queue(database: str, worker: Worker) -> AsyncIterator[Queue]:
    async with await Queue.open(database, application_name="test") as opened:
        yield opened


async def test_a_job_goes_in_and_its_answer_comes_out(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("shout", mib=0) + "\nWell?"))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.result) == (State.COMPLETE, "Completed", "Well?\nshouted")
    assert (view.attempts, view.run, view.event_count) == (1, 1, 3)
    assert view.usage.llm_calls == 2
    assert view.usage.total_tokens > 0
    assert view.session_id == f"job-{uid}"
    assert view.worker == "test-worker"


async def test_an_idle_worker_is_woken_by_a_job_and_needs_no_poll(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    path = write_modules(tmp_path / "modules")
    with new_database() as dsn:
        async with untold(dsn, path) as (worker, queue):
            for _ in range(4):
                await until(
                    lambda: worker.executors.idle_standbys and not worker.runs.unacked, "a standby waits"
                )
                (uid,) = await submit(queue, job(module="innocent"))
                await state_of(queue, uid)


async def test_an_executor_that_is_killed_costs_an_attempt_and_the_next_one_answers(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("crash_first_run")))
    view = await state_of(queue, uid)
    assert (view.state, view.result, view.attempts, view.run) == (State.COMPLETE, "run 2", 2, 2)
    first = view.attempts_log[0]
    assert (first.outcome, first.reason, first.charged) == ("retry", "ExecutorCrashed", True)
    assert "SIGKILL" in first.message


async def test_a_job_that_always_crashes_fails_after_its_attempts(queue: Queue) -> None:
    (uid,) = await submit(queue, job("before\n" + call("crash", status=3), max_attempts=2))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.attempts, view.exhausted) == (
        State.FAILED,
        "ExecutorCrashed",
        2,
        True,
    )
    assert "status 3" in view.message


async def test_an_attempt_that_takes_too_long_is_stopped_and_says_so(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("burn_deaf"), attempt_timeout_seconds=1, max_attempts=1))
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.exhausted) == (State.FAILED, "AttemptTimeout", True)
    assert view.message.startswith("stopped after ")


async def test_a_tool_that_raises_leaves_its_lines_of_code_and_no_value_in_log_and_tail(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (uid,) = await submit(queue, job(call("raises", customer="a secret name"), max_attempts=1))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "ToolFailed")
    assert re.search(
        r"Tool 'raises': A tool failed\. \(KeyError: .* at abuse.py:\d+ in look_up\)$", view.message
    )
    told = re.fullmatch(
        r"ToolFailed came through:\n  (abuse.py:\d+ in raises)\n  (abuse.py:\d+ in look_up)\n",
        view.attempts_log[-1].log_tail,
    )
    assert told, view.attempts_log[-1].log_tail
    await until(lambda: "job.discard" in caplog.text, "the end is told")
    fields = next(vars(r)["agentjobs_fields"] for r in caplog.records if r.getMessage() == "job.discard")
    assert fields["frames"] == list(told.groups())
    assert "secret" not in str([vars(record) for record in caplog.records])


async def test_a_session_store_that_was_emptied_under_a_running_worker_is_made_anew(
    queue: Queue, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("drop schema adk cascade")
    uids = await submit(queue, *(job(f"answer {n}", max_attempts=1) for n in range(4)))
    for n, uid in enumerate(uids):
        view = await state_of(queue, uid)
        assert (view.state, view.result, view.run) == (State.COMPLETE, f"answer {n}", 1), view.message


async def test_what_a_run_printed_stays_with_its_attempt(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("shout", mib=0) + "\n" + call("crash"), max_attempts=1))
    view = await state_of(queue, uid)
    assert view.attempts_log[-1].log_tail == "the end\n"


async def test_a_running_job_can_be_cancelled(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("wait")))
    await state_of(queue, uid, State.RUNNING)
    assert await queue.cancel(uid) is State.RUNNING
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.CANCELLED, "Cancelled")


async def test_a_synchronous_tool_keeps_neither_progress_nor_a_cancel_from_its_job(
    queue: Queue, tmp_path: Path
) -> None:
    (uid,) = await submit(queue, job(call("sleep", file=str(tmp_path / "inside"))))
    await step_of(queue, uid, "sleep")
    view = await state_of(queue, uid, State.RUNNING)
    assert (view.event_count, view.usage.llm_calls, view.usage.tool_calls) == (1, 1, 1)
    assert await queue.cancel(uid) is State.RUNNING
    view = await state_of(queue, uid)
    assert (view.state, view.reason, view.run) == (State.CANCELLED, "Cancelled", 1)


async def test_h19_a_running_job_can_be_suspended_and_resumed_without_losing_an_attempt(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("wait_in_first_run")))
    await state_of(queue, uid, State.RUNNING)
    await queue.suspend(uid)
    view = await state_of(queue, uid, State.SUSPENDED)
    assert view.attempts == 0
    assert (view.attempts_log[-1].outcome, view.attempts_log[-1].charged) == ("release", False)
    await queue.resume(uid)
    view = await state_of(queue, uid)
    assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 2)


async def test_h20_a_deadline_stops_a_running_job(queue: Queue) -> None:
    (uid,) = await submit(queue, job(call("wait"), active_deadline_seconds=1))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "DeadlineExceeded")


async def test_a_rate_limit_waits_as_asked_and_burns_no_attempt(queue: Queue) -> None:
    (uid,) = await submit(queue, job("echo:fail 429 1 1\nok", module="innocent", max_attempts=1))
    view = await state_of(queue, uid)
    assert (view.state, view.attempts, view.run) == (State.COMPLETE, 1, 2)
    first = view.attempts_log[0]
    assert (first.outcome, first.reason, first.charged) == ("snooze", "ModelRateLimited", False)
    assert first.next_at is not None
    assert (first.next_at - first.ended_at).total_seconds() >= 1


async def test_h23_never_more_runs_than_slots_and_free_slots_of_one_queue_are_not_anothers(
    queue: Queue, worker: Worker
) -> None:
    uids = await submit(queue, *(job(call("wait", seconds=0.2), queue="few") for _ in range(7)))
    most = 0
    while (await state_of(queue, uids[-1], *State)).state is not State.COMPLETE:
        running = [run for run in worker.runs.running.values() if run.job.queue == "few"]
        most = max(most, len(running))
    views = [await state_of(queue, uid) for uid in uids]
    assert {view.state for view in views} == {State.COMPLETE}
    assert most == 2


async def test_many_jobs_at_once_all_answer_once(queue: Queue, tmp_path: Path) -> None:
    file = tmp_path / "runs"
    uids = await submit(queue, *(job(call("note", file=str(file))) for _ in range(40)))
    for uid in uids:
        assert (await state_of(queue, uid)).state is State.COMPLETE
    assert sorted(line.split()[0] for line in file.read_text().splitlines()) == sorted(map(str, uids))


async def test_h30_a_payload_for_a_newer_worker_is_given_back_with_its_attempt(queue: Queue) -> None:
    newer = job()
    (uid,) = await submit(queue, NewJob(uid=newer.uid, payload={**newer.payload, "v": VERSION + 1}))
    view = await state_of(queue, uid, State.RETRYING)
    assert (view.attempts, view.reason) == (0, "PayloadUnsupported")
    await queue.cancel(uid)


async def test_a_payload_that_nobody_can_run_fails_and_says_why(queue: Queue) -> None:
    (uid,) = await submit(queue, NewJob(uid=job().uid, payload={"v": 1, "agent": "text"}))
    view = await state_of(queue, uid)
    assert (view.state, view.reason) == (State.FAILED, "InvalidSpec")
    assert "payload.agent" in view.message


async def test_progress_names_tools_and_counts(queue: Queue, worker: Worker) -> None:
    (uid,) = await submit(queue, job(call("wait")))
    await step_of(queue, uid, "wait")
    view = await state_of(queue, uid, State.RUNNING)
    assert (view.event_count, view.step) == (1, "wait")
    assert view.usage.total_tokens > 0
    await queue.cancel(uid)
    await state_of(queue, uid)


async def test_signals_tell_the_whole_life_of_a_job(queue: Queue) -> None:
    got: list[tuple[Signal, Mapping[str, Any]]] = []
    undo = signals.subscribe(lambda signal, values: got.append((signal, values)))
    try:
        (uid,) = await submit(queue, job(call("crash_first_run")))
        await state_of(queue, uid)
        await until(lambda: got and got[-1][0] is Signal.JOB_COMPLETE, "job.complete")
    finally:
        undo()
    mine = [(signal, values) for signal, values in got if values["uid"] == str(uid)]
    assert [signal for signal, _ in mine if signal is not Signal.JOB_EVENT] == [
        Signal.JOB_START,
        Signal.JOB_EXCEPTION,
        Signal.JOB_RETRY,
        Signal.JOB_START,
        Signal.JOB_COMPLETE,
    ]
    complete = mine[-1][1]
    assert complete["event_count"] == len(complete["events"]) > 0
    assert (complete["namespace"], complete["queue"], complete["attempt"]) == ("team", "agents", 2)


async def test_signals_tell_that_a_schedule_created_the_job(queue: Queue) -> None:
    got: list[tuple[Signal, Mapping[str, Any]]] = []
    undo = signals.subscribe(
        lambda signal, values: got.append((signal, values)), Signal.SCHEDULE_START, Signal.SCHEDULE_STOP
    )
    try:
        of_none, scheduled = job("hello"), job("hello")
        scheduled.payload["schedule"] = {"uid": "u", "name": "brief", "time": "2026-11-25T06:00:00Z"}
        await submit(queue, of_none, scheduled)
        await state_of(queue, of_none.uid)
        await until(lambda: got and got[-1][0] is Signal.SCHEDULE_STOP, "schedule.stop")
    finally:
        undo()
    assert [signal for signal, _ in got] == [Signal.SCHEDULE_START, Signal.SCHEDULE_STOP]
    start, stop = got[0][1], got[1][1]
    assert start["uid"] == stop["uid"] == str(scheduled.uid)
    assert (start["schedule"], start["scheduled_time"]) == ("brief", "2026-11-25T06:00:00Z")
    assert stop["outcome"] is Signal.JOB_COMPLETE
    assert stop["duration_seconds"] > 0


async def test_no_text_of_a_conversation_is_in_the_log(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    uids = await submit(
        queue, job("my secret words"), job("my secret words\n" + call("crash"), max_attempts=1)
    )
    for uid in uids:
        await state_of(queue, uid)
    await until(lambda: "job.discard" in caplog.text and "job.complete" in caplog.text, "both ends are told")
    assert not [r for r in caplog.records if "secret" in str(vars(r))]


async def test_health_says_ready_and_why_not(queue: Queue, worker: Worker) -> None:
    await is_ready(worker)
    assert (await get(worker, "/healthz"))[0] == 200
    assert (await get(worker, "/readyz"))[0] == 200
    status, metrics = await get(worker, "/metrics")
    assert status == 200
    assert "agentjobs_worker_ready 1.0\n" in metrics
    assert (await get(worker, "/other"))[0] == 404

    template = worker.executors.template_pid
    assert template is not None
    (uid,) = await submit(queue, job(call("wait_in_first_run"), max_attempts=1))
    await state_of(queue, uid, State.RUNNING)
    os.kill(template, signal.SIGKILL)
    await until(lambda: not worker.executors.ready, "the death of the template is seen")
    status, text = await get(worker, "/readyz")
    assert (status, text) == (503, "the template is not warm yet\n")
    await is_ready(worker)
    view = await state_of(queue, uid)
    assert (view.state, view.attempts) == (State.COMPLETE, 1), "its only attempt was refunded"
    assert (view.attempts_log[0].reason, view.attempts_log[0].charged) == ("ExecutorCrashed", False)


async def test_h14_a_suspect_job_runs_alone(queue: Queue, worker: Worker, database: str) -> None:
    suspect = job(call("wait", seconds=1), suspend=True)
    (uid,) = await submit(queue, suspect)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("update agentjobs.waiting set losses = 3 where state = 's'")
    await queue.resume(uid)
    others = await submit(queue, *(job(call("wait", seconds=0.1)) for _ in range(5)))
    alone = 0
    while (await state_of(queue, uid, *State)).state is not State.COMPLETE:
        running = list(worker.runs.running.values())
        if any(run.job.solo for run in running):
            assert len(running) == 1
            alone += 1
    assert alone > 0
    for other in others:
        assert (await state_of(queue, other)).state is State.COMPLETE


async def test_h26_an_idle_worker_makes_at_most_two_statements_a_second(queue: Queue, worker: Worker) -> None:
    await until(lambda: not worker.runs.running and not worker.runs.unacked, "the worker is idle")
    before, began = Counted.statements, asyncio.get_running_loop().time()
    await asyncio.sleep(10)
    seconds = asyncio.get_running_loop().time() - began
    kept_alive = seconds / POLL_SECONDS  # the listening connection's own
    statements = Counted.statements - before + kept_alive
    assert 0.5 * seconds < statements <= 2 * seconds, f"{statements} statements in {seconds:.1f} s"


async def get(worker: Worker, page: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.health.port)
    writer.write(f"GET {page} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body
