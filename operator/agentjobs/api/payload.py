"""The payload of an AgentJob: the part of its object that the queue stores for executors; and its session's
key."""

from __future__ import annotations

import re
from typing import Any

from agentjobs.api.agentjob import AgentJob
from agentjobs.api.given import NOTHING, Given
from agentjobs.api.meta import SCHEDULED_TIME, TRACEPARENT
from agentjobs.api.scheduledagentjob import ScheduledAgentJob
from agentjobs.values.names import session_part

PAYLOAD_VERSION, WITH_STATE, WITH_INPUTS = 1, 4, 5
"""Versions of payloads: a plain one's, that of one with a state, and that of one with files. A change gets a new version when workers of before would misread the
payload; such a worker releases the job (H30)."""

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def payload_of(job: AgentJob, given: Given = NOTHING) -> dict[str, Any]:
    """The payload as JSON: everything of the object that an attempt needs.

    Fields absent in the spec are absent here.

    :param given: what was read of ``messageFrom`` and ``inputs``.
    """
    spec = job.spec
    payload: dict[str, Any] = {
        "v": PAYLOAD_VERSION,
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "agent": spec.agent.as_json(),
        "message": given.message or spec.message or "",
        "userID": spec.user_id,
        "appName": spec.app_name,
    }
    if spec.state:
        payload |= {"v": WITH_STATE, "state": spec.state}
    if given.files:
        payload |= {"v": WITH_INPUTS, "inputs": [file.as_json() for file in given.files]}
    if spec.session_id is not None:
        payload["sessionID"] = spec.session_id
    if spec.budget is not None and (budget := spec.budget.as_json()):
        payload["budget"] = budget
    if spec.input_deadline_seconds is not None:
        payload["inputDeadlineSeconds"] = spec.input_deadline_seconds
    if (parent := job.metadata.annotations.get(TRACEPARENT)) and not traceparent_problem(parent):
        payload["traceparent"] = parent
    if (schedule := job.metadata.controller(ScheduledAgentJob.KIND)) is not None:
        payload["schedule"] = {
            "uid": schedule.uid,
            "name": schedule.name,
            "time": job.metadata.annotations.get(SCHEDULED_TIME, ""),
        }
    return payload


def traceparent_problem(value: str) -> str:
    """The reason why the annotation is ignored, and what is wanted. Empty: it is valid.

    A job is never refused for it.
    """
    if _TRACEPARENT.fullmatch(value):
        return ""
    return (
        f"annotation {TRACEPARENT}: {value[:80]!r} is no W3C traceparent (00-<32 hexadecimal digits>-<16>-<2>, in "
        f"lower case, not all zeros); it is ignored, and the job has a trace of its own. Set it when you create the "
        f"object: later changes are not looked at"
    )


def session_of(job: AgentJob) -> str | None:
    """The key of the session that the job shares with others.

    None: it has its own, which needs no lock (H18).
    """
    if job.spec.session_id is None:
        return None
    return session_key(job.metadata.namespace, job.spec.app_name, job.spec.user_id, job.spec.session_id)


def session_key(namespace: str, app_name: str, user_id: str, session_id: str) -> str:
    """The key ``namespace/app/user/session`` of a session, with the four parts percent-encoded.

    A slash inside of a part is encoded, so different parts never give the same key, and two namespaces never
    share a session (H18).
    """
    return "/".join(session_part(part) for part in (namespace, app_name, user_id, session_id))
