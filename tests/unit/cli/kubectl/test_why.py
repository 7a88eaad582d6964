"""``why``: what it finds and says is to be done, of what a job shows and what stands around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentjobs.cli.kubectl.filters import time_text
from agentjobs.cli.kubectl.history import end_of_output, run_of
from agentjobs.cli.kubectl.schedule_state import state_of
from agentjobs.cli.kubectl.surroundings import ALONE, Surroundings, breakers_for, holder_among
from agentjobs.cli.kubectl.why import answer_of, told
from agentjobs.cli.kubectl.why_schedule import answer_of_schedule
from agentjobs.cli.kubectl.why_todo import PLUGIN, Commands

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return time_text(NOW - timedelta(seconds=seconds))


def job(state: str = "", reason: str = "", *, created: float = 600, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": "a",
        "namespace": "shop",
        "uid": "u",
        "generation": 1,
        "creationTimestamp": ago(created),
    }
    shown = {"state": state, "reason": reason, "observedGeneration": 1, **status} if state else {}
    return {"metadata": metadata, "spec": {"queue": "agents", "priority": 2}, "status": shown}


def queue(namespace: str | None = None, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "agents", "namespace": namespace}, "status": {"waiting": 1, **status}}


def worker(pool: str = "default", slots: int = 4, *, accepting: bool = True) -> dict[str, Any]:
    status = {"pool": pool, "queues": {"agents": slots}, "accepting": accepting}
    return {"metadata": {"name": "w"}, "status": status}


DRAINING = worker(accepting=False)


def screen(found: dict[str, Any], around: Surroundings = ALONE) -> str:
    return told(answer_of(found, NOW, around=around), NOW, None)


PAUSED: dict[str, Any] = {
    "paused": True,
    "pausedTime": ago(60),
    "pausedBy": "anna",
    "pausedReason": "an upgrade",
}


@pytest.mark.parametrize(
    ("found", "around", "says"),
    [
        (job(), ALONE, ("no status", "No operator has taken it up")),
        (job(created=2), ALONE, ("Wait a moment",)),
        (job(), Surroundings(unknown=True, operator="no operator runs"), ("the job is not in it", "Operator:  no operator runs")),
        (job(), Surroundings(elsewhere="it is b's"), ("no status (ManagedElsewhere)", "it is b's", "watchNamespaces")),
        (job("InputRequired"), Surroundings(unknown=True, elsewhere="it is a's, which is gone"), ("it is a's, which is gone", "hand the object over")),
        (job("Queued"), Surroundings(queue=queue(**PAUSED)), ("Queued (QueuePaused)", "paused 60s ago by anna: an upgrade", "unpause agents")),
        (job("Queued", "Queued"), Surroundings(workers=[]), ("Queued (NoWorkers)", "no live worker serves it")),
        (job("Queued"), Surroundings(queue=queue(running=2, maxRunning=2), workers=[worker()]), ("Queued (QueueFull)", "limit 2")),
        (job("Queued"), Surroundings(queue=queue("shop", running=2, maxRunning=2), workers=[worker()]), ("Queued\n", "of this namespace")),
        (job("Queued"), Surroundings(workers=[worker(), worker("big", 1), worker()]), ("pool big with 1 worker and 1 slot, pool default with 2 workers and 8 slots",)),
        (job("Queued"), Surroundings(workers=[DRAINING]), ("pool default with 1 worker and 4 slots (it takes no new jobs)",)),
        (job("Queued"), Surroundings(workers=[DRAINING, worker()]), ("2 workers and 8 slots (1 of them takes no new jobs)",)),
        (job("Queued"), Surroundings(workers=[DRAINING] * 2), ("2 workers and 8 slots (none of them takes new jobs)",)),
        (job("Running", "Running", worker="w"), Surroundings(workers=[worker()]), ("w of pool default runs it",)),
        (job("Running", "Running"), Surroundings(run={"status": {"state": "Failed", "reason": "X", "since": ago(20)}}, operator="away"),
         ("says Failed (X) since 20s", "Operator:  away", "shows what was")),
        (job("Running", "Running"), Surroundings(run={"status": {"state": "Failed", "since": ago(2)}}, operator="held by b"), ("agentjobs wait a",)),
        (job("Queued", "BehindSession"), Surroundings(holder="b"), ("agentjob b holds its session", "agentjobs why b -n shop")),
        (job("Retrying", "Backoff", recentAttempts=[{"number": 1, "reason": "ToolFailed"}]), ALONE, ("Retrying (ToolFailed)", "it is tried again after the backoff")),
        (job("Failed", "ToolFailed", recentAttempts=[{"number": 1, "output": "old"}, {"number": 2, "output": "looking\nboom"}]), ALONE, ("Output:    looking\n", " boom")),
        (job("Retrying", "ModelRateLimited", nextAttemptTime=ago(-40)), ALONE, ("Next:      in 40s (", "Nothing: it goes on")),
        (job("Retrying", "ModelRateLimited", nextAttemptTime=ago(90)), ALONE, ("when its model answers, which was to be tried 90s ago (", "Nothing: it goes on")),
        (job("Retrying", "ToolFailed", nextAttemptTime=ago(90)), ALONE, ("was due 90s ago", "nobody took it up")),
        (job("Failed", "BudgetExceeded"), ALONE, ("the same budget",)),
        (job("Queued"), Surroundings(missing=["output: no"]), ("Missing:   output: no",)),
    ],
)  # fmt: skip
def test_why_names_what_is_in_the_way(
    found: dict[str, Any], around: Surroundings, says: tuple[str, ...]
) -> None:
    shown = screen(found, around)
    assert not [words for words in says if words not in shown], shown


def test_the_holder_is_the_one_that_has_started_or_else_the_oldest_that_does_not_wait_behind_it() -> None:
    def other(name: str, state: str, reason: str = "", created: float = 0, **status: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "creationTimestamp": ago(created)}, "status": {"state": state, "reason": reason, **status}}  # fmt: skip

    waits = other("me", "Queued", "BehindSession")
    behind, done = other("b", "Queued", "BehindSession", 9), other("c", "Complete", created=9)
    young, old = other("d", "Queued", created=1), other("e", "Queued", created=5)
    started = other("f", "Retrying", "Backoff", 2, startTime=ago(1))
    later = other("g", "Scheduled", "Scheduled", 9)
    assert holder_among([waits, behind, done, young, old, started, later], "me") == "f"
    assert holder_among([waits, behind, done, young, old, later], "me") == "e"
    assert holder_among([waits, behind, done, later], "me") == ""


def test_breakers_are_told_of_the_jobs_model_or_where_a_model_is_the_cause_of_all_that_are_open() -> None:
    models = [
        {"status": {"model": name, "open": name != "c"}} for name in ("a", "b", "c", "module:shop.agent")
    ]
    inline, module = {"agent": {"inline": {"model": "a"}}}, {"agent": {"module": "shop.agent"}}
    other = {"agent": {"module": "other"}}

    def names(spec: dict[str, Any], cause: str) -> list[str]:
        return [one["status"]["model"] for one in breakers_for(spec, cause, models)]

    assert names(inline, "ModelUnavailable") == ["a"]
    assert names(module, "ModelUnavailable") == ["module:shop.agent"]
    assert names(other, "ModelUnavailable") == ["a", "b", "module:shop.agent"]
    assert names(other, "NoWorkers") == []


@pytest.mark.parametrize(
    ("spec", "status", "state", "says"),
    [
        ({"schedule": "0 * * * *"}, {}, "", "No operator has taken it up"),
        ({"schedule": "0 * * * *", "suspend": True}, {"missedRuns": 2}, "Suspended", "kubectl agentjobs trigger a"),
        ({"schedule": "0 * * * *"}, {"nextScheduleTime": ago(300)}, "Active", "no job was created"),
        ({"schedule": "0 * * * *"}, {"missedRuns": 2, "nextScheduleTime": ago(-60)}, "Active", "backfill a --start 1d --dry-run"),
        ({"schedule": "* *"}, {"conditions": [{"type": "Accepted", "status": "False", "reason": "UnparseableSchedule", "message": "5 fields"}]},
         "UnparseableSchedule", "Refused (UnparseableSchedule)"),
    ],
)  # fmt: skip
def test_why_tells_of_a_schedule(spec: dict[str, Any], status: dict[str, Any], state: str, says: str) -> None:
    schedule = {**job(), "spec": spec, "status": {**status, **({"observedGeneration": 1} if status else {})}}
    assert state_of(schedule) == state
    shown = told(answer_of_schedule(schedule, NOW), NOW, None)
    assert says in shown, shown


@pytest.mark.parametrize("commands", [PLUGIN, Commands("agentjobs")])
def test_a_command_that_does_not_fit_stands_in_a_line_of_its_own_to_be_copied(commands: Commands) -> None:
    shown = told(answer_of(job("Failed", "WorkerLost"), NOW, commands=commands), NOW, 80)
    assert f"\n    {commands.program} retry a -n shop" in shown


SAID = "The provider refused the key: 400 API key not valid"


def test_of_a_job_that_waits_for_its_model_the_providers_words_stand_beside_the_cause_and_once() -> None:
    attempts = [{"number": n, "reason": "ModelAuthFailed", "message": SAID} for n in (1, 2)]
    found = job("Retrying", "ModelAuthFailed", message="the breaker is open", recentAttempts=attempts)
    told_ = screen(found)
    assert "Told:      " + SAID in told_
    assert told_.count(SAID) == 1


def test_a_job_that_waits_for_its_model_tells_when_the_breaker_lets_the_next_try_through() -> None:
    found = job("Retrying", "ModelAuthFailed", nextAttemptTime=ago(33))
    breaker = {"status": {"model": "m", "pool": "p", "open": True, "failures": 3, "since": ago(120)}}
    later = ago(-88)
    for probe, says in ((later, f"tried in 88s ({later})"), (ago(1), "tried now")):
        around = Surroundings(breakers=[{"status": {**breaker["status"], "probeTime": probe}}])
        assert f"when its model answers, which is {says}" in told(
            answer_of(found, NOW, around=around), NOW, 200
        )


@pytest.mark.parametrize(
    ("reason", "agent", "says"),
    [
        ("ToolFailed", {"module": "planner"}, "build its image under a new tag"),
        ("ModelNotFound", {"inline": {"type": "llm"}}, "submit a corrected job under another name"),
        ("ModelServerError", {"module": "planner"}, "When the model's provider is well again"),
        ("ModuleNotAllowed", {"module": "planner"}, "pools.<name>.modules"),
        ("ArtifactRefused", {"module": "planner"}, "whoever runs the pool"),
    ],
)
def test_what_to_do_before_a_retry_depends_on_who_can_mend_the_cause(
    reason: str, agent: dict[str, Any], says: str
) -> None:
    found = job("Failed", reason, recentAttempts=[{"number": 1, "reason": reason}])
    found["spec"]["agent"] = agent
    assert says in screen(found)


def test_the_job_that_waits_for_an_answer_is_not_one_that_is_before_it() -> None:
    around = Surroundings(queue=queue())
    assert "1 waiting, this job among them, and 0 running" in screen(job("InputRequired"), around)
    assert "1 waiting and 0 running" in screen(job("Retrying", "Backoff"), around)


@pytest.mark.parametrize("found", [job(), job("Running", "Running"), job("Queued", "Queued")])
def test_a_database_that_is_away_stands_first_and_is_what_the_job_waits_for(found: dict[str, Any]) -> None:
    away = Surroundings(database_away="the database does not serve now: refused")
    lines = screen(found, away).splitlines()
    assert lines[1].split()[:4] == ["Database:", "the", "database", "does"]
    assert any("it goes on by itself when the database answers" in line for line in lines)
    assert not any("No operator has taken it up" in line for line in lines)


def test_the_output_of_an_earlier_run_says_which_run_it_was() -> None:
    runs = [run_of({"run": n}) for n in (1, 2)]
    assert end_of_output(["b"], 2, runs) == ["b"]
    assert end_of_output(["a"], 1, runs) == ["(run 1)", "a"]
    assert end_of_output(["a"], 1, []) == ["a"]
