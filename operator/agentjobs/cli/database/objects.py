"""The queue's records in the shape of the objects that the plugin shows. Pure."""

from __future__ import annotations

from typing import Any

from agentjobs.api.meta import format_time
from agentjobs.api.names import API_VERSION
from agentjobs.cli.kubectl.history import History, end_of_output, run_of
from agentjobs.controller.agentjob.status import status_of
from agentjobs.queue.job_list import JobRow
from agentjobs.queue.records import JobView, ObjectRef
from agentjobs.values.durations import duration_text
from agentjobs.web.convert import attempts_of

JsonObject = dict[str, Any]


def of_row(row: JobRow) -> JsonObject:
    """A job of a list."""
    agent = {"inline": {"name": row.agent, "model": row.model}} if row.model else {"module": row.agent}
    took = (row.finished_at - row.started_at).total_seconds() if row.finished_at and row.started_at else None
    status = {
        "state": row.state.value,
        "reason": row.reason,
        "message": row.message,
        "attempts": row.attempts,
        "sessionID": row.session,
        "worker": row.worker,
        "usage": row.usage.as_json(),
        "startTime": row.started_at and format_time(row.started_at),
        "completionTime": row.finished_at and format_time(row.finished_at),
        "nextAttemptTime": row.next_attempt_at and format_time(row.next_attempt_at),
        "duration": None if took is None else duration_text(took),
    }
    spec = {
        "queue": row.queue, "priority": row.priority, "maxAttempts": row.max_attempts, "agent": agent, "userID": row.user,
    }  # fmt: skip
    return {
        **_metadata(row.ref, str(row.uid), format_time(row.created_at)),
        "spec": spec,
        "status": _given(status),
    }


def of_view(view: JobView) -> JsonObject:
    """A whole job; its status is the one that an operator would write."""
    spec = {
        **(view.payload or {}),
        "queue": view.queue,
        "priority": view.priority,
        "maxAttempts": view.max_attempts,
        "suspend": view.suspended_at is not None and view.resumed_at is None,
    }
    metadata = _metadata(view.ref, str(view.uid), format_time(view.created_at))
    return {**metadata, "spec": spec, "status": status_of(view, 0)}


def history_of(view: JobView) -> History:
    """All ended runs, and the end of what the last one printed."""
    items: list[JsonObject] = [item.as_json() for item in attempts_of(view).items]
    printed = [run for run in view.attempts_log if run.log_tail]
    runs = [run_of(item) for item in items]
    if not printed:
        return History(runs)
    return History(runs, end_of_output(printed[-1].log_tail.splitlines(), printed[-1].run, runs))


def _metadata(ref: ObjectRef | None, uid: str, created: str) -> JsonObject:
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentJob",
        "metadata": {
            "name": uid if ref is None else ref.name,
            "namespace": "" if ref is None else ref.namespace,
            "uid": uid,
            "creationTimestamp": created,
        },
    }


def _given(status: JsonObject) -> JsonObject:
    return {key: value for key, value in status.items() if value not in (None, "")}
