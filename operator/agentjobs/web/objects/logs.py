"""RunTranscript, RunArtifacts and the entries of streams: what a run said, did and made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from agentjobs.api.meta import ApiModel
from agentjobs.web.objects.meta import Count, KubeObject, ListMetadata, Time
from agentjobs.web.objects.runs import RunUsage


class LogEntry(ApiModel):
    """One line of a job's output, or one change of its progress."""

    source: Literal["output", "progress"] = Field(description="source: output or progress.")
    text: str = Field(description="text of the line, hostile as an agent may write it.")
    run: int = Field(default=0, description="run that it belongs to.")


class TranscriptEntry(ApiModel):
    """One thing that was said or done in a job's session."""

    cursor: str = Field(
        description="cursor of the entry: a reader goes on after it with the parameter after."
    )
    time: Time = Field(description="time of the entry.")
    kind: str = Field(description="kind: text, thought, call, result, error, state, question, compaction …")
    author: str = Field(description="author: user, or an agent's name.")
    invocation: str = Field(description="invocation of ADK that it belongs to: job-<uid>.")
    branch: str | None = Field(default=None, description="branch of an agent that ran in parallel.")
    tool: str | None = Field(default=None, description="tool that is called, answers or asks.")
    call: str | None = Field(default=None, description="call: the id that a call and its result share.")
    text: str | None = Field(default=None, description="text of the entry.")
    note: str | None = Field(default=None, description="note: one word on the kind, such as an error's code.")
    data: JsonValue = Field(default=None, description="data: arguments, result or state, as JSON.")
    cut: bool = Field(default=False, description="cut: text or data is longer than shown.")
    model: str | None = Field(default=None, description="model that answered.")
    tokens: RunUsage | None = Field(default=None, description="tokens of the model call, on its first entry.")


class RunTranscript(KubeObject):
    """RunTranscript is one page of a job's transcript, the oldest entry first."""

    kind: Literal["RunTranscript"] = Field(default="RunTranscript", description="kind: RunTranscript.")
    metadata: ListMetadata = Field(
        default_factory=ListMetadata, description="metadata: continue is the cursor after the page."
    )
    stored: bool = Field(
        default=True,
        description="stored: the session exists. False: no run has begun it, or somebody deleted it.",
    )
    items: list[TranscriptEntry] = Field(description="items: the entries.")


class RunArtifact(ApiModel):
    """One file that an agent of the session has saved, by its newest version."""

    name: str = Field(
        description="name of the file, hostile as an agent may write it. user: in front: all sessions of the user share it."
    )
    version: Count = Field(description="version: number of the newest one, from 0 on.")
    type: str = Field(default="", description="type of its content, as the agent names it.")
    bytes: Count = Field(description="bytes of its content.")
    time: Time | None = Field(
        default=None,
        description="time at which it was saved. Absent means: not known, of one that is kept elsewhere.",
    )
    address: str | None = Field(
        default=None,
        description="address of a content that is kept elsewhere: its own, or that of the pool's artifact service. Absent means: "
        "it is kept here.",
    )


class RunArtifacts(KubeObject):
    """RunArtifacts is one page of the artifacts of a job's session and its user, by name."""

    kind: Literal["RunArtifacts"] = Field(default="RunArtifacts", description="kind: RunArtifacts.")
    metadata: ListMetadata = Field(default_factory=ListMetadata, description="metadata of the page.")
    items: list[RunArtifact] = Field(description="items: the files.")
