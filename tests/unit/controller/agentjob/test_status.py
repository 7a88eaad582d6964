"""The status is a function of the rows: whole, deterministic, small."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from agentjobs.api.agentjob_status import AgentJobStatus
from agentjobs.controller.agentjob.status import minimal_status, status_of
from agentjobs.queue.records import AnsweredInput, JobView, State
from agentjobs.values.durations import duration_text
from agentjobs.values.requests import InputRequest
from agentjobs.values.text import cut
from agentjobs.values.usage import Usage
from controller_builders import AT, attempt, job

MINUTE = timedelta(minutes=1)

CASES = {
    "scheduled": job(State.SCHEDULED, reason="Scheduled", due_at=AT + MINUTE, next_attempt_at=AT + MINUTE),
    "queued": job(State.QUEUED),
    "no workers": job(State.QUEUED, reason="NoWorkers", message="no live worker serves queue agents"),
    "suspended": job(State.SUSPENDED, reason="Suspended", suspended_at=AT),
    "restored": job(State.SUSPENDED, reason="Restored", unaccepted=True, message="from a backup"),
    "not allowed": job(State.SUSPENDED, reason="QueueNotAllowed", unaccepted=True, message="spec.queue: …", refused="spec.queue: …"),
    "resumed": job(State.QUEUED, resumed_at=AT + MINUTE),
    "running": job(State.RUNNING, run=1, attempts=1, started_at=AT, run_started_at=AT, worker="w"),
    "retrying": job(
        State.RETRYING, reason="ModelServerError", run=1, attempts=1, started_at=AT, next_attempt_at=AT + MINUTE,
        attempts_log=(attempt(1),),
    ),
    "complete": job(
        State.COMPLETE, run=1, attempts=1, started_at=AT, finished_at=AT + MINUTE, result="42",
        attempts_log=(attempt(1, outcome="complete", reason="", ended_at=AT + MINUTE),),
    ),
    "failed": job(
        State.FAILED, reason="ModelServerError", message="boom", exhausted=True, run=3, attempts=3, started_at=AT,
        finished_at=AT + MINUTE, attempts_log=(attempt(1), attempt(2), attempt(3, ended_at=AT + MINUTE)),
    ),
    "cancelled while it waited": job(State.CANCELLED, reason="Cancelled", finished_at=AT + MINUTE),
    "rejected": job(State.REJECTED, reason="InvalidSpec", message="spec.x: …", finished_at=AT),
    "asked": job(
        State.INPUT_REQUIRED, reason="InputRequired", message="it asks (tool refund)", run=1, started_at=AT,
        since=AT + MINUTE, attempts_log=(attempt(1, outcome="ask", charged=False, ended_at=AT + MINUTE),),
        input_request=InputRequest("q-1", "refund", '{"order": "A-1"}', "Really?", '{"n": 0}'), input_requests_left=1,
        input_deadline=AT + 2 * MINUTE,
    ),
    "approved": job(
        State.RUNNING, run=2, attempts=1, started_at=AT, run_started_at=AT + 3 * MINUTE,
        attempts_log=(attempt(1, outcome="ask", charged=False, ended_at=AT + MINUTE),),
        input_answered=AnsweredInput("refund", True, AT + 2 * MINUTE, "fine", "alice"),
    ),
    "not answered in time": job(
        State.FAILED, reason="InputDeadlineExceeded", run=1, started_at=AT, finished_at=AT + 2 * MINUTE,
        attempts_log=(attempt(1, outcome="ask", charged=False, ended_at=AT + MINUTE),),
    ),
    "second round": job(State.QUEUED, round=2, round_at=AT + MINUTE, run=1, attempts_log=(attempt(1),)),
}  # fmt: skip

# type: (status, reason, seconds after AT)
CONDITIONS = {
    "scheduled": {"Accepted": ("True", "Accepted", 0)},
    "queued": {"Accepted": ("True", "Accepted", 0)},
    "no workers": {"Accepted": ("True", "Accepted", 0)},
    "suspended": {"Accepted": ("True", "Accepted", 0), "Suspended": ("True", "Suspended", 0)},
    "restored": {"Accepted": ("True", "Accepted", 0), "Suspended": ("True", "Restored", 0)},
    "not allowed": {"Accepted": ("False", "QueueNotAllowed", 0)},
    "resumed": {"Accepted": ("True", "Accepted", 0), "Suspended": ("False", "Resumed", 60)},
    "running": {"Accepted": ("True", "Accepted", 0), "Running": ("True", "Running", 0)},
    "retrying": {"Accepted": ("True", "Accepted", 0), "Running": ("False", "ModelServerError", 10)},
    "complete": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("False", "Completed", 60),
        "Complete": ("True", "Completed", 60),
        "Finished": ("True", "Completed", 60),
    },
    "failed": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("False", "ModelServerError", 60),
        "Failed": ("True", "AttemptsExhausted", 60),
        "Finished": ("True", "AttemptsExhausted", 60),
    },
    "cancelled while it waited": {
        "Accepted": ("True", "Accepted", 0),
        "Failed": ("True", "Cancelled", 60),
        "Finished": ("True", "Cancelled", 60),
    },
    "rejected": {
        "Accepted": ("False", "InvalidSpec", 0),
        "Failed": ("True", "InvalidSpec", 0),
        "Finished": ("True", "InvalidSpec", 0),
    },
    "asked": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("False", "InputRequired", 60),
        "InputRequired": ("True", "InputRequired", 60),
    },
    "approved": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("True", "Running", 180),
        "InputRequired": ("False", "InputApproved", 120),
    },
    "not answered in time": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("False", "InputDeadlineExceeded", 60),
        "InputRequired": ("False", "InputDeadlineExceeded", 120),
        "Failed": ("True", "InputDeadlineExceeded", 120),
        "Finished": ("True", "InputDeadlineExceeded", 120),
    },
    "second round": {
        "Accepted": ("True", "Accepted", 0),
        "Running": ("False", "Queued", 10),
        "Failed": ("False", "RetryRequested", 60),
        "Finished": ("False", "RetryRequested", 60),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_each_state_has_its_conditions(name: str) -> None:
    found = {
        c["type"]: (c["status"], c["reason"], c["lastTransitionTime"])
        for c in status_of(CASES[name], 7)["conditions"]
    }
    wanted = {
        kind: (status, reason, (AT + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for kind, (status, reason, after) in CONDITIONS[name].items()
    }
    assert found == wanted


@pytest.mark.parametrize("name", CASES)
def test_each_status_fits_the_definition(name: str) -> None:
    status = status_of(CASES[name], 7)
    AgentJobStatus.model_validate(status)
    AgentJobStatus.model_validate(minimal_status(status))
    known = {field.alias for field in AgentJobStatus.model_fields.values()}
    assert set(status) <= known
    assert status["reason"], "an empty reason explains nothing"


@pytest.mark.parametrize("name", CASES)
def test_invariant_11_the_same_rows_give_the_same_status(name: str) -> None:
    first, again = status_of(CASES[name], 7), status_of(replace(CASES[name]), 8)
    assert again.pop("revision") > first.pop("revision")
    assert first == again


def test_complete_and_failed_exclude_each_other() -> None:
    for view in CASES.values():
        true = {c["type"] for c in status_of(view, 1)["conditions"] if c["status"] == "True"}
        assert not {"Complete", "Failed"} <= true
        assert ("Finished" in true) == view.state.final


def test_a_long_result_is_cut_between_characters_and_says_so() -> None:
    view = complete(result="ä" * 3000)
    status = status_of(view, 1)
    assert len(status["result"].encode()) <= 4096
    assert set(status["result"]) == {"ä"}
    assert status["resultTruncated"] is True


def test_a_result_that_fits_is_whole() -> None:
    status = status_of(complete(result="x" * 4096), 1)
    assert len(status["result"]) == 4096
    assert "resultTruncated" not in status


def test_recent_attempts_are_the_last_three_and_short() -> None:
    log = tuple(attempt(n, message="m" * 5000) for n in range(1, 6))
    recent = status_of(replace(CASES["failed"], attempts_log=log), 1)["recentAttempts"]
    assert [entry["number"] for entry in recent] == [3, 4, 5]
    assert all(len(entry["message"]) == 256 for entry in recent)


def test_what_the_last_run_printed_is_shown_where_the_operator_may() -> None:
    log = (attempt(1, log_tail="first\n"), attempt(2, log_tail="looking\nKeyError: 'customer'\n\n"))
    view = replace(CASES["failed"], attempts_log=log)
    assert all("output" not in entry for entry in status_of(view, 1)["recentAttempts"])
    first, last = status_of(view, 1, output=True)["recentAttempts"]
    assert "output" not in first
    assert last["output"] == "looking\nKeyError: 'customer'"


def test_a_run_that_printed_nothing_shows_no_output_of_an_earlier_one() -> None:
    log = (attempt(1, log_tail="first"), attempt(2, log_tail="\n"))
    recent = status_of(replace(CASES["failed"], attempts_log=log), 1, output=True)["recentAttempts"]
    assert all("output" not in entry for entry in recent)


@pytest.mark.parametrize("text", ["x", "ä", "🦆", "\n", '"', "\\", "\x1b", "\x1b[31mä\n", "�"])
@pytest.mark.parametrize("length", [1, 170, 171, 341, 1024, 1025, 70_000])
def test_output_takes_a_kibibyte_in_the_json_of_the_status_and_keeps_its_end(text: str, length: int) -> None:
    printed = (text * length)[-length:] + "end"
    view = replace(CASES["failed"], attempts_log=(attempt(1, log_tail=printed),))
    (entry,) = status_of(view, 1, output=True)["recentAttempts"]
    shown = entry["output"]
    size = len(orjson.dumps(shown)) - 2
    assert size <= 1024
    assert shown == printed or shown.startswith("…")
    assert printed.endswith(shown.removeprefix("…"))
    assert shown == printed or size > 1024 - 6
    assert AgentJobStatus.model_validate({"recentAttempts": [entry]})


def test_a_rejected_or_future_job_was_never_queued() -> None:
    assert "queuedTime" not in status_of(CASES["scheduled"], 1)
    assert "queuedTime" not in status_of(CASES["rejected"], 1)
    assert "queuedTime" in status_of(CASES["queued"], 1)


@pytest.mark.parametrize("state", [State.SCHEDULED, State.QUEUED, State.RETRYING])
def test_a_job_that_waits_for_a_time_shows_it_whatever_it_waits_for(state: State) -> None:
    assert "nextAttemptTime" not in status_of(job(state), 1)
    waits = job(state, reason="ModelRateLimited", next_attempt_at=AT + MINUTE)
    assert status_of(waits, 1)["nextAttemptTime"] == "2026-11-23T12:01:00Z"


def test_usage_and_session_appear_with_the_first_start() -> None:
    assert "usage" not in status_of(CASES["queued"], 1)
    running = status_of(replace(CASES["running"], usage=Usage(1, 2, 3, 4, 5)), 1)
    assert running["usage"] == {
        "promptTokens": 1, "outputTokens": 2, "totalTokens": 3, "llmCalls": 4, "toolCalls": 5,
    }  # fmt: skip
    assert running["sessionID"] == f"job-{CASES['running'].uid}"
    named = replace(CASES["running"], payload={"sessionID": "chat"})
    assert status_of(named, 1)["sessionID"] == "chat"


def test_h1_an_imported_end_stays_what_it_was() -> None:
    found = {"state": "Complete", "revision": 90, "result": "old", "somethingNewer": 1}
    assert status_of(complete(imported_status=found), 7) == found
    assert status_of(complete(imported_status=found), 99)["revision"] == 99


def test_a_question_is_shown_whole_and_only_while_it_waits() -> None:
    assert status_of(CASES["asked"], 1)["inputRequest"] == {
        "id": "q-1", "tool": "refund", "arguments": '{"order": "A-1"}', "hint": "Really?", "payload": '{"n": 0}',
        "askedTime": "2026-11-23T12:01:00Z", "expiryTime": "2026-11-23T12:02:00Z", "remaining": 1,
    }  # fmt: skip
    assert "inputRequest" not in status_of(CASES["approved"], 1)


def test_who_answered_is_told_as_a_claim() -> None:
    (told,) = [c for c in status_of(CASES["approved"], 1)["conditions"] if c["type"] == "InputRequired"]
    assert told["message"] == "tool refund, by alice as the answer says: fine"
    rejected = replace(CASES["approved"], input_answered=AnsweredInput("refund", False, AT + 2 * MINUTE))
    (told,) = [c for c in status_of(rejected, 1)["conditions"] if c["type"] == "InputRequired"]
    assert (told["reason"], told["message"]) == ("InputRejected", "tool refund")


def test_an_answer_to_an_earlier_question_is_not_the_answer_to_this_one() -> None:
    later = replace(CASES["not answered in time"], input_answered=AnsweredInput("look", True, AT))
    (told,) = [c for c in status_of(later, 1)["conditions"] if c["type"] == "InputRequired"]
    assert told["reason"] == "InputDeadlineExceeded"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"), (0, "0s"), (0.9, "0s"), (12, "12s"), (119, "119s"), (120, "2m"), (200, "3m20s"),
        (600, "10m"), (10799, "179m"), (10800, "3h"), (12000, "3h20m"), (28800, "8h"), (172799, "47h"),
        (172800, "2d"), (183600, "2d3h"), (691200, "8d"), (63072000, "2y"),
    ],
)  # fmt: skip
def test_durations_read_as_kubectl_prints_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_cutting_never_splits_a_character() -> None:
    assert cut("aé😀", 3) == ("aé", True)
    assert cut("aé😀", 6) == ("aé", True)
    assert cut("aé😀", 7) == ("aé😀", False)


def complete(**fields: object) -> JobView:
    return replace(CASES["complete"], **fields)  # type: ignore[arg-type]
