"""Retention of conversations: a job's own session goes once its record is gone and nobody has written it for long; nothing else goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from google.genai import types
from typer.testing import CliRunner

from agentjobs.agents.sessions import prune
from agentjobs.agents.sessions.artifacts import ArtifactLimits, PostgresArtifacts
from agentjobs.agents.sessions.fence import Fence
from agentjobs.agents.sessions.prune import Pruned, prune_sessions
from agentjobs.agents.sessions.service import JobSessions
from agentjobs.agents.verdict.errors import SessionStoreUnavailable
from agentjobs.cli.main import app
from agentjobs.queue.queue import Queue
from agentjobs.queue.records import NewJob
from agentjobs.values.names import own_session
from queue_builders import TestWorker, change, new_job, pass_time, sql, until, waits_for_a_lock
from roles import roles_in
from session_stores import OURS, opened, said

IDLE = timedelta(days=30)
LONG_AGO = "interval '31 days'"


async def none_kept(uids: Sequence[UUID]) -> frozenset[UUID]:
    return frozenset()


@pytest.fixture
async def sessions(dsn: str) -> AsyncIterator[JobSessions]:
    async with opened(OURS, dsn) as service:
        assert isinstance(service, JobSessions)
        await service.prepare()
        yield service


def key_of(uid: UUID, app: str = "team/app", user: str = "ann") -> dict[str, Any]:
    return {"app_name": app, "user_id": user, "session_id": own_session(uid)}


async def conversation(sessions: JobSessions, uid: UUID, **whose: str) -> None:
    """What a run of the job leaves behind: a fence, a session, an event, an artifact."""
    key = key_of(uid, **whose)
    session = await sessions.open(Fence(**key, job=str(uid), run=1))
    await sessions.append_event(session, said())
    artifacts = PostgresArtifacts(sessions, ArtifactLimits())
    await artifacts.save_artifact(**key, filename="report", artifact=types.Part(text="done"))


async def rest(dsn: str, of: str = "true") -> None:
    """Nobody writes the sessions for a month."""
    await sql(dsn, f"update adk.sessions set update_time = update_time - {LONG_AGO} where {of}")
    await sql(
        dsn,
        f"update adk.fence set raised_at = raised_at - {LONG_AGO} where {of.replace('id ', 'session_id ')}",
    )


async def left(dsn: str) -> dict[str, set[str]]:
    """The sessions that have rows, by table."""
    columns = {"sessions": "id", "events": "session_id", "artifact": "session_id", "fence": "session_id"}
    return {
        table: {row[0] for row in await sql(dsn, f"select distinct {column} from adk.{table}")}
        for table, column in columns.items()
    }


def everywhere(*uids: UUID) -> dict[str, set[str]]:
    return {
        table: {own_session(uid) for uid in uids} for table in ("sessions", "events", "artifact", "fence")
    }


async def test_h34_a_conversation_goes_with_all_that_it_had_once_its_jobs_record_is_gone(
    queue: Queue, worker: TestWorker, dsn: str, sessions: JobSessions
) -> None:
    pruned_job, waiting, mirrored = new_job(), new_job(), change()
    await queue.enqueue([pruned_job])
    await queue.apply([mirrored])
    for _ in range(2):
        await worker.ack(await worker.one())
    await queue.enqueue([waiting])
    gone = (pruned_job.uid, mirrored.uid, uuid4())  # the last: of a job that was deleted with its object
    for uid in (*gone, waiting.uid):
        await conversation(sessions, uid)
    await rest(dsn)
    assert await prune_sessions(dsn, queue.kept_records, IDLE) == Pruned(1, 3), (
        "retention has removed no record yet"
    )
    await pass_time(dsn, 8 * 86400)
    assert await queue.prune() == 2
    assert await prune_sessions(dsn, queue.kept_records, IDLE, dry_run=True) == Pruned(2, 1)
    assert await left(dsn) == everywhere(pruned_job.uid, mirrored.uid, waiting.uid)
    assert await prune_sessions(dsn, queue.kept_records, IDLE) == Pruned(2, 1)
    assert await left(dsn) == everywhere(waiting.uid)


async def test_h34_what_was_written_or_opened_lately_stays(dsn: str, sessions: JobSessions) -> None:
    written, opened_lately, old = uuid4(), uuid4(), uuid4()
    for uid in (written, opened_lately, old):
        await conversation(sessions, uid)
    await rest(dsn)
    for uid in (written, opened_lately):
        key = key_of(uid)
        session = await sessions.open(Fence(**key, job=str(uid), run=2))
        if uid == written:
            await sessions.append_event(session, said())
    await prune_sessions(dsn, none_kept, IDLE)
    assert await left(dsn) == everywhere(written, opened_lately)


async def test_h34_sessions_that_somebody_named_stay(dsn: str, sessions: JobSessions) -> None:
    names = ("s", "job-", "job-1", f"xjob-{uuid4()}", f"job-{uuid4()}x", f"JOB-{uuid4()}")
    for name in names:
        await sessions.create_session(app_name="team/app", user_id="ann", session_id=name)
    await rest(dsn)
    assert await prune_sessions(dsn, none_kept, IDLE) == Pruned()
    assert (await left(dsn))["sessions"] == set(names)


async def test_a_pass_looks_at_each_session_once_in_pages_and_asks_about_each(
    dsn: str, sessions: JobSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "LOOKED_AT", 7)
    monkeypatch.setattr(prune, "SLICE", 3)
    made = [uuid4() for _ in range(30)]
    for number, uid in enumerate(made):
        await conversation(sessions, uid, app=f"team-{number % 3}/app", user=f"user {number % 2}")
    await sessions.create_session(app_name="team/app", user_id="ann", session_id="named")
    await rest(dsn)
    asked: list[UUID] = []

    async def kept(uids: Sequence[UUID]) -> frozenset[UUID]:
        assert len(uids) <= 7
        asked.extend(uids)
        return frozenset(uids).intersection(made[:10])

    assert await prune_sessions(dsn, kept, IDLE) == Pruned(20, 10)
    assert sorted(asked) == sorted(made)
    assert (await left(dsn))["sessions"] == {"named", *map(own_session, made[:10])}
    assert await prune_sessions(dsn, kept, IDLE) == Pruned(0, 10)


async def test_two_passes_at_once_remove_each_conversation_once(dsn: str, sessions: JobSessions) -> None:
    made = [uuid4() for _ in range(50)]
    for uid in made:
        await conversation(sessions, uid)
    await rest(dsn)
    done = await asyncio.gather(*(prune_sessions(dsn, none_kept, IDLE) for _ in range(3)))
    assert sum(one.removed for one in done) == 50
    assert await left(dsn) == everywhere()


@pytest.mark.parametrize("by", ["a run that opens it", "another program that writes it"])
async def test_h34_a_session_that_is_used_while_it_is_about_to_go_stays_whole(
    dsn: str, sessions: JobSessions, by: str
) -> None:
    """The pass has chosen it and waits for its rows, which somebody has locked and changes."""
    uid = uuid4()
    await conversation(sessions, uid)
    await rest(dsn)
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        if by == "a run that opens it":
            await other.execute(
                "update adk.fence set raised_at = clock_timestamp(), run = 2, claim = claim + 1"
            )
        else:
            await other.execute("update adk.sessions set update_time = clock_timestamp() at time zone 'utc'")
        passing = asyncio.create_task(prune_sessions(dsn, none_kept, IDLE))
        await until(lambda: waits_for_a_lock(dsn))
        await other.commit()
    assert await passing == Pruned()
    assert await left(dsn) == everywhere(uid)


async def test_h34_a_run_that_comes_too_late_has_a_new_session(dsn: str, sessions: JobSessions) -> None:
    uid = uuid4()
    await conversation(sessions, uid)
    await rest(dsn)
    assert await prune_sessions(dsn, none_kept, IDLE) == Pruned(1)
    session = await sessions.open(Fence(**key_of(uid), job=str(uid), run=2))
    assert session.events == []
    await sessions.append_event(session, said())
    assert (await left(dsn))["events"] == {own_session(uid)}


async def test_a_dry_run_counts_what_would_go(dsn: str, sessions: JobSessions) -> None:
    opened_lately, old, without_fence = uuid4(), uuid4(), uuid4()
    for uid in (opened_lately, old, without_fence):
        await conversation(sessions, uid)
    await rest(dsn)
    await sessions.open(Fence(**key_of(opened_lately), job=str(opened_lately), run=2))
    await sql(dsn, "delete from adk.fence where session_id = %s", own_session(without_fence))
    assert await prune_sessions(dsn, none_kept, IDLE, dry_run=True) == Pruned(2)
    assert await prune_sessions(dsn, none_kept, IDLE) == Pruned(2)
    assert await left(dsn) == everywhere(opened_lately)


async def test_tables_of_another_adk_version_lose_the_artifacts_too(dsn: str, sessions: JobSessions) -> None:
    uid = uuid4()
    await conversation(sessions, uid)
    await sql(dsn, "alter table adk.artifact drop constraint artifact_session")
    await rest(dsn)
    assert await prune_sessions(dsn, none_kept, IDLE) == Pruned(1)
    assert await left(dsn) == everywhere()


async def test_a_store_without_conversations_has_nothing_to_prune(dsn: str) -> None:
    assert await prune_sessions(dsn, none_kept, IDLE) == Pruned()


async def test_a_database_that_is_away_is_told(dsn: str) -> None:
    with pytest.raises(SessionStoreUnavailable, match="SESSION_DATABASE_URL"):
        await prune_sessions("postgresql://u@127.0.0.1:1/none", none_kept, IDLE)


async def test_the_workers_role_asks_and_the_sessions_role_removes(dsn: str) -> None:
    job = NewJob(uuid4(), {"v": 1})
    with roles_in(dsn) as roles:
        async with (
            await Queue.open(roles.admin) as people,
            await Queue.open(roles.dsn("worker")) as queue,
            opened(OURS, roles.dsn("sessions")) as sessions,
        ):
            assert isinstance(sessions, JobSessions)
            await people.enqueue([job])
            for uid in (job.uid, uuid4()):
                await conversation(sessions, uid)
            await rest(roles.admin)
            assert await prune_sessions(roles.dsn("sessions"), queue.kept_records, IDLE) == Pruned(1, 1)
        assert await left(roles.admin) == everywhere(job.uid)


def test_the_command_tells_what_went_and_what_stays(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def made() -> None:
        async with opened(OURS, dsn) as sessions, await Queue.open(dsn) as queue:
            assert isinstance(sessions, JobSessions)
            waiting = new_job()
            await queue.enqueue([waiting])
            for uid in (waiting.uid, uuid4(), uuid4()):
                await conversation(sessions, uid)
            await rest(dsn)

    asyncio.run(made())
    monkeypatch.setenv("AGENTJOBS_DATABASE_URL", dsn)

    def told(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["sessions", "prune", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    kept = "1 idle one stays: its job still has its record.\n"
    assert (
        told("--dry-run") == f"2 conversations would be removed: nobody has written them for 30 days. {kept}"
    )
    assert told("--idle-days=32") == (
        "0 conversations were removed: nobody has written them for 32 days. 0 idle ones stay: their jobs still have their records.\n"
    )
    assert (
        told("--idle-days=31") == f"2 conversations were removed: nobody has written them for 31 days. {kept}"
    )
