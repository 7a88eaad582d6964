"""The status of an AgentJob: a projection of the database's rows, which the operator can rebuild at any time.

No field has an enum, since an older CRD would then refuse a newer operator's value. All times are the
database's.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from agentjobs.api.meta import (
    CONDITION_MESSAGE_MAX_LENGTH,
    REASON_MAX_LENGTH,
    ApiModel,
    Condition,
    Schema,
    Timestamp,
    rule,
    validations,
)

RESULT_MAX_LENGTH = 4096
ATTEMPT_MESSAGE_MAX_LENGTH = 256
ATTEMPT_OUTPUT_MAX_LENGTH = 1024
RECENT_ATTEMPTS_MAX_ITEMS = 3
ARTIFACTS_MAX_ITEMS = 20
ARTIFACT_NAME_MAX_LENGTH = 256
CONDITIONS_MAX_ITEMS = 16
INPUT_TEXT_MAX_LENGTH = 1024
INPUT_SCHEMA_MAX_LENGTH = 8192

Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
SmallCount = Annotated[int, Field(ge=0, le=2_147_483_647)]
Reason = Annotated[str, Field(max_length=REASON_MAX_LENGTH)]

CONDITION_LIST: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}

_REVISION = "revision may not go back: a newer status is there already; read it, or remove the whole status to rebuild it"


def revision_never_goes_back(schema: Schema) -> None:
    """Adds the rules of a status that refuse a lower revision, and to take it out: an older operator cannot overwrite a newer status."""
    node, reason = schema["properties"]["revision"], "FieldValueForbidden"
    node.update(validations(rule("self >= oldSelf", _REVISION, reason=reason)))
    kept = rule("!has(oldSelf.revision) || has(self.revision)", _REVISION, field="revision", reason=reason)
    schema.update(validations(kept))


class TokenUsage(ApiModel):
    """Tokens and calls of all runs of this round, refunded and lost ones included."""

    prompt_tokens: Count = Field(default=0, description="promptTokens sent to models. Absent means: 0.")
    output_tokens: Count = Field(
        default=0, description="outputTokens that models answered with. Absent means: 0."
    )
    total_tokens: Count = Field(
        default=0, description="totalTokens as the providers count them, thinking included. Absent means: 0."
    )
    llm_calls: Count = Field(default=0, description="llmCalls is the number of model calls. Absent means: 0.")
    tool_calls: Count = Field(
        default=0, description="toolCalls is the number of tool calls. Absent means: 0."
    )


class RecentAttempt(ApiModel):
    """One run that has ended, shortened."""

    number: SmallCount = Field(
        description="number of the attempt, from 1 in each round; a refunded run and the one after it share a number."
    )
    reason: Reason = Field(
        description="reason in CamelCase why the run ended, one of the documented constants; clients must tolerate "
        "unknown ones."
    )
    message: Annotated[str, Field(max_length=ATTEMPT_MESSAGE_MAX_LENGTH)] | None = Field(
        default=None,
        description="message for people, at most 256 characters; the whole one is in the database. Absent means: none.",
    )
    start_time: Timestamp | None = Field(
        default=None, description="startTime at which a worker began the run. Absent means: not known."
    )
    end_time: Timestamp | None = Field(
        default=None, description="endTime at which the run ended. Absent means: not known."
    )
    output: Annotated[str, Field(max_length=ATTEMPT_OUTPUT_MAX_LENGTH)] | None = Field(
        default=None,
        description="output is the end of what the last run printed, at most 1024 bytes of JSON, with a … at its beginning where it "
        "is cut; the last 64 KiB are in the database. Absent means: it printed nothing, it is not the last run, or the operator "
        "does not show output (operator.statusOutput of the chart).",
    )


class InputRequest(ApiModel):
    """A question of the job to a person, or to whoever knows the answer."""

    id: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="id of the question: an answer names the id, and answers only this question."
    )
    kind: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="kind of the question. LongRunning: the tool has begun, and its result is wanted as payload. Input: a "
        "workflow's node or the model wants an input as payload. Absent means: may the tool be called? A yes or no is wanted.",
    )
    tool: Annotated[str, Field(max_length=256)] = Field(
        description="tool that would be called, or has begun; of an Input the node that asks."
    )
    arguments: Annotated[str, Field(max_length=INPUT_TEXT_MAX_LENGTH)] | None = Field(
        default=None,
        description="arguments of the call as JSON, or what the node shows, cut at 1024 bytes with a … at its end; the "
        "whole is in the session. Absent means: none.",
    )
    hint: Annotated[str, Field(max_length=INPUT_TEXT_MAX_LENGTH)] | None = Field(
        default=None,
        description="hint of the tool to the person, the node's message, or what the agent said since the tool began, cut "
        "at 1024 bytes. Absent means: none.",
    )
    result: Annotated[str, Field(max_length=INPUT_TEXT_MAX_LENGTH)] | None = Field(
        default=None,
        description="result that a long-running tool gave at once, as JSON, cut at 1024 bytes. Absent means: none.",
    )
    response_schema: Annotated[str, Field(max_length=INPUT_SCHEMA_MAX_LENGTH)] | None = Field(
        default=None,
        description="responseSchema is the JSON Schema that the payload of an answer has to fit. Absent means: any payload.",
    )
    payload: Annotated[str, Field(max_length=INPUT_TEXT_MAX_LENGTH)] | None = Field(
        default=None,
        description="payload as JSON that the tool wants to have filled in. An answer without one returns it unchanged. "
        "Absent means: a yes or no is enough.",
    )
    asked_time: Timestamp = Field(description="askedTime at which the tool asked.")
    expiry_time: Timestamp | None = Field(
        default=None,
        description="expiryTime at which the job fails without an answer. Absent means: inputDeadlineSeconds is not set.",
    )
    remaining: SmallCount | None = Field(
        default=None,
        description="remaining questions of the same model answer that come after this one. Absent means: 0.",
    )


class SavedArtifact(ApiModel):
    """A file that the agent has saved, by its newest version."""

    name: Annotated[str, Field(min_length=1, max_length=ARTIFACT_NAME_MAX_LENGTH)] = Field(
        description="name of the file as the agent chose it, cut at 256 characters; hostile input. user: in front: all "
        "sessions of the user share it."
    )
    version: Count = Field(description="version is the number of the newest one, from 0 on.")
    mime_type: Annotated[str, Field(max_length=ARTIFACT_NAME_MAX_LENGTH)] | None = Field(
        default=None,
        description="mimeType of the content as the agent names it. Absent means: it names none.",
    )
    size_bytes: Count = Field(description="sizeBytes of the content; 0 of one that is an address elsewhere.")


class AgentJobStatus(ApiModel):
    """The job as the operator last saw it in the database. Only the operator writes it."""

    model_config = ConfigDict(json_schema_extra=revision_never_goes_back)

    observed_generation: Count | None = Field(
        default=None,
        description="observedGeneration is the metadata.generation that this status reflects. Absent means: not seen "
        "yet.",
    )
    revision: Count | None = Field(
        default=None,
        description="revision of the job's record that this status shows; never goes back while there is a status. "
        "Absent means: not written yet.",
    )
    state: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="state of the job: Scheduled, Suspended, Queued, Running, Retrying, InputRequired, Complete, Failed, "
        "Cancelled or Rejected; clients must tolerate unknown ones. Absent means: not seen yet.",
    )
    reason: Reason | None = Field(
        default=None,
        description="reason in CamelCase why the job waits, or what went wrong last, such as OutOfMemory; that no attempt was left "
        "after it is told by the condition Failed. Absent means: nothing to explain.",
    )
    message: Annotated[str, Field(max_length=CONDITION_MESSAGE_MAX_LENGTH)] | None = Field(
        default=None,
        description="message for people about the reason: what happened and what to do. Absent means: none.",
    )
    conditions: Annotated[list[Condition], Field(max_length=CONDITIONS_MAX_ITEMS)] | None = Field(
        default=None,
        description="conditions of the job: Accepted, Suspended, Running, InputRequired, Complete, Failed and Finished. "
        "Complete and Failed exclude each other; Finished is true at each end. Absent means: not seen yet.",
        json_schema_extra=dict(CONDITION_LIST),
    )
    attempts: SmallCount | None = Field(
        default=None,
        description="attempts that were charged in this round, the running one included. Absent means: 0.",
    )
    round: SmallCount | None = Field(
        default=None,
        description="round of the job: 1, and one more for each retry of a finished job. Absent means: 1.",
    )
    next_attempt_time: Timestamp | None = Field(
        default=None,
        description="nextAttemptTime at which a waiting job is due; where it waits for its model, when the model is tried next: no "
        "sooner, and as was known when the reason was written. Absent means: the job runs, has ended, is due, or waits for no time.",
    )
    queued_time: Timestamp | None = Field(
        default=None,
        description="queuedTime at which the job was first due in this round. Absent means: not due yet.",
    )
    start_time: Timestamp | None = Field(
        default=None,
        description="startTime of the first attempt of this round. Absent means: not started.",
    )
    completion_time: Timestamp | None = Field(
        default=None,
        description="completionTime at which the job ended, in whatever way. Absent means: not finished.",
    )
    duration: Annotated[str, Field(max_length=32)] | None = Field(
        default=None,
        description="duration from startTime to completionTime for people to read, such as 4s or 2m13s. Absent means: "
        "not finished, or never started.",
    )
    worker: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="worker that runs the job, or ran it last. Absent means: none has.",
    )
    session_id: Annotated[str, Field(max_length=128)] | None = Field(
        default=None,
        description="sessionID of the conversation, also where spec.sessionID is absent. Absent means: not started.",
    )
    event_count: Count | None = Field(
        default=None,
        description="eventCount is the number of events that the agent produced in the last run. Absent means: not started.",
    )
    usage: TokenUsage | None = Field(
        default=None,
        description="usage of all runs of this round, refunded and lost ones included. Absent means: nothing spent.",
    )
    input_request: InputRequest | None = Field(
        default=None,
        description="inputRequest is a tool's question. The job waits until a person answers it: kubectl agentjobs approve or "
        "reject. Absent means: nothing is asked.",
    )
    result: Annotated[str, Field(max_length=RESULT_MAX_LENGTH)] | None = Field(
        default=None,
        description="result is the agent's final answer, at most 4096 bytes of it; the whole answer is in the database. "
        "Absent means: not complete.",
    )
    result_truncated: bool | None = Field(
        default=None,
        description="resultTruncated is true where result is not the whole answer. Absent means: false.",
    )
    artifacts: Annotated[list[SavedArtifact], Field(max_length=ARTIFACTS_MAX_ITEMS)] | None = Field(
        default=None,
        description="artifacts that the job's runs have saved, by name, the first 20: what each run told as it ended. kubectl "
        "agentjobs artifacts shows all of the session. Absent means: none.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    artifact_count: SmallCount | None = Field(
        default=None,
        description="artifactCount is how many there are in all, where artifacts does not hold all of them; from 1000 on: at "
        "least so many. Absent means: artifacts holds all.",
    )
    recent_attempts: Annotated[list[RecentAttempt], Field(max_length=RECENT_ATTEMPTS_MAX_ITEMS)] | None = (
        Field(
            default=None,
            description="recentAttempts are the last runs that ended, at most 3, oldest first; all of them are in the "
            "database. Absent means: none has ended.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        )
    )
    trace_id: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description="traceID of the job's trace in hexadecimal digits, the same for all its runs; there from the end of the "
        "first run. Absent means: not traced, or not known yet.",
    )
