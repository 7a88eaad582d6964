"""A job's life through operator and database, as kubectl shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from agentjobs.api.meta import RETRY_REQUESTED_AT, parse_time
from agentjobs.controller.agentjob.object_change import QueueAccess
from agentjobs.queue.records import AckKind, ModelReport, State
from agentjobs.values.model_answer import ModelAnswer
from clusters import Cluster
from operators import Bench, agent_job, bench, condition, eventually


@pytest.fixture
async def b(cluster: Cluster, dsn: str) -> AsyncIterator[Bench]:
    async with bench(cluster, dsn) as made:
        yield made


async def kubectl(b: Bench, *arguments: str) -> str:
    return await asyncio.to_thread(
        b.cluster.kubectl, *arguments, f"--namespace={b.objects.namespace}"
    )  # fmt: skip


# through -----------------------------------------------------------------------------------------------


async def test_a_job_goes_from_apply_to_its_answer_and_kubectl_tells_it_all(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await asyncio.to_thread(b.cluster.apply, agent_job("hello"), b.objects.namespace)
        waiting = asyncio.create_task(
            kubectl(b, "wait", "aj/hello", "--for=condition=Finished", "--timeout=60s")
        )
        job = await worker.one()
        assert job.payload["message"] == "hello"
        await worker.ack(job, result="42")
        assert "condition met" in await waiting
        status = await b.objects.until("hello", "Complete")
        assert status["result"] == "42"
        assert (status["attempts"], status["round"], status["worker"]) == (1, 1, "hand-worker")
        assert status["usage"]["totalTokens"] == 12
        assert status["eventCount"] == 2
        assert status["sessionID"] == f"job-{job.uid}"
        assert condition(status, "Complete")["status"] == "True"  # type: ignore[index]
        assert condition(status, "Failed") is None
        await eventually(lambda: b.objects.events("hello"))
        described = await kubectl(b, "describe", "aj", "hello")
    assert "JobCompleted" in described
    assert "attempt 1 of 3" in described
    assert "Finished" in described


async def test_each_column_is_filled(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("done")
        await worker.ack(await worker.one())
        await b.objects.until("done", "Complete")
        table = (await kubectl(b, "get", "aj", "-o", "wide")).splitlines()
    cells = dict(zip(table[0].split(), table[1].split(), strict=False))
    assert {
        "NAME": "done",
        "QUEUE": "agents",
        "STATUS": "Complete",
        "REASON": "Completed",
    }.items() <= cells.items()
    assert cells["ATTEMPTS"] == "1"
    assert cells["DURATION"].endswith("s")


async def test_field_selectors_find_jobs_by_queue_state_and_reason(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("one", {"queue": "agents"})
        await b.objects.create("two", {"queue": "nobody-serves-it"})
        await worker.ack(await worker.one())
        await b.objects.until("one", "Complete")
        await eventually(lambda: b.objects.status("two"), lambda s: s.get("reason") == "NoWorkers")

        async def named(selector: str) -> str:
            return (await kubectl(b, "get", "aj", f"--field-selector={selector}", "-o", "name")).strip()

        assert await named("status.state=Complete") == "agentjob.agentjobs.dev/one"
        assert await named("spec.queue=nobody-serves-it") == "agentjob.agentjobs.dev/two"
        assert await named("status.reason=NoWorkers") == "agentjob.agentjobs.dev/two"


async def test_a_job_that_nobody_serves_says_so_and_names_the_queues_that_are_served(b: Bench) -> None:
    async with b.running():
        await b.worker()
        await b.objects.create("lonely", {"queue": "typo"})
        status = await eventually(
            lambda: b.objects.status("lonely"), lambda s: s.get("reason") == "NoWorkers"
        )
    assert status["state"] == "Queued"
    assert "agents" in status["message"]


async def test_failures_are_told_with_why_and_when_next(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("flaky", {"maxAttempts": 2})
        job = await worker.one()
        await worker.ack(job, AckKind.RETRY, delay_seconds=3600, reason="ModelServerError", message="500")
        status = await b.objects.until("flaky", "Retrying")
        assert status["nextAttemptTime"]
        assert status["reason"] == status["recentAttempts"][0]["reason"] == "ModelServerError"
        await b.queue._db.fetch(
            "update agentjobs.waiting set run_at = run_at - interval '1 hour' returning 1"
        )
        await worker.ack(await worker.one(), AckKind.RETRY, reason="ModelServerError", message="500 again")
        status = await b.objects.until("flaky", "Failed")
        events = await eventually(lambda: b.objects.events("flaky"), lambda found: len(found) == 2)
    assert (status["reason"], status["message"]) == ("ModelServerError", "500 again")
    ends = {one["type"]: (one["reason"], one["message"]) for one in status["conditions"]}
    assert ends["Failed"] == ("AttemptsExhausted", "attempt 2 of 2 was the last: ModelServerError: 500 again")
    assert status["attempts"] == 2
    by_reason = {event["reason"]: event["message"] for event in events}
    assert "next attempt at" in by_reason["AttemptFailed"]
    assert "500 again" in by_reason["JobFailed"]


async def test_a_job_that_waits_for_its_model_shows_when_that_is_tried_next(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("limited")
        job = await worker.one()
        limited = ModelReport("echo", ModelAnswer.RATE_LIMITED, "ModelRateLimited", delay_seconds=3600)
        asked_at = datetime.now(UTC)
        await worker.ack(
            job, AckKind.SNOOZE, delay_seconds=3600, reason="ModelRateLimited", models=(limited,)
        )
        status = await b.objects.until("limited", "Retrying")
        table = (await kubectl(b, "get", "aj", "-o", "wide")).splitlines()
    assert status["reason"] == "ModelRateLimited"
    assert status["nextAttemptTime"] in status["message"]
    assert abs((parse_time(status["nextAttemptTime"]) - asked_at).total_seconds() - 3600) < 60
    assert table[1].index(status["nextAttemptTime"]) == table[0].index("NEXT")


async def test_output_is_shown_while_the_operator_may_and_leaves_the_object_when_it_may_no_more(
    b: Bench,
) -> None:
    async with b.running(status_output=True):
        worker = await b.worker()
        await b.objects.create("said")
        await worker.ack(
            await worker.one(), AckKind.FAIL, reason="ToolFailed", log_tail="\x1b[31mlooking\nKeyError\n"
        )
        status = await b.objects.until("said", "Failed")
        assert status["recentAttempts"][-1]["output"] == "\x1b[31mlooking\nKeyError"
        read = await kubectl(b, "get", "aj", "said", "-o", "jsonpath={.status.recentAttempts[-1:].output}")
        assert read == "\x1b[31mlooking\nKeyError"
    async with b.running():
        status = await eventually(
            lambda: b.objects.status("said"), lambda s: "output" not in s["recentAttempts"][-1]
        )
    assert status["recentAttempts"][-1]["reason"] == "ToolFailed"


async def test_a_delayed_job_shows_when_it_is_due(b: Bench) -> None:
    async with b.running():
        made = await b.objects.create("later", {"delaySeconds": 3600})
        status = await b.objects.until("later", "Scheduled")
    due = parse_time(made["metadata"]["creationTimestamp"]) + timedelta(hours=1)
    assert status["nextAttemptTime"] == due.strftime("%Y-%m-%dT%H:%M:%SZ")


# control -----------------------------------------------------------------------------------------------


async def test_deleting_a_queued_job_cancels_it(b: Bench) -> None:
    async with b.running():
        made = await b.objects.create("queued")
        uid = UUID(made["metadata"]["uid"])
        await eventually(lambda: b.queue.show(uid))
        await b.objects.delete("queued")
        await eventually(lambda: state_of(b, uid), lambda state: state is State.CANCELLED)
        worker = await b.worker()
        assert await worker.claim_ready() == []


async def test_deleting_a_running_job_asks_its_worker_to_stop(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        made = await b.objects.create("running")
        job = await worker.one()
        await b.objects.delete("running")
        asked = await eventually(worker.beat, lambda beat: bool(beat.controls))
        assert asked.controls == {(job.id, job.token): "cancel"}
        await worker.ack(job, AckKind.CANCEL)
        assert await state_of(b, UUID(made["metadata"]["uid"])) is State.CANCELLED


async def state_of(b: Bench, uid: UUID) -> State | None:
    view = await b.queue.show(uid)
    return view.state if view else None


async def test_suspend_holds_a_waiting_job_and_resume_lets_it_go(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"suspend": True})
        status = await b.objects.until("job", "Suspended")
        assert condition(status, "Suspended")["status"] == "True"  # type: ignore[index]
        assert await worker.claim_ready() == []
        await b.objects.patch("job", {"spec": {"suspend": False}})
        await worker.ack(await worker.one())
        status = await b.objects.until("job", "Complete")
        assert condition(status, "Suspended")["status"] == "False"  # type: ignore[index]
        assert status["observedGeneration"] == 2


async def test_suspending_a_running_job_stops_and_refunds_it(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job")
        job = await worker.one()
        await b.objects.patch("job", {"spec": {"suspend": True}})
        await eventually(worker.beat, lambda beat: bool(beat.controls))
        await worker.ack(job, AckKind.RELEASE, reason="Drained")
        status = await b.objects.until("job", "Suspended")
        assert status["attempts"] == 0


async def test_cancel_ends_a_waiting_job_at_once(b: Bench) -> None:
    async with b.running():
        await b.objects.create("job", {"delaySeconds": 3600})
        await b.objects.until("job", "Scheduled")
        await b.objects.patch("job", {"spec": {"cancel": True}})
        status = await b.objects.until("job", "Cancelled")
        assert condition(status, "Failed")["reason"] == "Cancelled"  # type: ignore[index]
        assert condition(status, "Finished")["status"] == "True"  # type: ignore[index]
        events = await eventually(lambda: b.objects.events("job"))
        assert [event["reason"] for event in events] == ["JobCancelled"]


async def test_cancel_asks_a_running_job_to_stop(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job")
        job = await worker.one()
        await b.objects.patch("job", {"spec": {"cancel": True}})
        await eventually(worker.beat, lambda beat: bool(beat.controls))
        await worker.ack(job, AckKind.CANCEL)
        await b.objects.until("job", "Cancelled")


async def test_h21_the_retry_annotation_starts_a_new_round_once_per_value(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"maxAttempts": 1})
        await worker.ack(await worker.one(), AckKind.FAIL, reason="AgentFailed", message="no")
        await b.objects.until("job", "Failed")
        ask = {"metadata": {"annotations": {RETRY_REQUESTED_AT: "2026-11-23T12:00:00Z"}}}
        await b.objects.patch("job", ask)
        again = await worker.one()
        assert again.round == 2
        status = await b.objects.until("job", "Running")
        assert condition(status, "Failed")["status"] == "False"  # type: ignore[index]
        assert condition(status, "Finished")["status"] == "False"  # type: ignore[index]
        await worker.ack(again, AckKind.FAIL, reason="AgentFailed", message="no")
        status = await b.objects.until("job", "Failed")
        assert status["round"] == 2
    async with b.running():  # a new operator lists everything again
        await eventually(lambda: applied(b), lambda n: n > 0)
        assert await worker.claim_ready() == []


async def applied(b: Bench) -> int:
    return b.meter.total("agentjobs_operator_changes_applied_total")


async def test_h21_a_retry_that_cannot_be_is_refused_with_an_event(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job")
        await worker.ack(await worker.one())
        await b.objects.until("job", "Complete")
        await b.objects.patch("job", {"metadata": {"annotations": {RETRY_REQUESTED_AT: "now"}}})
        events = await eventually(lambda: b.objects.events("job"), lambda found: len(found) == 2)
        refused = next(event for event in events if event["reason"] == "RetryRefused")
        assert "Complete" in refused["message"]
        assert (await b.objects.status("job"))["state"] == "Complete"


async def test_a_change_while_a_retry_begins_is_not_lost(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"maxAttempts": 1})
        await worker.ack(await worker.one(), AckKind.FAIL, reason="AgentFailed", message="no")
        await b.objects.until("job", "Failed")
        annotations = {RETRY_REQUESTED_AT: "1"}
        await b.objects.patch("job", {"metadata": {"annotations": annotations}, "spec": {"suspend": True}})
        status = await b.objects.until("job", "Suspended")
        assert status["round"] == 2


async def test_priority_and_max_attempts_change_while_it_waits(b: Bench) -> None:
    async with b.running():
        made = await b.objects.create("job", {"priority": 7})
        uid = UUID(made["metadata"]["uid"])
        await eventually(lambda: b.queue.show(uid))
        await b.objects.patch("job", {"spec": {"priority": 1, "maxAttempts": 9}})

        async def both() -> tuple[int, int] | None:
            view = await b.queue.show(uid)
            return (view.priority, view.max_attempts) if view else None

        await eventually(both, lambda found: found == (1, 9))


# ttl ---------------------------------------------------------------------------------------------------


async def test_ttl_deletes_the_object_and_keeps_the_record(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        made = await b.objects.create("short", {"ttlSecondsAfterFinished": 0})
        await b.objects.create("stays")
        for job in await worker.claim(2):
            await worker.ack(job)
        await eventually(lambda: b.objects.exists("short"), lambda there: not there)
        view = await b.queue.show(UUID(made["metadata"]["uid"]))
        assert view is not None
        assert (view.state, view.result) == (State.COMPLETE, "the answer")
        await b.objects.until("stays", "Complete")
        assert await b.objects.exists("stays")


async def test_objects_without_a_ttl_take_the_operators_default(b: Bench) -> None:
    async with b.running(default_ttl_seconds=1):
        worker = await b.worker()
        await b.objects.create("default")
        await b.objects.create("longer", {"ttlSecondsAfterFinished": 3600})
        for job in await worker.claim(2):
            await worker.ack(job)
        await eventually(lambda: b.objects.exists("default"), lambda there: not there)
        assert await b.objects.exists("longer")


async def test_what_expired_while_no_operator_ran_is_deleted_by_the_next(b: Bench) -> None:
    async with b.running():
        worker = await b.worker()
        await b.objects.create("job", {"ttlSecondsAfterFinished": 3600})
        await worker.ack(await worker.one())
        await b.objects.until("job", "Complete")
    await b.objects.patch("job", {"spec": {"ttlSecondsAfterFinished": 0}})
    async with b.running():
        await eventually(lambda: b.objects.exists("job"), lambda there: not there)


# privileges --------------------------------------------------------------------------------------------


async def test_invariant_14_a_queue_that_is_not_open_holds_the_job_until_the_settings_change(
    b: Bench,
) -> None:
    closed = {"fast": QueueAccess(("somebody-else",))}
    queues = {"fast": 5, "agents": 5}
    async with b.running(queue_access=closed):
        worker = await b.worker(queues=queues)
        await b.objects.create("held", {"queue": "fast"})
        await b.objects.create("free")
        status = await eventually(
            lambda: b.objects.status("held"), lambda s: s.get("reason") == "QueueNotAllowed"
        )
        accepted = condition(status, "Accepted")
        assert accepted is not None
        assert accepted["status"] == "False"
        assert "'fast'" in accepted["message"]
        assert b.objects.namespace in accepted["message"]
        assert condition(status, "Finished") is None, "curable: it has not finished"
        assert "queues.fast.allowedNamespaces of the chart" in status["message"]
        events = await eventually(lambda: b.objects.events("held"))
        assert [(event["type"], event["reason"]) for event in events] == [("Warning", "QueueNotAllowed")]
        assert "queues.fast.allowedNamespaces" in events[0]["message"]
        (job,) = await worker.claim()
        assert job.payload["name"] == "free", "one that waits for a privilege blocks nobody"
        assert await worker.claim_ready() == []
    async with b.running(queue_access={"fast": QueueAccess((b.objects.namespace,))}):
        job = await worker.one()
        assert job.payload["name"] == "held"
        status = await b.objects.until("held", "Running")
        assert condition(status, "Accepted")["status"] == "True"  # type: ignore[index]


async def test_invariant_14_the_best_priority_is_a_privilege_too(b: Bench) -> None:
    async with b.running(queue_access={"agents": QueueAccess((), best_priority=2)}):
        await b.objects.create("pushy", {"priority": 0})
        status = await eventually(lambda: b.objects.status("pushy"), lambda s: bool(s))
        assert status["reason"] == "QueueNotAllowed"
        assert "spec.priority: 0" in status["message"]
        await b.objects.patch("pushy", {"spec": {"priority": 2}})
        await b.objects.until("pushy", "Queued")


async def test_the_deadline_of_a_job_that_never_starts_is_kept_without_any_worker(b: Bench) -> None:
    async with b.running():
        await b.objects.create("late", {"startingDeadlineSeconds": 1})
        status = await b.objects.until("late", "Failed")
        assert status["reason"] == "StartingDeadlineExceeded"
        assert parse_time(status["completionTime"]) <= datetime.now(UTC) + timedelta(seconds=5)
