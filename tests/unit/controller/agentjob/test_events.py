"""Events are derived from the runs above the last posted one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agentjobs.controller.agentjob.events import events_of, posted_run_of, response_refused, retry_refused
from agentjobs.controller.kit.event import body_of
from agentjobs.queue.records import AttemptRecord, JobView, OutboxEntry, State
from controller_builders import AT, REF, UID, attempt, entry, job

END = AT + timedelta(minutes=1)


def told(found: OutboxEntry) -> list[str]:
    return [event.reason.value for event in events_of(found)]


def ended(state: State, *log: AttemptRecord, **fields: object) -> JobView:
    run = log[-1].run if log else 0
    view = job(
        state, run=run, attempts=run, started_at=AT if log else None, finished_at=END, attempts_log=log
    )
    return replace(view, **fields)  # type: ignore[arg-type]


LAST = {"ended_at": END}
CASES = {
    "success at once": (entry(ended(State.COMPLETE, attempt(1, outcome="complete", **LAST))), ["JobCompleted"]),
    "a failed attempt": (
        entry(job(State.RETRYING, run=1, attempts_log=(attempt(1, next_at=END),))),
        ["AttemptFailed"],
    ),
    "told before": (entry(job(State.RETRYING, run=1, attempts_log=(attempt(1),)), posted_run=1), []),
    "a time-out": (
        entry(job(State.RETRYING, run=1, attempts_log=(attempt(1, reason="AttemptTimeout"),))),
        ["AttemptTimeout"],
    ),
    "a lost worker": (
        entry(job(State.QUEUED, run=1, attempts_log=(attempt(1, outcome="lost", reason="WorkerLost"),))),
        ["WorkerLost"],
    ),
    "a claim that was never known": (
        entry(job(State.QUEUED, run=1, attempts_log=(attempt(1, outcome="lost", reason="ClaimLost"),))),
        [],
    ),
    "a rate limit": (
        entry(job(State.RETRYING, run=1, attempts_log=(attempt(1, outcome="snooze", reason="ModelRateLimited"),))),
        ["ModelRateLimited"],
    ),
    "the second rate limit in a row": (
        entry(
            job(
                State.RETRYING, run=2,
                attempts_log=tuple(attempt(n, outcome="snooze", reason="ModelRateLimited") for n in (1, 2)),
            ),
            posted_run=1,
        ),
        [],
    ),
    "a drain": (entry(job(State.QUEUED, run=1, attempts_log=(attempt(1, outcome="release", reason="Drained"),))), []),
    "a question": (
        entry(job(State.INPUT_REQUIRED, run=1, attempts_log=(attempt(1, outcome="ask", message="It asks (tool x)."),))),
        ["InputRequired"],
    ),
    "a question that was told": (
        entry(job(State.INPUT_REQUIRED, run=1, attempts_log=(attempt(1, outcome="ask"),)), posted_run=1), [],
    ),
    "a question after a failure": (
        entry(job(State.INPUT_REQUIRED, run=2, attempts_log=(attempt(1), attempt(2, outcome="ask")))),
        ["AttemptFailed", "InputRequired"],
    ),
    "a question that nobody answered": (
        entry(ended(State.FAILED, attempt(1, outcome="ask")), marked_at=END, posted_run=1), ["JobFailed"],
    ),
    "failed at once": (entry(ended(State.FAILED, attempt(1, outcome="fail", **LAST))), ["JobFailed"]),
    "failed after earlier ones that nobody was told of": (
        entry(ended(State.FAILED, attempt(1), attempt(2), attempt(3, outcome="fail", **LAST))),
        ["AttemptFailed", "JobFailed"],
    ),
    "lost for the fifth time": (
        entry(ended(State.FAILED, attempt(5, outcome="lost", reason="WorkerLost", **LAST)), posted_run=4),
        ["JobFailed"],
    ),
    "cancelled while it ran": (entry(ended(State.CANCELLED, attempt(1, outcome="cancel", **LAST))), ["JobCancelled"]),
    "cancelled while it waited": (entry(ended(State.CANCELLED), marked_at=END), ["JobCancelled"]),
    "cancelled while it waited, after a run that was told": (
        entry(ended(State.CANCELLED, attempt(1)), posted_run=1, marked_at=END),
        ["JobCancelled"],
    ),
    "cancelled during an outage": (entry(ended(State.CANCELLED), marked_at=AT), ["JobCancelled"]),
    "ended long ago, and touched": (entry(ended(State.CANCELLED), marked_at=END + timedelta(hours=2)), []),
    "ended with a run long ago, and touched": (
        entry(ended(State.COMPLETE, attempt(1, outcome="complete", **LAST)), posted_run=1, marked_at=END + timedelta(hours=2)),
        [],
    ),
    "rejected": (entry(ended(State.REJECTED), marked_at=END), ["JobRejected"]),
    "imported": (entry(ended(State.COMPLETE, imported_status={"state": "Complete"}), marked_at=END), []),
    "without an object": (entry(ended(State.COMPLETE, ref=None), marked_at=END), []),
    "queued": (entry(job(State.QUEUED)), []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_which_events_a_projection_posts(name: str) -> None:
    found, wanted = CASES[name]
    assert told(found) == wanted


def test_invariant_10_a_success_is_one_event() -> None:
    assert len(events_of(CASES["success at once"][0])) == 1


def test_names_are_the_same_each_time() -> None:
    found = CASES["failed after earlier ones that nobody was told of"][0]
    names = [body_of(event)["metadata"]["name"] for event in events_of(found)]
    assert names == [f"{UID}.2.attemptfailed", f"{UID}.3.jobfailed"]
    again = [body_of(event)["metadata"]["name"] for event in events_of(replace(found, version=99))]
    assert again == names


def test_a_backlog_is_summed_up() -> None:
    log = tuple(attempt(n) for n in range(1, 5))
    (event,) = events_of(entry(job(State.RETRYING, run=4, attempts_log=log)))
    assert event.count == 4
    assert (event.first_at, event.last_at) == (log[0].ended_at, log[-1].ended_at)
    assert event.message.startswith("4 runs ended without an answer")


def test_a_failed_attempt_says_why_and_when_next() -> None:
    (event,) = events_of(CASES["a failed attempt"][0])
    assert event.message == (
        "Attempt 1 of 3: ModelServerError after 10s: 500; next attempt at 2026-11-23T12:01:00Z"
    )


def test_an_event_points_at_its_object_and_is_short() -> None:
    view = ended(State.FAILED, attempt(1, outcome="fail", **LAST), message="m" * 5000)
    body = body_of(events_of(entry(view))[0])
    assert body["involvedObject"] == {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "namespace": "team",
        "name": "report",
        "uid": str(UID),
    }
    assert body["type"] == "Warning"
    assert len(body["message"]) <= 1024


def test_posted_runs_never_go_back() -> None:
    assert posted_run_of(entry(job(attempts_log=(attempt(1), attempt(2))), posted_run=0)) == 2
    assert posted_run_of(entry(job(attempts_log=()), posted_run=7)) == 7


def test_a_refused_retry_has_one_name_per_request() -> None:
    one, same, other = (retry_refused(UID, REF, asked, "it is Complete", AT) for asked in ("a", "a", "b"))
    assert body_of(one)["metadata"]["name"] == body_of(same)["metadata"]["name"]
    assert body_of(one)["metadata"]["name"] != body_of(other)["metadata"]["name"]


def test_a_question_names_the_command_and_nothing_of_the_conversation() -> None:
    (event,) = events_of(CASES["a question"][0])
    assert event.reason.normal
    assert event.message == (
        "It asks (tool x). See status.inputRequest; answer with: kubectl agentjobs approve|reject report -n team"
    )


def test_an_answer_that_is_not_taken_is_told_once_per_value() -> None:
    first, again, other = (
        body_of(response_refused(UID, REF, value, "it does not wait for input", AT))
        for value in ("approve:q-1", "approve:q-1", "approve:q-2")
    )
    assert (first["type"], first["reason"]) == ("Warning", "InputResponseRefused")
    assert first["message"] == "The answer was not taken: it does not wait for input."
    assert first["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]
