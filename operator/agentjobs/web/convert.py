"""The queue's records as the API's objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentjobs.queue.audit import AuditRow
from agentjobs.queue.breakers import MODULE, target_of
from agentjobs.queue.job_list import JobRow
from agentjobs.queue.records import AttemptRecord, JobView, ObjectRef
from agentjobs.values.json import JsonObject
from agentjobs.values.reasons import reason_named
from agentjobs.values.saved_file import SavedFile
from agentjobs.values.text import dumps
from agentjobs.values.usage import Usage
from agentjobs.values.verbs import Verb
from agentjobs.web.names import NO_OBJECT
from agentjobs.web.objects.acts import RunAudit
from agentjobs.web.objects.meta import Metadata, time_text
from agentjobs.web.objects.runs import (
    AgentRun,
    AgentRunSpec,
    AgentRunStatus,
    RunAttempt,
    RunAttempts,
    RunFile,
    RunQuestion,
    RunResult,
    RunUsage,
)


def version_of(moment: datetime) -> str:
    """The resourceVersion of what last changed then: microseconds of the database's clock."""
    return str(round(moment.timestamp() * 1_000_000))


def run_of_row(row: JobRow) -> AgentRun:
    """The job of a list's row."""
    return AgentRun(
        metadata=_metadata(row.ref, str(row.uid), row.created_at, row.since),
        spec=AgentRunSpec(
            queue=row.queue,
            priority=row.priority,
            max_attempts=row.max_attempts,
            agent=row.agent or None,
            model=row.model or None,
            user=row.user or None,
            session=row.session or None,
        ),
        status=_status(row, row.result_bytes or None),
    )


def run_of_view(view: JobView) -> AgentRun:
    """The whole job."""
    payload = view.payload or {}
    agent, model = agent_of(payload)
    return AgentRun(
        metadata=metadata_of(view),
        spec=AgentRunSpec(
            queue=view.queue,
            priority=view.priority,
            max_attempts=view.max_attempts,
            agent=agent,
            model=model,
            user=_text(payload, "userID"),
            session=_text(payload, "sessionID"),
        ),
        status=_status(
            view,
            None if view.result is None else len(view.result.encode()),
            trace_id=view.trace_id or None,
            question=_question(view),
            files=[_file(file) for file in view.files] or None,
            file_count=view.file_count if view.file_count > len(view.files) else None,
        ),
    )


def metadata_of(view: JobView) -> Metadata:
    """The metadata of a job's objects."""
    return _metadata(view.ref, str(view.uid), view.created_at, view.since)


def result_of(view: JobView) -> RunResult:
    """The job's final answer."""
    return RunResult(
        metadata=metadata_of(view), state=view.state, result=view.result, truncated=view.result_truncated
    )


def attempts_of(view: JobView) -> RunAttempts:
    """The job's ended runs."""
    return RunAttempts(metadata=metadata_of(view), items=[_attempt(run) for run in view.attempts_log])


def usage_of(usage: Usage) -> RunUsage:
    return RunUsage(
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        llm_calls=usage.llm_calls,
        tool_calls=usage.tool_calls,
    )


def agent_of(payload: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Agent and model as lists name them: the module, or the inline agent's name; its model."""
    target = target_of(payload)
    agent = payload.get("agent")
    inline = agent.get("inline") if isinstance(agent, Mapping) else None
    named = inline.get("name") if isinstance(inline, Mapping) else None
    if target is not None and target.startswith(MODULE):
        return target.removeprefix(MODULE), None
    return (named if isinstance(named, str) and named else None), target


def audit_of(row: AuditRow) -> RunAudit:
    """One act. A job without an object is named by its uid, as everywhere in this API."""
    bare = str(row.uid) if row.uid is not None and row.verb != Verb.ERASE else None
    return RunAudit(
        metadata=Metadata(
            name=str(row.id), namespace=row.namespace or NO_OBJECT, creation_timestamp=time_text(row.at)
        ),
        actor=row.actor or None,
        verb=row.verb,
        target=row.name or bare,
        uid=None if row.uid is None else str(row.uid),
        queue=row.queue,
        reason=row.reason or None,
        before=None if row.before is None else dumps(row.before),
        after=None if row.after is None else dumps(row.after),
        source=row.source or None,
    )


def _metadata(ref: ObjectRef | None, uid: str, created: datetime, since: datetime) -> Metadata:
    return Metadata(
        name=uid if ref is None else ref.name,
        namespace=NO_OBJECT if ref is None else ref.namespace,
        uid=uid,
        creation_timestamp=time_text(created),
        resource_version=version_of(since),
    )


def _status(
    job: JobRow | JobView,
    result_bytes: int | None,
    *,
    trace_id: str | None = None,
    question: RunQuestion | None = None,
    files: list[RunFile] | None = None,
    file_count: int | None = None,
) -> AgentRunStatus:
    """Where the job is; a list's row knows neither its trace nor its question nor its files."""
    return AgentRunStatus(
        state=job.state,
        reason=job.reason or None,
        message=job.message or None,
        attempts=job.attempts,
        round=job.round,
        since=time_text(job.since) or "",
        start_time=time_text(job.started_at),
        finish_time=time_text(job.finished_at),
        next_attempt_time=time_text(job.next_attempt_at),
        worker=job.worker or None,
        step=job.step or None,
        usage=usage_of(job.usage),
        result_bytes=result_bytes,
        trace_id=trace_id,
        question=question,
        files=files,
        file_count=file_count,
    )


def _file(file: SavedFile) -> RunFile:
    return RunFile(name=file.name, version=file.version or 0, type=file.mime_type, bytes=file.size_bytes)


def _question(view: JobView) -> RunQuestion | None:
    asked = view.input_request
    if asked is None:
        return None
    return RunQuestion(
        id=asked.id,
        kind=asked.kind or None,
        tool=asked.tool,
        result=asked.result or None,
        response_schema=asked.schema or None,
        arguments=asked.arguments or None,
        hint=asked.hint or None,
        payload=asked.payload or None,
        expiry_time=time_text(view.input_deadline),
        remaining=view.input_requests_left,
    )


def _attempt(run: AttemptRecord) -> RunAttempt:
    known = reason_named(run.reason)
    return RunAttempt(
        run=run.run,
        attempt=run.attempt,
        round=run.round,
        worker=run.worker or None,
        start_time=time_text(run.started_at) or "",
        end_time=time_text(run.ended_at) or "",
        outcome=run.outcome,
        reason=run.reason or None,
        why=known and known.doc,
        message=run.message or None,
        charged=run.charged,
        next_time=time_text(run.next_at),
        usage=usage_of(run.usage),
        event_count=run.event_count,
        log_bytes=len(run.log_tail.encode()),
    )


def _text(payload: JsonObject, key: str) -> str | None:
    value = payload.get(key)
    return value if isinstance(value, str) and value else None
