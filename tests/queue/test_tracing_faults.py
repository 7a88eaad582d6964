"""Tracing harms nothing: collectors that are away or hang, none at all, and exporters of the agents' own."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import State
from collector import Collector, children
from worker_agents import call
from workers import Start, WorkerProcess, job, state_of, step_of, submit

JOBS = 20

OWN_EXPORTER = """
import time
from google.adk.agents import LlmAgent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Slow(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS
    def force_flush(self, timeout_millis=30000):
        time.sleep(60)
        return True

class Processor(SimpleSpanProcessor):
    def force_flush(self, timeout_millis=30000):
        return self.span_exporter.force_flush()

provider = TracerProvider()
provider.add_span_processor(Processor(Slow()))
trace.set_tracer_provider(provider)
root_agent = LlmAgent(name="innocent", model="echo", instruction="Answer.")
"""


async def all_complete(dsn: str, worker: WorkerProcess, module: str = "innocent") -> float:
    """How long JOBS jobs take, in seconds, from the moment that the worker is ready."""
    await worker.event("template.ready")
    async with await Queue.open(dsn) as queue:
        began = time.monotonic()
        uids = await submit(queue, *(job(module=module) for _ in range(JOBS)))
        views = [await state_of(queue, uid) for uid in uids]
        took = time.monotonic() - began
    assert {view.state for view in views} == {State.COMPLETE}
    assert all(view.run == 1 for view in views), "no run was lost or repeated"
    return took


async def ends_well(worker: WorkerProcess) -> None:
    worker.signal(signal.SIGTERM)
    assert await worker.exit() == 0, worker.text()[-4000:]


async def test_a_collector_that_answers_nothing_delays_no_slot_and_no_end(
    dsn: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector(holds=True) as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        worker = start()
        await all_complete(dsn, worker)
        await asyncio.to_thread(collector.wait_until, lambda: bool(collector.spans))
        assert not worker.events("tracing.unsent")
        await ends_well(worker)
        assert worker.events("tracing.unsent"), "what is lost is said"


async def test_a_collector_that_is_away_harms_no_job(
    dsn: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens: refused
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        worker = start()
        await all_complete(dsn, worker)
        await ends_well(worker)


async def test_a_run_of_a_worker_that_is_killed_is_in_the_trace_of_the_one_that_finished_the_job(
    dsn: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector() as collector:
        for name, value in collector.environ.items():
            monkeypatch.setenv(name, value)
        times = {"heartbeat_seconds": 0.5, "expiry_seconds": 6.0}
        first = start(name="first", **times)
        await first.event("template.ready")
        async with await Queue.open(dsn, expiry_seconds=6.0) as queue:
            (uid,) = await submit(queue, job(call("wait_in_first_run")))
            await step_of(queue, uid, "wait_in_first_run")
            await asyncio.to_thread(collector.wait_for, "generate_content echo")
            second = start(name="second", **times)
            await second.event("template.ready")
            first.process.kill()
            view = await state_of(queue, uid)
        assert (view.result, view.attempts) == ("run 2", 1)
        root = await asyncio.to_thread(collector.wait_for, "job agents", view.trace_id)
        runs = [s for s in children(collector.of(view.trace_id), root) if s.name == "process agents"]
        told = [(s.attributes["agentjobs.worker"], s.attributes["agentjobs.outcome"], s.error) for s in runs]
        assert told == [("first", "lost", "WorkerLost"), ("second", "complete", None)]
        assert children(collector.of(view.trace_id), runs[0]) == [], "what had not ended died with its worker"
        (inside,) = children(collector.of(view.trace_id), runs[1])
        assert inside.name.startswith("invoke_")


async def test_an_exporter_of_the_agents_own_that_hangs_delays_no_slot(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "modules" / "innocent.py").write_text(OWN_EXPORTER)
    worker = start()
    assert await all_complete(dsn, worker) < 60, "one of its flushes takes as long"
    await ends_well(worker)


async def test_without_otel_variables_the_supervisor_imports_nothing_of_opentelemetry(
    dsn: str, start: Start
) -> None:
    worker = start()
    await all_complete(dsn, worker)
    await ends_well(worker)
    assert not worker.events("tracing.on")
    assert (await worker.event("the end"))["opentelemetry"] is False


async def test_an_endpoint_that_cannot_be_served_is_said_and_jobs_run(
    dsn: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    worker = start()
    await all_complete(dsn, worker)
    (said,) = worker.events("tracing.off")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'" in said["why"]
    await ends_well(worker)


async def test_a_handler_that_blocks_stops_no_heartbeat_and_no_job_and_no_end(
    dsn: str, start: Start, tmp_path: Path
) -> None:
    hooks = """
import json, pathlib, threading
from agentjobs.telemetry import signals
from agentjobs.telemetry.signals import Signal

signals.subscribe(lambda *_: threading.Event().wait())
signals.subscribe(lambda *_: 1 / 0, Signal.JOB_COMPLETE)

async def told(signal, values):
    with open(FILE, "a") as out:
        print(values["uid"], len(values["events"]), values["event_count"], values["duration_seconds"] > 0, file=out)

signals.subscribe(told, Signal.JOB_COMPLETE)
"""
    file = tmp_path / "told"
    (tmp_path / "modules" / "hooks.py").write_text(hooks.replace("FILE", repr(str(file))))
    worker = start(signal_modules=["hooks"], heartbeat_seconds=0.5, expiry_seconds=2.0)
    await all_complete(dsn, worker)
    async with await Queue.open(dsn) as queue:
        # longer than the expiry: had it stopped beating, it would have lost this one
        (uid,) = await submit(queue, job(call("wait", seconds=4)))
        view = await state_of(queue, uid)
    assert (view.state, view.run) == (State.COMPLETE, 1)
    await ends_well(worker)
    lines = [line.split() for line in file.read_text().splitlines()]
    assert len({line[0] for line in lines}) == len(lines) == JOBS + 1
    assert all(line[1] == line[2] != "0" and line[3] == "True" for line in lines)
    assert "ZeroDivisionError" in worker.text()


async def test_a_signal_module_that_cannot_be_imported_keeps_the_worker_from_starting_and_says_so(
    start: Start,
) -> None:
    worker = start(signal_modules=["no_such_hooks"])
    assert await worker.exit() == 1
    assert "signal_modules: 'no_such_hooks' cannot be imported" in worker.text()
