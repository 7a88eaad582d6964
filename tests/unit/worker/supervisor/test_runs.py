"""What a worker holds: slots, acks, progress."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from agentjobs.agents.verdict.outcome import AgentEvent
from agentjobs.queue.records import Ack, AckKind
from agentjobs.worker.process.ended import Ended
from agentjobs.worker.process.stopping import Why
from agentjobs.worker.supervisor.reports import ending
from agentjobs.worker.supervisor.runs import Run, Runs
from worker_builders import claimed

ME, FORMER = UUID(int=1), UUID(int=2)


def run_of(token: int = 1, *, id: int = 1, queue: str = "agents", worker: UUID = ME, **changes: Any) -> Run:
    return Run(claimed(id=id, token=token, queue=queue, **changes), worker)


def end(runs: Runs, run: Run, kind: AckKind = AckKind.COMPLETE) -> None:
    runs.end(run, Ack(run.job.id, run.job.token, kind))


def test_h23_free_slots_are_per_queue() -> None:
    runs = Runs({"agents": 2, "scheduled": 1})
    runs.add(run_of(1))
    runs.add(run_of(2, id=2, queue="scheduled"))
    assert runs.free() == {"agents": 1}


def test_an_ended_run_frees_its_slot_before_its_ack_is_answered() -> None:
    runs = Runs({"agents": 1})
    run = run_of()
    runs.add(run)
    assert runs.free() == {}
    end(runs, run)
    assert runs.free() == {"agents": 1}


def test_h8_a_heartbeat_names_running_and_unanswered_runs_of_this_uuid_only() -> None:
    runs = Runs({"agents": 9})
    running, ended, former = run_of(1), run_of(2, id=2), run_of(3, id=3, worker=FORMER)
    for run in (running, ended, former):
        runs.add(run)
    end(runs, ended)
    end(runs, former)
    assert runs.in_hand(ME) == [(1, 1), (2, 2)]
    runs.answered(ended.key)
    assert runs.in_hand(ME) == [(1, 1)]
    assert runs.workers() == {FORMER}, "what ended before the expiry is said under the old uuid"


def test_h14_while_a_suspect_runs_nothing_else_is_claimed() -> None:
    runs = Runs({"agents": 5, "scheduled": 5})
    suspect = run_of(solo=True)
    runs.add(suspect)
    assert runs.free() == {}
    end(runs, suspect)
    assert runs.free() == {"agents": 5, "scheduled": 5}


def test_two_acks_of_one_job_are_said_one_after_the_other() -> None:
    runs = Runs({"agents": 9})
    first, second = run_of(1), run_of(2)
    end(runs, first, AckKind.RETRY)
    end(runs, second)
    assert [ack.token for ack in runs.acks_of(ME, 10)] == [1]
    runs.answered(first.key)
    assert [ack.token for ack in runs.acks_of(ME, 10)] == [2]


def test_a_lost_run_leaves_nothing_to_say() -> None:
    runs = Runs({"agents": 1})
    run = run_of()
    runs.add(run)
    runs.end(run, None)
    assert runs.in_hand(ME) == []
    assert runs.acks_of(ME, 10) == []


def test_progress_is_told_once_per_change() -> None:
    runs = Runs({"agents": 1})
    run = run_of()
    runs.add(run)
    assert runs.progress(ME) == []
    run.saw(AgentEvent("agent", "tool_call", tool="search"))
    (row,) = runs.progress(ME)
    assert row.step == "search"
    runs.progress_stored([row])
    assert runs.progress(ME) == []


async def test_a_run_that_has_not_started_remembers_why_it_must_not() -> None:
    run = run_of()
    run.stop(Why.DRAIN)
    run.stop(Why.CANCEL)
    run.stop(Why.SUSPEND)
    assert run.stop_asked is Why.CANCEL
    assert run.stop_wanted.is_set()


@pytest.mark.parametrize(
    ("kind", "last", "signal"),
    [
        (AckKind.COMPLETE, False, "job.complete"),
        (AckKind.RETRY, False, "job.retry"),
        (AckKind.RETRY, True, "job.discard"),
        (AckKind.FAIL, False, "job.discard"),
        (AckKind.SNOOZE, True, "job.snooze"),
        (AckKind.RELEASE, True, "job.snooze"),
        (AckKind.CANCEL, False, "job.cancel"),
    ],
)
def test_every_end_has_its_signal(kind: AckKind, last: bool, signal: str) -> None:
    assert ending(Ack(1, 1, kind), last=last) == signal


def test_names_are_names_and_never_the_message() -> None:
    run = run_of()
    run.ended = Ended()
    assert "hello" not in str(run.names())
    assert run.names()["namespace"] == "team"


@pytest.mark.parametrize(
    ("events", "step", "where"),
    [
        ([("agent", "text", "")], "agent", "at agent"),
        ([("agent", "tool_call", "eat")], "eat", "in tool eat"),
        ([("agent", "tool_call", "eat"), ("agent", "error", "")], "eat", "in tool eat"),
        (
            [("agent", "tool_call", "eat"), ("agent", "tool_result", "eat"), ("writer", "error", "")],
            "writer",
            "at writer",
        ),
        (
            [("agent", "tool_call", "eat"), ("agent", "error", ""), ("writer", "error", "")],
            "writer",
            "at writer",
        ),
    ],
)
def test_a_run_is_at_the_tool_whose_call_failed_and_else_where_the_last_event_came_from(
    events: list[tuple[str, str, str]], step: str, where: str
) -> None:
    run = run_of()
    for author, kind, tool in events:
        run.saw(AgentEvent(author, kind, tool))
    assert (run.step, run.where) == (step, where)
