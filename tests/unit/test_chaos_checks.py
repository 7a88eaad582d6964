"""Each check of the chaos run sees the one thing that it is for, and nothing in a history that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from chaos.checks import CHECKS, History, Job, Run, problems
from chaos.load import COMPLETE, Made, Shape

ONE, TWO = UUID(int=1), UUID(int=2)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = Shape("plain", lambda load, n: {}, COMPLETE)


def seconds(n: float) -> datetime:
    return BEGAN + timedelta(seconds=n)


def right() -> History:
    """Two jobs of one session and of the limited queue; the first was lost with its worker once."""
    runs = [
        Run(ONE, "limited", "s", 1, seconds(0), seconds(1), "lost", False, "WorkerLost"),
        Run(ONE, "limited", "s", 2, seconds(1), seconds(2), "end", True, ""),
        Run(TWO, "limited", "s", 1, seconds(2), seconds(3), "end", True, ""),
    ]
    jobs = {
        uid: Job(uid, 3, 1, "Complete", "", "", f"answer {n}", 1, ran)
        for n, (uid, ran) in enumerate(((ONE, 2), (TWO, 1)))
    }
    objects = {
        uid: {
            "metadata": {"namespace": "calm", "name": "job"},
            "status": {"state": "Complete", "attempts": 1, "result": job.result},
        }
        for uid, job in jobs.items()
    }
    found = History(
        [Made(PLAIN, "calm", "job", f"answer {n}", uid) for n, uid in enumerate(jobs)], runs, jobs, objects
    )
    found.stamps = [{"at": at, "uid": str(ONE), "run": run} for at, run in ((0.5, 1), (1.5, 2))]
    found.conversations = [
        ("s", "one", "message"),
        ("s", "one", ""),
        ("s", "two", "message"),
        ("s", "two", ""),
    ]
    found.ends_told[ONE] = found.ends_told[TWO] = 1
    return found


def lose_a_job(found: History) -> None:
    del found.jobs[TWO], found.objects[TWO]


def end_otherwise(found: History) -> None:
    found.jobs[TWO] = replace(found.jobs[TWO], state="Failed", reason="Because", message="of this")
    found.objects[TWO]["status"] |= {"state": "Failed", "reason": "Because"}


def answer_otherwise(found: History) -> None:
    found.jobs[TWO] = replace(found.jobs[TWO], result="else")
    found.objects[TWO]["status"]["result"] = "else"


def leave_a_run_unexplained(found: History) -> None:
    found.runs[0] = replace(found.runs[0], reason="")


def charge_too_often(found: History) -> None:
    found.jobs[ONE] = replace(found.jobs[ONE], max_attempts=1)
    found.runs[0] = replace(found.runs[0], charged=True)


def forget_a_run(found: History) -> None:
    del found.runs[0]


def run_a_session_twice(found: History) -> None:
    found.runs[2] = replace(found.runs[2], began=seconds(1.5))


def overshoot_the_limit(found: History) -> None:
    for n in range(3):
        found.runs.append(Run(UUID(int=9 + n), "limited", None, 1, seconds(9), seconds(10), "end", True, ""))


def begin_a_tool_late(found: History) -> None:
    found.stamps.append({"at": 9.0, "uid": str(ONE), "run": 1})


def write_between_each_other(found: History) -> None:
    found.conversations.append(("s", "one", ""))


def send_a_message_twice(found: History) -> None:
    found.conversations.insert(1, ("s", "one", "message"))


def show_an_old_status(found: History) -> None:
    found.objects[ONE]["status"]["state"] = "Running"


def tell_an_end_twice(found: History) -> None:
    found.ends_told[ONE] = 2


def end_a_process(found: History) -> None:
    found.processes_ended.append("operator ended with 1")


SABOTAGE: dict[Callable[[History], None], str] = {
    lose_a_job: "no_job_is_lost_and_each_ends_as_it_may",
    end_otherwise: "no_job_is_lost_and_each_ends_as_it_may",
    answer_otherwise: "no_job_is_lost_and_each_ends_as_it_may",
    leave_a_run_unexplained: "every_end_and_every_run_is_explained",
    charge_too_often: "attempts_are_charged_as_allowed_and_every_run_is_recorded",
    forget_a_run: "attempts_are_charged_as_allowed_and_every_run_is_recorded",
    run_a_session_twice: "neither_a_job_nor_a_session_runs_twice_at_once",
    overshoot_the_limit: "the_limit_is_never_overshot",
    begin_a_tool_late: "a_late_run_begins_no_tool",
    write_between_each_other: "conversations_are_whole",
    send_a_message_twice: "conversations_are_whole",
    show_an_old_status: "every_object_shows_what_its_row_says",
    tell_an_end_twice: "an_end_is_told_once",
    end_a_process: "no_process_ends_by_itself",
}


def test_a_right_history_has_no_problem_and_every_check_is_sabotaged() -> None:
    assert problems(right()) == []
    assert set(SABOTAGE.values()) == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("break_it", SABOTAGE, ids=[one.__name__ for one in SABOTAGE])
def test_a_check_sees_what_it_is_for(break_it: Callable[[History], None]) -> None:
    found = right()
    break_it(found)
    seen = {check.__name__ for check in CHECKS if list(check(found))}
    assert seen == {SABOTAGE[break_it]}
