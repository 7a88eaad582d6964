"""AgentRun: one job as the database has it, and what belongs to it: result, attempts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Metadata, Time


class RunUsage(ApiModel):
    """Tokens and calls, refunded and lost runs included."""

    prompt_tokens: Count = Field(default=0, description="promptTokens sent to models.")
    output_tokens: Count = Field(default=0, description="outputTokens that models answered with.")
    total_tokens: Count = Field(default=0, description="totalTokens as the providers count them.")
    llm_calls: Count = Field(default=0, description="llmCalls is the number of model calls.")
    tool_calls: Count = Field(default=0, description="toolCalls is the number of tool calls.")


class AgentRunSpec(ApiModel):
    """What was asked for."""

    queue: str = Field(description="queue that the job is in.")
    priority: int = Field(description="priority of the job, 0 first, 9 last.")
    max_attempts: int = Field(description="maxAttempts of each round.")
    agent: str | None = Field(
        default=None, description="agent that runs: its module, or the inline agent's name."
    )
    model: str | None = Field(default=None, description="model of an inline agent. Absent means: not known.")
    user: str | None = Field(default=None, description="user whose session the job is in.")
    session: str | None = Field(
        default=None, description="session as the user wrote it. Absent means: one of its own."
    )


class RunQuestion(ApiModel):
    """A question that waits for a person."""

    id: str = Field(description="id of the question, which an answer names.")
    kind: str | None = Field(
        default=None,
        description="kind: LongRunning, Input. Absent means: a yes or no is wanted, else a payload.",
    )
    tool: str = Field(description="tool that would be called, or has begun; of an Input the node that asks.")
    arguments: str | None = Field(default=None, description="arguments of the call as JSON, cut at 1 KiB.")
    hint: str | None = Field(default=None, description="hint of the tool to the person.")
    result: str | None = Field(
        default=None, description="result that a long-running tool gave at once, as JSON."
    )
    response_schema: str | None = Field(
        default=None, description="responseSchema is the JSON Schema that an answer's payload has to fit."
    )
    payload: str | None = Field(
        default=None, description="payload as JSON that the tool wants to have filled in."
    )
    expiry_time: Time | None = Field(
        default=None, description="expiryTime at which the job fails without an answer."
    )
    remaining: int = Field(default=0, description="remaining questions that come after this one.")


class RunFile(ApiModel):
    """One file that the job's runs have saved, by its newest version."""

    name: str = Field(description="name of the file, hostile as an agent may write it.")
    version: Count = Field(description="version: number of the newest one, from 0 on.")
    type: str = Field(default="", description="type of its content, as the agent names it.")
    bytes: Count = Field(description="bytes of its content.")


class AgentRunStatus(ApiModel):
    """The job as the database has it now."""

    state: str = Field(
        description="state: Scheduled, Suspended, Queued, Running, Retrying, InputRequired, Complete, Failed, Cancelled or Rejected."
    )
    reason: str | None = Field(default=None, description="reason in CamelCase for the state.")
    message: str | None = Field(default=None, description="message for people, to the reason.")
    attempts: int = Field(default=0, description="attempts of this round that were charged or run.")
    round: int = Field(default=1, description="round of the job; each retry by hand begins one.")
    since: Time = Field(description="since when the job has been in this state.")
    start_time: Time | None = Field(default=None, description="startTime of this round's first run.")
    finish_time: Time | None = Field(default=None, description="finishTime at which the job ended.")
    next_attempt_time: Time | None = Field(
        default=None, description="nextAttemptTime at which the job is due again, or its model is tried next."
    )
    worker: str | None = Field(default=None, description="worker that runs the job, or ran it last.")
    step: str | None = Field(default=None, description="step at which the agent is: an author or a tool.")
    usage: RunUsage = Field(default_factory=RunUsage, description="usage of this round.")
    result_bytes: Count | None = Field(
        default=None, description="resultBytes of the whole result. Absent means: none."
    )
    trace_id: str | None = Field(
        default=None, description="traceID of the job's spans. Absent means: not traced."
    )
    question: RunQuestion | None = Field(
        default=None, description="question that the job asks now; in a single object only."
    )
    files: list[RunFile] | None = Field(
        default=None,
        description="files that the job's runs have saved, the first 20 by name; in a single object only. Absent means: none.",
    )
    file_count: Count | None = Field(
        default=None,
        description="fileCount is how many there are in all. Absent means: files holds all.",
    )


class AgentRun(KubeObject):
    """AgentRun is one job as the database has it: whole, current, and also after its AgentJob is gone."""

    kind: Literal["AgentRun"] = Field(default="AgentRun", description="kind: AgentRun.")
    metadata: Metadata = Field(description="metadata: name and namespace are the AgentJob's.")
    spec: AgentRunSpec = Field(description="spec says what was asked for.")
    status: AgentRunStatus = Field(description="status says how the job stands.")


class AgentRunList(KubeObject):
    """One page of jobs, the newest first."""

    kind: Literal["AgentRunList"] = Field(default="AgentRunList", description="kind: AgentRunList.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the page.")
    items: list[AgentRun] = Field(description="items of the page.")


class RunResult(KubeObject):
    """The whole final answer of a job."""

    kind: Literal["RunResult"] = Field(default="RunResult", description="kind: RunResult.")
    metadata: Metadata = Field(description="metadata of the job.")
    state: str = Field(description="state of the job.")
    result: str | None = Field(
        default=None, description="result: the final answer, at most 1 MiB. Absent means: none."
    )
    truncated: bool = Field(default=False, description="truncated: the answer was longer, and is cut.")


class RunAttempt(ApiModel):
    """One run that has ended."""

    run: int = Field(description="run: number of the claim, in all rounds.")
    attempt: int = Field(
        description="attempt: its number in the round; a refunded run and the next share a number."
    )
    round: int = Field(description="round that it belongs to.")
    worker: str | None = Field(default=None, description="worker that ran it.")
    start_time: Time = Field(description="startTime of the run.")
    end_time: Time = Field(description="endTime of the run.")
    outcome: str = Field(description="outcome: complete, fail, retry, snooze, release, cancel, ask or lost.")
    reason: str | None = Field(default=None, description="reason in CamelCase why it ended.")
    why: str | None = Field(default=None, description="why: what the reason means, in words.")
    message: str | None = Field(default=None, description="message of the run's end, whole.")
    charged: bool = Field(description="charged: the run counts as an attempt. False: it was refunded.")
    next_time: Time | None = Field(
        default=None, description="nextTime at which the job was due again after it."
    )
    usage: RunUsage = Field(default_factory=RunUsage, description="usage of this run.")
    event_count: Count = Field(default=0, description="eventCount of the agent's events.")
    log_bytes: Count = Field(default=0, description="logBytes kept of its output, read at agentruns/log.")


class RunAttempts(KubeObject):
    """All ended runs of a job, the oldest first."""

    kind: Literal["RunAttempts"] = Field(default="RunAttempts", description="kind: RunAttempts.")
    metadata: Metadata = Field(description="metadata of the job.")
    items: list[RunAttempt] = Field(description="items: the runs, the oldest first.")
