"""Questions of AgentJobs: read from an object's status, and the patch that answers one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentjobs.api.input_response import Response, parse, text_of
from agentjobs.api.names import INPUT_RESPONSE
from agentjobs.cli.errors import Unavailable
from agentjobs.cli.kubectl.output import in_brackets
from agentjobs.cli.questions import Question

JsonObject = Mapping[str, Any]


def question_of(agent_job: JsonObject, id: str | None = None) -> Question:
    """The open question of an AgentJob.

    :param id: the question that the user means. None: the one that is open.
    :raises Unavailable: the job asks nothing, or another question, or its question is answered already.
    """
    metadata, status = agent_job["metadata"], agent_job.get("status") or {}
    job = f"agentjob {metadata['namespace']}/{metadata['name']}"
    if not metadata["namespace"]:
        job = f"job {metadata['name']}"
    request = status.get("inputRequest")
    if not request:
        reason = status.get("reason")
        state = str(status.get("state") or "not seen by the operator yet")
        why = in_brackets(state, str(reason or ""))
        inbox = (
            f"kubectl agentjobs inbox -n {metadata['namespace']}"
            if metadata["namespace"]
            else "agentjobs inbox"
        )
        raise Unavailable(f"{job} does not wait for input: it is {state}{why}. Questions that wait: {inbox}")
    question = Question(
        job=job.replace("agentjob", "AgentJob"),
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
            f"{job} asks the question {question.id} now, not {id}: look at status.inputRequest."
        )
    if answers((metadata.get("annotations") or {}).get(INPUT_RESPONSE, ""), question):
        raise Unavailable(
            f"{job}: this question is answered already, and the operator has not taken the answer yet "
            f"(annotation {INPUT_RESPONSE}). To answer otherwise, take that away first: "
            f"kubectl annotate agentjob {metadata['name']} -n {metadata['namespace']} {INPUT_RESPONSE}-"
        )
    return question


def answers(annotation: str, question: Question) -> bool:
    """Whether the annotation's value is an answer to this question. One that the operator refused is none: the next
    answer may take its place."""
    try:
        return parse(annotation).id == question.id
    except ValueError:
        return False


def patch_of(agent_job: JsonObject, response: Response) -> dict[str, Any]:
    """The merge patch that answers the question.

    It has the uid: a later object of this name is not patched.
    """
    return {
        "metadata": {
            "uid": agent_job["metadata"]["uid"],
            "annotations": {INPUT_RESPONSE: text_of(response)},
        }
    }
