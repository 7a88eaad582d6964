"""Who has to act for each reason, and what they do: the table of docs/on-call.md.

``values/reasons.py`` says what a reason means and what follows for its job; ``kubectl agentjobs why`` says it of one job.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from agentjobs.values.reasons import Reason


class Who(StrEnum):
    """Who can take a reason's cause away."""

    NOBODY = "nobody"
    USER = "the job's author"
    AUTHOR = "the agent's developer"
    POOL = "whoever runs the pool"
    PLATFORM = "whoever runs the installation"
    PROVIDER = "the model's provider"


class Remedy(NamedTuple):
    """Who acts, and how."""

    who: Who
    do: str


_RETRY = "`kubectl agentjobs retry NAME`"
_SUBMIT = "Submit a corrected job under another name"
_ITSELF = "Nothing: it goes on by itself"

REMEDIES: Mapping[Reason, Remedy] = {
    Reason.SCHEDULED: Remedy(Who.NOBODY, f"{_ITSELF} at its time"),
    Reason.BACKOFF: Remedy(
        Who.NOBODY, f"{_ITSELF} at `status.nextAttemptTime`; look at the last error meanwhile"
    ),
    Reason.QUEUED: Remedy(
        Who.POOL, "Nothing for a while; if `kubectl agentjobs queues` shows no free slots for long, more pods"
    ),
    Reason.BEHIND_SESSION: Remedy(
        Who.NOBODY,
        f"{_ITSELF} when the other job of its session has ended: `kubectl agentjobs why NAME` names it",
    ),
    Reason.QUEUE_PAUSED: Remedy(
        Who.PLATFORM, "Ask who paused it and why (the message), then `kubectl agentjobs unpause QUEUE`"
    ),
    Reason.QUEUE_FULL: Remedy(
        Who.PLATFORM,
        f"{_ITSELF}; raise the queue's limit if it is too low ([queue.md](queue.md#pause-limit-look-maintain))",
    ),
    Reason.NO_WORKERS: Remedy(
        Who.POOL,
        "Give a pool this queue (`pools.<name>.queues`), or get its pods to run: `kubectl get pods -l app.kubernetes.io/component=worker`",
    ),
    Reason.QUARANTINED: Remedy(
        Who.AUTHOR,
        "Look at what its tools do to their worker (memory, exits); it runs alone when a worker is idle",
    ),
    Reason.SUSPENDED: Remedy(Who.USER, "`kubectl agentjobs resume NAME`"),
    Reason.RESTORED: Remedy(
        Who.USER,
        "Delete what must not run again; let the others go: `kubectl agentjobs suspend NAME`, then `resume NAME`",
    ),
    Reason.ACCEPTED: Remedy(Who.NOBODY, "Nothing"),
    Reason.INVALID_SPEC: Remedy(Who.USER, f"{_SUBMIT}; the message names field, value and remedy"),
    Reason.QUEUE_NOT_ALLOWED: Remedy(
        Who.PLATFORM,
        "Open the queue to the namespace (`queues.<name>.allowedNamespaces`, `bestPriority`), or submit to another queue",
    ),
    Reason.INPUT_UNAVAILABLE: Remedy(
        Who.USER,
        "Create or correct the ConfigMap, Secret or key that the message names; an earlier job that it names is waited for. Where it says that Secrets or ConfigMaps are not "
        "read: `operator.inputs` of the chart's values. A job that failed with it: have the earlier job save its file again, and submit this one anew",
    ),
    Reason.UNPARSEABLE_SCHEDULE: Remedy(Who.USER, "Correct `spec.schedule` in place"),
    Reason.UNKNOWN_TIME_ZONE: Remedy(Who.USER, "Correct `spec.timeZone` in place, such as Europe/Berlin"),
    Reason.RUNNING: Remedy(Who.NOBODY, "Nothing: `kubectl agentjobs logs NAME -f` follows it"),
    Reason.COMPLETED: Remedy(Who.NOBODY, "Nothing: `kubectl agentjobs result NAME`"),
    Reason.RESUMED: Remedy(Who.NOBODY, "Nothing"),
    Reason.RETRY_REQUESTED: Remedy(Who.NOBODY, "Nothing: the operator takes it up"),
    Reason.ONE_SHOT_FIRED: Remedy(Who.NOBODY, "Nothing"),
    Reason.ONE_SHOT_MISSED: Remedy(
        Who.USER, "Set a later `scheduledTime`, or `kubectl agentjobs trigger NAME`"
    ),
    Reason.MODULE_NOT_ALLOWED: Remedy(
        Who.POOL,
        f"Add the module to `pools.<name>.modules`, then {_RETRY}; or {_SUBMIT[0].lower()}{_SUBMIT[1:]}",
    ),
    Reason.ARTIFACT_REFUSED: Remedy(
        Who.POOL,
        f"Raise `pools.<name>.artifactLimitMib` or `sessionArtifactsLimitMib`, then {_RETRY}; or have the agent save less",
    ),
    Reason.MODEL_NOT_ALLOWED: Remedy(
        Who.POOL,
        f"Add the model to `pools.<name>.models`, then {_RETRY}; or {_SUBMIT[0].lower()}{_SUBMIT[1:]}",
    ),
    Reason.MODEL_RATE_LIMITED: Remedy(
        Who.PROVIDER, f"{_ITSELF}; if it never ends, a larger quota or fewer slots"
    ),
    Reason.MODEL_UNAVAILABLE: Remedy(
        Who.PROVIDER,
        f"{_ITSELF} when the provider answers; its status page, then [model-health.md](model-health.md)",
    ),
    Reason.MODEL_AUTH_FAILED: Remedy(
        Who.POOL,
        "Correct the key in the pool's Secret and restart its workers; waiting jobs go on by themselves",
    ),
    Reason.MODEL_SERVER_ERROR: Remedy(
        Who.PROVIDER, f"It is tried again. Ended: {_RETRY} when the provider is well"
    ),
    Reason.MODEL_TIMEOUT: Remedy(
        Who.PROVIDER,
        f"It is tried again. Ended: a shorter prompt, a longer `modelTimeoutSeconds` of the pool, {_RETRY}",
    ),
    Reason.MODEL_UNREACHABLE: Remedy(
        Who.PLATFORM,
        f"Look at egress, DNS and proxies of the pool (`networkPolicy.workerEgress`), then {_RETRY}",
    ),
    Reason.MODEL_RESPONSE_INVALID: Remedy(
        Who.AUTHOR, "It is tried again. Often: another model, or simpler tools"
    ),
    Reason.MODEL_OUTPUT_TRUNCATED: Remedy(
        Who.AUTHOR, "Raise `generateContentConfig.maxOutputTokens`, or ask for less"
    ),
    Reason.MODEL_REQUEST_INVALID: Remedy(
        Who.AUTHOR, "The message has the provider's words: too long, or an unknown option"
    ),
    Reason.MODEL_NOT_FOUND: Remedy(Who.AUTHOR, "Correct the model's name"),
    Reason.MODEL_SAFETY_BLOCKED: Remedy(
        Who.AUTHOR, "Change prompt or input; the message has the provider's code"
    ),
    Reason.MODEL_ERROR: Remedy(Who.PROVIDER, "It is tried again; the message has the provider's code"),
    Reason.EMPTY_ANSWER: Remedy(
        Who.AUTHOR, "It is tried again. Often: an agent that ends with a tool's call, or says nothing"
    ),
    Reason.AGENT_NOT_FOUND: Remedy(
        Who.AUTHOR,
        "Correct `agent.module`, or build the module into the pool's image ([your-agent.md](your-agent.md))",
    ),
    Reason.AGENT_INVALID: Remedy(
        Who.AUTHOR,
        f"The message has the error; it is the same with `agentjobs local`. New image, then {_RETRY}",
    ),
    Reason.AGENT_FAILED: Remedy(
        Who.AUTHOR,
        f"The message has error, file and line; `kubectl agentjobs logs NAME` what it printed. Then {_RETRY}",
    ),
    Reason.TOOL_FAILED: Remedy(
        Who.AUTHOR, f"As for AgentFailed; of a toolset (MCP), look whether its server is there. Then {_RETRY}"
    ),
    Reason.INPUT_REQUIRED: Remedy(
        Who.USER,
        "`kubectl agentjobs approve NAME`, or `reject NAME`; a result or an input: `answer NAME --payload JSON`",
    ),
    Reason.INPUT_APPROVED: Remedy(Who.NOBODY, "Nothing"),
    Reason.INPUT_ANSWERED: Remedy(Who.NOBODY, "Nothing"),
    Reason.INPUT_REJECTED: Remedy(Who.NOBODY, "Nothing"),
    Reason.INPUT_DEADLINE_EXCEEDED: Remedy(Who.USER, f"{_RETRY}: it asks again"),
    Reason.INPUT_UNSUPPORTED: Remedy(
        Who.AUTHOR, "Ask from where ADK can go on: [approval.md](approval.md) has the list"
    ),
    Reason.BUDGET_EXCEEDED: Remedy(
        Who.USER, "Submit a new job with a larger `spec.budget`; a retry has the same one"
    ),
    Reason.LLM_CALLS_EXCEEDED: Remedy(Who.AUTHOR, "Look for the loop: `kubectl agentjobs transcript NAME`"),
    Reason.UNKNOWN_ERROR: Remedy(
        Who.AUTHOR, f"It is tried again; the message names the error's class. Report it. Ended: {_RETRY}"
    ),
    Reason.SESSION_CONFLICT: Remedy(
        Who.AUTHOR, "It is tried again; let nothing but its job write to a session"
    ),
    Reason.SESSION_STORE_UNAVAILABLE: Remedy(
        Who.PLATFORM,
        "Nothing is charged. Look at the database of `sessionUrl` ([failure-modes.md](failure-modes.md#postgres))",
    ),
    Reason.ARTIFACT_SERVICE_UNAVAILABLE: Remedy(
        Who.POOL,
        "Nothing is charged. Look at the place that the message names (`pools.<name>.artifactServiceUri`): whether it is there, and "
        "the pool's account may read and write it",
    ),
    Reason.MEMORY_SERVICE_UNAVAILABLE: Remedy(
        Who.POOL,
        "Nothing is charged. Look at the place that the message names (`pools.<name>.memoryServiceUri`): whether it is there, and the "
        "pool's account may read and write it",
    ),
    Reason.SESSION_FENCED: Remedy(Who.NOBODY, f"{_ITSELF}: a later run has the session"),
    Reason.ATTEMPT_TIMEOUT: Remedy(
        Who.AUTHOR,
        "The message says where it was. A faster tool, or a new job with more `attemptTimeoutSeconds`",
    ),
    Reason.OUT_OF_MEMORY: Remedy(
        Who.POOL,
        f"Let the agent take less, or raise `pools.<name>.memoryLimitMib` ([sizing.md](sizing.md)), then {_RETRY}",
    ),
    Reason.EXECUTOR_CRASHED: Remedy(
        Who.AUTHOR,
        f"The message has signal or status: a native library, `sys.exit()` in a tool, or the kernel's OOM. Then {_RETRY}",
    ),
    Reason.PAYLOAD_UNSUPPORTED: Remedy(
        Who.PLATFORM, "Upgrade the pool's image: its workers are older than the operator"
    ),
    Reason.LEASE_EXPIRED: Remedy(
        Who.PLATFORM, f"{_ITSELF}. Often: look at the network between that worker's node and the database"
    ),
    Reason.WORKER_LOST: Remedy(
        Who.POOL,
        f"The first four go on by themselves: look for OOM kills and nodes that went. Failed: {_RETRY}",
    ),
    Reason.DRAINED: Remedy(
        Who.POOL, f"{_ITSELF}. Often: `pools.<name>.drainSeconds` is shorter than the job"
    ),
    Reason.CLAIM_LOST: Remedy(Who.NOBODY, _ITSELF),
    Reason.ATTEMPTS_EXHAUSTED: Remedy(
        Who.AUTHOR, f"Look up the last error's reason in this table. Then {_RETRY}"
    ),
    Reason.WAIT_EXCEEDED: Remedy(
        Who.USER, f"The message says what it waited for. When that is gone: {_RETRY}"
    ),
    Reason.DEADLINE_EXCEEDED: Remedy(
        Who.USER, "Submit a new job with more `activeDeadlineSeconds`; a retry has the same"
    ),
    Reason.STARTING_DEADLINE_EXCEEDED: Remedy(
        Who.POOL, f"It came too late to start: more slots. If it still should run: {_RETRY}"
    ),
    Reason.CANCELLED: Remedy(Who.USER, f"{_RETRY}, unless `spec.cancel` is true"),
    Reason.RESULT_UNSTORABLE: Remedy(
        Who.AUTHOR, "The message has the database's words: mostly characters that Postgres cannot store"
    ),
}
"""Each reason once."""


def table() -> str:
    """The table as Markdown, by the reason's name."""
    rows = ["| REASON | Means | Acts | Do |", "|---|---|---|---|"]
    for reason in sorted(Reason, key=str):
        who, do = REMEDIES[reason]
        means = reason.doc.replace("|", "\\|")
        rows.append(
            f"| `{reason.value}` | {means} *{reason.follows.value[0].upper()}"
            f"{reason.follows.value[1:]}.* | {who} | {do}. |"
        )
    return "\n".join(rows)
