"""Small builders for the controller's tests: a test names only what it is about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agentjobs.queue.records import AttemptRecord, JobView, ObjectRef, OutboxEntry, State
from agentjobs.values.usage import Usage

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
UID = UUID("11111111-2222-3333-4444-555555555555")
REF = ObjectRef("cluster-1", "team", "report")


def job(state: State = State.QUEUED, **fields: Any) -> JobView:
    defaults: dict[str, Any] = {
        "id": 1, "uid": UID, "ref": REF, "queue": "agents", "priority": 2, "session": None, "state": state,
        "reason": "", "message": "", "exhausted": False, "generation": 1, "round": 1, "run": 0, "attempts": 0, "max_attempts": 3,
        "created_at": AT, "accepted_at": AT, "round_at": AT, "due_at": AT, "started_at": None, "finished_at": None,
        "next_attempt_at": None, "since": AT, "suspended_at": None, "resumed_at": None, "run_started_at": None,
        "worker": "", "control": None, "step": "", "event_count": 0, "usage": Usage(), "result": None,
        "result_truncated": False, "session_id": "", "trace_id": "", "unaccepted": False, "imported_status": None,
        "payload": {"v": 1}, "attempts_log": (), "input_request": None, "input_requests_left": 0, "input_deadline": None,
        "input_answered": None, "refused": "", "refused_changed_at": AT,
    }  # fmt: skip
    return JobView(**(defaults | fields))


def attempt(run: int, **fields: Any) -> AttemptRecord:
    started = AT + timedelta(seconds=20 * (run - 1))
    defaults: dict[str, Any] = {
        "run": run, "attempt": run, "round": 1, "worker": "w", "started_at": started,
        "ended_at": started + timedelta(seconds=10), "outcome": "retry", "reason": "ModelServerError",
        "message": "500", "charged": True, "next_at": None, "usage": Usage(), "event_count": 0,
    }  # fmt: skip
    return AttemptRecord(**(defaults | fields))


def entry(view: JobView, *, version: int = 5, posted_run: int = 0, marked_at: datetime = AT) -> OutboxEntry:
    return OutboxEntry(version, marked_at, posted_run, view)


async def until(condition: Callable[[], bool], within: float = 60.0) -> None:
    """Returns once the condition holds; raises TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
