"""The spec of an attempt, made from a claimed job's payload. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentjobs.agents.definition.attempt_spec import AttemptSpec
from agentjobs.queue.records import ClaimedJob
from agentjobs.values.bounds import LONGEST_SECONDS, count
from agentjobs.values.input_file import InputFile

VERSION = 5
"""The newest payload that this worker understands. 2: with people's answers, which the queue adds. 3: also with results
of long-running tools, and inputs. 4: also with a state. 5: also with files."""


class PayloadTooNew(Exception):
    """The payload has a newer version; a newer worker can run it (H30)."""


class PayloadInvalid(Exception):
    """No worker can run the payload; the message names field, value and what is wanted."""


def attempt_spec(job: ClaimedJob) -> AttemptSpec:
    """The spec of this attempt. Raises PayloadTooNew, PayloadInvalid."""
    if job.payload_problem:
        raise PayloadInvalid(job.payload_problem)
    payload = job.payload
    version = payload.get("v", 1)
    if not isinstance(version, int) or version < 1:
        raise PayloadInvalid(f"payload.v is {version!r:.80}; a whole number from 1 is wanted")
    if version > VERSION:
        raise PayloadTooNew(f"payload.v is {version}, and this worker understands versions up to {VERSION}")
    agent = payload.get("agent")
    if not isinstance(agent, Mapping) or len(agent.keys() & {"module", "inline"}) != 1:
        raise PayloadInvalid("payload.agent must be an object with either module or inline")
    budget = payload.get("budget") or {}
    if not isinstance(budget, Mapping):
        raise PayloadInvalid(f"payload.budget is {budget!r:.80}; an object is wanted")
    return AttemptSpec(
        uid=str(job.uid),
        namespace=_text(payload, "namespace", "default"),
        name=_text(payload, "name", str(job.uid)),
        queue=job.queue,
        run=job.run,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        round=job.round,
        agent=dict(agent),
        message=_text(payload, "message", ""),
        state=_state(payload),
        inputs=_inputs(payload),
        user_id=_text(payload, "userID", "system"),
        app_name=_text(payload, "appName", "agentjobs"),
        session_id=_text(payload, "sessionID", "") or None,
        max_tokens=_number(budget, "maxTokens"),
        max_llm_calls=_number(budget, "maxLLMCalls"),
        spent=job.spent,
        attempt_timeout_seconds=job.attempt_timeout_seconds,
        answers=_answers(payload),
        claim=job.claim,
    )


def input_deadline_seconds(job: ClaimedJob) -> int | None:
    """How long a tool's question may wait for an answer; None: as long as the job."""
    value = job.payload.get("inputDeadlineSeconds")
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return count(value, int(LONGEST_SECONDS)) if whole else None


def _answers(payload: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    answers = payload.get("answers") or {}
    if not isinstance(answers, Mapping) or not all(isinstance(one, Mapping) for one in answers.values()):
        raise PayloadInvalid("payload.answers must be an object of objects")
    return dict(answers)


def _inputs(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = payload.get("inputs") or []
    for place, one in enumerate(given if isinstance(given, list) else [given]):
        try:
            InputFile.from_json(one)
        except (AttributeError, KeyError, TypeError, ValueError):
            wanted = "an object with name, mimeType, attach, and data as base64 or artifact is wanted"
            raise PayloadInvalid(f"payload.inputs[{place}] is a {type(one).__name__}; {wanted}") from None
    return list(given)


def _state(payload: Mapping[str, Any]) -> dict[str, Any]:
    state = payload.get("state") or {}
    if not isinstance(state, Mapping):
        raise PayloadInvalid(f"payload.state is a {type(state).__name__}; an object is wanted")
    return dict(state)


def _text(payload: Mapping[str, Any], field: str, default: str) -> str:
    value = payload.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        raise PayloadInvalid(f"payload.{field} is {value!r:.80}; a text is wanted")
    return value


def _number(budget: Mapping[str, Any], field: str) -> int | None:
    value = budget.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise PayloadInvalid(f"payload.budget.{field} is {value!r:.80}; a whole number is wanted")
    return value
