"""``agentjobs wait``, ``transcript``, ``inbox``, ``approve``, ``reject`` and ``top`` on a database: the plugin's words, output and
exit statuses, for jobs without a cluster."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from agentjobs.agents.sessions.service import JobSessions
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import AckKind, NewJob, State
from agentjobs.values.names import own_session
from agentjobs.values.question_kinds import QuestionKind
from agentjobs.values.reasons import Reason
from agentjobs.values.requests import InputRequest
from queue_builders import TestWorker, mirrored_job, new_job
from session_stores import KEY
from session_stores import said as words

HOSTILE = "\x1b[2J\x9b31m\u202e gone"
FIRST = InputRequest("q-1", "refund", '{"order": "A-1"}', f"Really? {HOSTILE}")
SECOND = InputRequest("q-2", "refund", '{"order": "A-2"}')
MAIN = [sys.executable, "-c", "from agentjobs.cli.main import main; main()"]


@pytest.fixture
async def queue(dsn: str) -> AsyncIterator[Queue]:
    async with await Queue.open(dsn) as made:
        yield made


@pytest.fixture
async def worker(queue: Queue) -> TestWorker:
    return await TestWorker(queue).register()


async def said(dsn: str, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """What a command said."""
    environment = {**os.environ, "AGENTJOBS_DATABASE_URL": dsn}

    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MAIN, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    found = await asyncio.to_thread(done)
    assert found.returncode == status, (arguments, found.stdout, found.stderr)
    assert "Traceback" not in found.stderr
    assert not set("\x1b\x9b\u202e") & set(found.stdout + found.stderr)
    return found


async def asking(queue: Queue, worker: TestWorker, job: NewJob, *requests: InputRequest) -> str:
    """The uid of a job that asks."""
    await queue.enqueue([job])
    await worker.ack(await worker.one(), AckKind.ASK, reason="InputRequired", requests=requests)
    return str(job.uid)


async def test_a_question_is_listed_and_answered_under_the_users_name(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    one = await asking(queue, worker, new_job(), FIRST, SECOND)
    other = await asking(queue, worker, new_job(), FIRST)
    theirs = await asking(queue, worker, mirrored_job("theirs"), FIRST)
    rows = (await said(dsn, "inbox")).stdout.splitlines()
    assert rows[0].split() == ["NAMESPACE", "NAME", "TOOL", "ARGUMENTS", "SINCE", "DEADLINE"]
    assert [row.split()[1] for row in rows[1:]] == [one, other, "theirs"], "the oldest first"
    listed = json.loads((await said(dsn, "inbox", "-n", "team", "-o", "json")).stdout)["items"]
    assert [item["metadata"]["name"] for item in listed] == ["theirs"]

    assert "add --yes" in (await said(dsn, "approve", one, status=2)).stderr
    assert (
        "asks the question q-1 now, not q-9"
        in (await said(dsn, "approve", one, "--id=q-9", "--yes", status=1)).stderr
    )
    assert "JSON is wanted" in (await said(dsn, "approve", one, "--payload={", "--yes", status=2)).stderr
    done = await said(dsn, "approve", one, "--yes", "--reason=known")
    assert done.stdout == f"job {one} approved: refund\n"
    assert "It asks 1 more: run the command again." in done.stderr
    assert (await said(dsn, "approve", one, "--yes")).stdout == f"job {one} approved: refund\n"
    assert (
        await said(dsn, "reject", other, "--yes", "--reason=no")
    ).stdout == f"job {other} rejected: refund\n"
    assert (
        f"job {other} does not wait for input" in (await said(dsn, "reject", other, "--yes", status=1)).stderr
    )
    told = (await said(dsn, "approve", theirs, "--yes", status=1)).stderr
    assert "kubectl agentjobs approve theirs -n team" in told

    audit = [row for row in await queue.audit(limit=50) if row.verb in ("approve", "reject")]
    assert {(row.actor, row.source) for row in audit} == {(getpass.getuser(), "agentjobs")}
    assert {(str(row.uid), row.verb, row.reason) for row in audit} == {
        (one, "approve", "known"), (one, "approve", ""), (other, "reject", "no"),
    }  # fmt: skip


async def test_the_result_of_a_long_running_tool_is_given_by_answer(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    build = InputRequest(
        "b-1", "build", kind=QuestionKind.LONG_RUNNING, schema='{"type": "object", "required": ["status"]}'
    )
    one = await asking(queue, worker, new_job(), build)
    assert "--payload: JSON other than null" in (await said(dsn, "answer", one, "--yes", status=2)).stderr
    told = (await said(dsn, "approve", one, "--yes", status=1)).stderr
    assert f"for the result of a tool that has begun: agentjobs answer {one} --payload JSON" in told
    told = (await said(dsn, "answer", one, "--payload={}", "--yes", status=2)).stderr
    assert "payload.status is missing; a value is wanted" in told
    done = await said(dsn, "answer", one, '--payload={"status": "ok"}', "--yes")
    assert done.stdout == f"job {one} answered: build\n"
    assert "waits for the result of the tool build" in done.stderr
    (audited,) = [row for row in await queue.audit(limit=50) if row.verb == "answer"]
    assert audited.actor == getpass.getuser()


async def test_the_exit_status_of_wait_is_that_of_the_jobs(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    good, bad, slow = new_job(), new_job(max_attempts=1), new_job(queue="nobody")
    await queue.enqueue([good, bad, slow])
    waiting = asyncio.create_task(said(dsn, "wait", str(good.uid)))
    jobs = {job.uid: job for job in await worker.claim(2)}
    await worker.ack(jobs[good.uid], AckKind.COMPLETE, result="42")
    await worker.ack(jobs[bad.uid], AckKind.FAIL, reason=Reason.TOOL_FAILED, message=f"no {HOSTILE}")
    assert f"{good.uid}: Complete\n" in (await waiting).stderr
    told = (await said(dsn, "wait", str(good.uid), str(bad.uid), "--quiet", status=1)).stderr
    assert f"{bad.uid}: Failed (ToolFailed): no " in told
    await said(dsn, "wait", str(bad.uid), "--for=Failed")
    told = (await said(dsn, "wait", str(slow.uid), "--timeout=1s", status=2)).stderr
    assert f"error: not within 1 s: {slow.uid}. Look with: agentjobs why {slow.uid}\n" in told
    assert "not in the database" in (await said(dsn, "wait", str(uuid4()), status=1)).stderr
    assert (
        "--for: wants Finished or a state"
        in (await said(dsn, "wait", str(good.uid), "--for=,", status=2)).stderr
    )


async def test_a_conversation_is_printed_and_followed_until_the_job_has_ended(
    dsn: str, queue: Queue, worker: TestWorker
) -> None:
    names = {"namespace": "team", "appName": "app", "userID": "ann", "sessionID": "s"}
    mine = new_job(payload={"v": 1, **names})
    await queue.enqueue([mine])
    await queue.admit()
    sessions = JobSessions(dsn)
    session = await sessions.create_session(**KEY)

    async def say(text: str) -> None:
        await sessions.append_event(session, words(text, invocation_id=own_session(mine.uid)))

    try:
        assert "nothing was said yet" in (await said(dsn, "transcript", str(mine.uid))).stderr
        await say(f"first\nof two lines {HOSTILE}")
        running = await worker.one()
        assert "    of two lines" in (await said(dsn, "transcript", str(mine.uid))).stdout
        page = json.loads((await said(dsn, "transcript", str(mine.uid), "-o", "json")).stdout)
        assert [item["kind"] for item in page["items"]] == ["text"]
        environment = {**os.environ, "AGENTJOBS_DATABASE_URL": dsn}
        process = await asyncio.create_subprocess_exec(
            *MAIN, "transcript", str(mine.uid), "-f", env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        while b"of two lines" not in (line := await process.stdout.readline()):
            assert line, "it has ended"
        await say("last")
        await worker.ack(running, AckKind.COMPLETE, result="42")
        rest, _ = await asyncio.wait_for(process.communicate(), 60)
        assert (rest.count(b"last"), process.returncode) == (1, 0)
    finally:
        await sessions.release()


async def test_top_draws_once_in_a_pipe(dsn: str, queue: Queue, worker: TestWorker) -> None:
    await queue.enqueue([new_job(payload={"v": 1, "agent": {"module": "shop"}})])
    assert "No job is running." in (await said(dsn, "top")).stdout
    await worker.claim(1)
    told = (await said(dsn, "top")).stdout
    assert "RUNS FOR" in told
    assert "shop" in told


async def test_why_tells_what_stands_around_a_job(dsn: str, queue: Queue, worker: TestWorker) -> None:
    holder, behind = (new_job(payload={"v": 1, "sessionID": "s"}, session="s") for _ in range(2))
    await queue.enqueue([holder, behind])
    await queue.admit()
    await worker.claim(1)
    told = (await said(dsn, "why", str(behind.uid))).stdout
    assert "(BehindSession)" in told
    assert f"Behind:    agentjob {holder.uid} holds its session" in told
    assert f"agentjobs why {holder.uid}" in told
    assert "pool default with 1 worker and 10 slots" in told
    await queue.set_queue("agents", paused=True, by="anna", reason="an upgrade")
    late = new_job()
    await queue.enqueue([late])
    told = (await said(dsn, "why", str(late.uid))).stdout
    assert re.search("paused [0-9a-z]+ ago by anna: an upgrade", told), told
    assert "Queued (QueuePaused)" in told
    assert "agentjobs unpause agents" in told
    assert (await queue.show(late.uid)).state is State.QUEUED  # type: ignore[union-attr]
