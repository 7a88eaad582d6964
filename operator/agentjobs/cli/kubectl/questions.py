"""From an AgentJob as the API server shows it to its question, and to the patch that answers it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentjobs.api.input_response import Response, text_of
from agentjobs.api.names import INPUT_RESPONSE
from agentjobs.cli.errors import Unavailable
from agentjobs.cli.questions import Question

JsonObject = Mapping[str, Any]


def question_of(agent_job: JsonObject, id: str | None = None) -> Question:
    """The question that the job waits with; of this ``id`` where one is given. Raises Unavailable."""
    metadata, status = agent_job["metadata"], agent_job.get("status") or {}
    job = f"{metadata['namespace']}/{metadata['name']}"
    request = status.get("inputRequest")
    if not request:
        reason = status.get("reason")
        state = status.get("state") or "not seen by the operator yet"
        why = f" ({reason})" if reason and reason != state else ""
        raise Unavailable(f"agentjob {job} does not wait for input: it is {state}{why}.")
    question = Question(
        job=f"AgentJob {job}",
        id=request["id"],
        tool=request["tool"],
        arguments=request.get("arguments", ""),
        hint=request.get("hint", ""),
        payload=request.get("payload", ""),
        since=request.get("askedTime", ""),
        deadline=request.get("expiryTime", ""),
        remaining=request.get("remaining", 0),
    )
    if id is not None and id != question.id:
        raise Unavailable(
            f"agentjob {job} asks the question {question.id} now, not {id}: look at status.inputRequest."
        )
    answered = (metadata.get("annotations") or {}).get(INPUT_RESPONSE, "")
    if question.id in answered:
        raise Unavailable(
            f"agentjob {job}: this question is answered already, and the operator has not taken the answer yet, or "
            f"refused it: look at its Events (annotation {INPUT_RESPONSE})."
        )
    return question


def patch_of(agent_job: JsonObject, response: Response) -> dict[str, Any]:
    """A merge patch that answers, of this very object: one made anew under the name has another uid."""
    return {
        "metadata": {
            "uid": agent_job["metadata"]["uid"],
            "annotations": {INPUT_RESPONSE: text_of(response)},
        }
    }
