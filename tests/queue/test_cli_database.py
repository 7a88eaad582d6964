"""``agentjobs list``, ``why``, ``retry`` …: the plugin's words on a database, for jobs without a cluster."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, State
from agentjobs.values.reasons import Reason
from queue_builders import TestWorker, mirrored_job, new_job

HOSTILE = "\x1b[2J\x9b31m\u202e gone"
AGENT = {"agent": {"inline": {"name": "helper", "model": "echo"}}, "message": "Hello", "userID": "ann"}


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as made:
        yield made


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    return await TestWorker(queue).register()


async def said(dsn: str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """What a command said."""
    main = "from agentjobs.cli.main import main; main()"
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-c", main, *arguments],
            env={**os.environ, "AGENTJOBS_DATABASE_URL": dsn},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


async def test_jobs_are_listed_explained_and_their_answers_printed(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    good, bad = new_job(payload=AGENT), new_job(payload=AGENT, max_attempts=1)
    await queue.enqueue([good, bad])
    jobs = {job.uid: job for job in await worker.claim(2)}
    await worker.ack(jobs[good.uid], AckKind.COMPLETE, result=f"42 {HOSTILE}", log_tail="thinking\n")
    await worker.ack(
        jobs[bad.uid],
        AckKind.FAIL,
        reason=Reason.MODEL_UNAVAILABLE,
        message=HOSTILE,
        log_tail=f"end {HOSTILE}\n",
    )
    await queue.enqueue([mirrored_job("other")])

    table = (await said(dsn, "list")).stdout
    assert table.splitlines()[0].split() == [
        "NAMESPACE",
        "NAME",
        "QUEUE",
        "STATE",
        "REASON",
        "ATTEMPTS",
        "DURATION",
        "AGE",
    ]
    assert all(part in table for part in (str(good.uid), str(bad.uid), "other", "ModelUnavailable"))
    for arguments, uids in (
        (["--state=failed"], {bad.uid}), (["--state=Complete"], {good.uid}), (["--agent=helper", "-n", "-"], {good.uid, bad.uid}),
        (["--model=echo", "--state=Complete"], {good.uid}), (["--user=nobody"], set()), (["-n", "team"], {None}),
    ):  # fmt: skip
        listed = json.loads((await said(dsn, "list", "-o", "json", *arguments)).stdout)
        names = {one["metadata"]["name"] for one in listed["items"]}
        assert names == {"other" if uid is None else str(uid) for uid in uids}, arguments
    assert "whole name" in (await said(dsn, "list", "--agent=h*", status=2)).stderr

    told = (await said(dsn, "why", str(bad.uid))).stdout
    assert told.startswith(f"agentjob {bad.uid}: Failed (ModelUnavailable)\n")
    for part in ("run 1, ModelUnavailable, charged", "Output:", f"agentjobs retry {bad.uid}"):
        assert part in told
    assert (await said(dsn, "why", "other", "-n", "team")).stdout.startswith("agentjob team/other: Queued")
    answer = (await said(dsn, "result", str(good.uid))).stdout
    assert answer.startswith("42 ")
    printed = (await said(dsn, "logs", str(bad.uid))).stdout
    assert "end " in printed
    for text in (table, told, answer, printed):
        assert not set("\x1b\x9b\u202e") & set(text)
    assert (await said(dsn, "result", str(good.uid), "--raw")).stdout == f"42 {HOSTILE}"
    assert "it is Failed" in (await said(dsn, "result", str(bad.uid), status=1)).stderr
    assert "not in the database" in (await said(dsn, "why", str(uuid4()), status=1)).stderr
    assert "is no uid" in (await said(dsn, "why", "other", status=2)).stderr


async def test_acts_are_for_jobs_without_an_object_and_leave_a_row_in_the_audit(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    bare, theirs = (
        [new_job(payload=AGENT, max_attempts=1) for _ in range(30)],
        mirrored_job("other", max_attempts=1),
    )
    await queue.enqueue([*bare, theirs])
    for _ in range(4):
        for job in await worker.claim(10):
            await worker.ack(job, AckKind.FAIL, reason=Reason.MODEL_UNAVAILABLE)
    one = bare[0]
    assert (
        await said(dsn, "retry", str(one.uid), "--because=it is back")
    ).stdout == f"job {one.uid} retried\n"
    assert "is Queued" in (await said(dsn, "retry", str(one.uid), status=1)).stderr
    assert (
        "kubectl agentjobs retry other -n team"
        in (await said(dsn, "retry", str(theirs.uid), status=1)).stderr
    )
    preview = (await said(dsn, "retry", "--state=Failed", "--dry-run")).stderr
    assert "Retry 29 jobs without an object?" in preview
    assert "… and 19 more" in preview
    assert "add --yes" in (await said(dsn, "retry", "--state=Failed", status=2)).stderr
    done = await said(
        dsn, "retry", "--reason=ModelUnavailable", "--spread=10m", "--yes", "--because=it is back"
    )
    assert done.stdout == "29 jobs retried.\n"
    assert "No jobs without an object to retry" in (await said(dsn, "retry", "--all", "--yes")).stderr
    rows = [row for row in await queue.audit(limit=100) if row.verb == "retry"]
    assert sorted(str(row.uid) for row in rows) == sorted(str(job.uid) for job in bare)
    assert {(row.actor, row.reason, row.source) for row in rows} == {
        (getpass.getuser(), "it is back", "agentjobs")
    }
    assert "is for jobs that are" in (await said(dsn, "cancel", "--state=Failed", status=2)).stderr
    assert (await said(dsn, "suspend", str(one.uid))).stdout == f"job {one.uid} suspended\n"
    assert (await said(dsn, "resume", str(one.uid))).stdout == f"job {one.uid} resumed\n"
    assert (await said(dsn, "cancel", "--all", "--yes")).stdout == "30 jobs cancelled.\n"
    view = await queue.show(theirs.uid)
    assert view is not None
    assert view.state is State.FAILED, "the object's job is as it was"
    assert "Which?" in (await said(dsn, "cancel", status=2)).stderr


async def test_queues_are_listed_paused_and_let_go_on(dsn: str, queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job(), new_job()])
    assert (await said(dsn, "queues", "--no-headers")).stdout.split()[:4] == ["agents", "2", "0", "10"]
    assert (await said(dsn, "pause", "agents", "--because=a test")).stdout == "queue agents paused\n"
    assert (await said(dsn, "pause", "agents")).stdout == "queue agents is paused already\n"
    (item,) = json.loads((await said(dsn, "queues", "-o", "json")).stdout)["items"]
    assert (item["status"]["paused"], item["status"]["pausedBy"]) == (True, getpass.getuser())
    assert (await said(dsn, "unpause", "agents")).stdout == "queue agents unpaused\n"
    rows = await queue.audit(queue="agents")
    assert [(row.verb, row.source) for row in rows][-1] == ("pause", "agentjobs")
    await worker.beat()
    assert (await said(dsn, "workers", "--no-headers")).stdout.split()[1:4] == ["default", "agents=10", "10"]
    assert (await said(dsn, "models")).stderr == "No models with failures.\n"


async def test_a_database_that_is_not_named_or_does_not_answer_is_told_in_one_line(dsn: str) -> None:
    assert "No database is named" in (await said("", "list", status=2)).stderr
    told = (await said("postgresql://nobody@127.0.0.1:1/none", "list", status=1)).stderr
    assert len(told.splitlines()) == 1
