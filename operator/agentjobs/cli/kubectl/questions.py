"""Questions of AgentJobs: read from an object's status, and the patch that answers one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentjobs.api.input_response import Response, parse, text_of
from agentjobs.api.names import INPUT_RESPONSE
from agentjobs.cli.errors import BadInput, Unavailable
from agentjobs.cli.kubectl.output import in_brackets
from agentjobs.cli.questions import Question
from agentjobs.values.answer_schema import misfit
from agentjobs.values.question_kinds import QuestionKind

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
        job=job.replace("agentjob", "AgentJob", 1),
        id=request["id"],
        tool=request["tool"],
        arguments=request.get("arguments", ""),
        hint=request.get("hint", ""),
        payload=request.get("payload", ""),
        kind=request.get("kind", ""),
        result=request.get("result", ""),
        schema=request.get("responseSchema", ""),
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


def check_kind(question: Question, said: Response, answer: str) -> None:
    """Whether ``said`` is of the kind that the question wants.

    :param answer: the command that answers with a payload.
    :raises Unavailable: the question wants a payload, or a yes or no.
    :raises BadInput: the payload does not fit the question's schema.
    """
    if said.approved is not None and question.kind:
        raise Unavailable(
            f"{question.job} does not ask for a yes or no, but {_WANTS.get(question.kind, 'for an input')}: {answer} "
            "--payload JSON"
        )
    if said.approved is None and not question.kind:
        raise Unavailable(
            f"{question.job} asks whether the tool {question.tool} may be called: approve it or reject it, with "
            "--payload where something is to be filled in."
        )
    if question.schema and (problem := misfit(said.payload, question.schema)):
        raise BadInput(f"--payload: {problem}. The schema: {question.schema}")


_WANTS: dict[str, str] = {
    QuestionKind.LONG_RUNNING: "for the result of a tool that has begun",
    QuestionKind.INPUT: "for an input",
}


def answers(annotation: str, question: Question) -> bool:
    """Whether the annotation's value is an answer to this question. One that the operator refused is none: the next
    answer may take its place."""
    try:
        said = parse(annotation)
        check_kind(question, said, "")
    except (ValueError, Unavailable, BadInput):
        return False
    return said.id == question.id


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
