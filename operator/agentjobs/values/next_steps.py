"""The next step of a person whose job has ended, or is tried again: what to mend before it. Pure.

``kubectl agentjobs why`` puts a command behind it, and the dashboard a button beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentjobs.values.reasons import Reason, reason_named
from agentjobs.values.remedies import REMEDIES, Who
from agentjobs.values.setting_names import ANY, both_names

GOES_ON = "Nothing: it goes on by itself"
KEY_REFUSED = (
    "Set or correct the model's key in the pool's Secret (pools.<name>.env of the chart names it), and restart its workers (kubectl rollout "
    "restart deployment -l agentjobs.dev/pool=POOL): the job goes on by itself then"
)
ITS_OWN = "It is tried again by itself. An error of the agent's own comes again: mend it, or give the job up"
INPUT_UNAVAILABLE = (
    "Nothing, where it names a job that has not ended. Else create or correct what it names: the operator looks again by itself, at "
    "least once a minute. Where spec.inputs or spec.messageFrom itself is wrong, submit the job anew, corrected"
)
STORE_AWAY = (
    "Nothing of the agent's: it goes on by itself, uncharged, once what the error names answers, and whoever runs the pool looks after that. An "
    "error such as permission denied does not pass by itself"
)
STORES = (
    Reason.SESSION_STORE_UNAVAILABLE,
    Reason.ARTIFACT_SERVICE_UNAVAILABLE,
    Reason.MEMORY_SERVICE_UNAVAILABLE,
)
"""Why a job waits for a place where its conversation, files or memories are kept."""
_OWN = frozenset({Reason.TOOL_FAILED.value, Reason.AGENT_FAILED.value})


def before_a_retry(cause: str, *, module: bool) -> str:
    """What to do before a job that has ended is run once more, without a full stop.

    :param cause: the reason of its end.
    :param module: whether its agent is a module; else it stands in the object, and cannot be changed there.
    """
    if cause in _FIRST:
        return _FIRST[cause]
    reason = reason_named(cause)
    who = REMEDIES[reason].who if reason else None
    if who is Who.AUTHOR and module:
        return "Mend the agent, build its image under a new tag and have the pool upgraded to that tag; then run it once more"
    if who is Who.AUTHOR:
        return "This object's agent stays as it is: submit a corrected job under another name. Or run it once more"
    return _BY_WHO.get(who, "Mend what the error names, then run it once more")


def queue_closed(queue: str = ANY) -> str:
    """What to do where a queue is not open to the job's namespace, without a full stop."""
    return (
        f"Have the queue opened to this namespace ({both_names('queue_access.namespaces', queue=queue)}): the job "
        "goes on by itself then. Or submit it anew with a queue that is open"
    )


def comes_again(reason: str) -> bool:
    """Whether a job that is tried again for this reason is likely to fail again: the agent's own code does."""
    return reason in _OWN


_BY_WHO: Mapping[Who | None, str] = {
    Who.POOL: "Have whoever runs the pool mend what the error names, then run it once more",
    Who.PROVIDER: "When the model's provider is well again, run it once more",
}

_FIRST = {
    Reason.CANCELLED.value: "Run it once more",
    Reason.DEADLINE_EXCEEDED.value: "A retry has the same activeDeadlineSeconds: submit a new job with more, or run it once more",
    Reason.STARTING_DEADLINE_EXCEEDED.value: "It came too late to start; if it still should run, run it once more",
    Reason.INPUT_DEADLINE_EXCEEDED.value: "Run it once more: it asks again",
    Reason.BUDGET_EXCEEDED.value: "A retry has the same budget: submit a new job with more, or run it once more",
    Reason.MODULE_NOT_ALLOWED.value: (
        f"Where its name is wrong, submit a new job. Else have the pool allow the module ({both_names('modules')}), then run it once more"
    ),
    Reason.MODEL_NOT_ALLOWED.value: (
        f"Where its name is wrong, submit a new job. Else have the pool allow the model ({both_names('models')}), then run it once more"
    ),
    Reason.AGENT_NOT_FOUND.value: (
        "Where agent.module is wrong, submit a new job. Else build what it names into the pool's image, under a new tag, then run it "
        "once more"
    ),
    Reason.WORKER_LOST.value: "Look at what its tools do to their worker (memory, exits), then run it once more",
    Reason.OUT_OF_MEMORY.value: (
        f"Let the agent take less, or have the pool's memory limit raised ({both_names('memory_limit_mib')}), then run it once more"
    ),
    Reason.ATTEMPT_TIMEOUT.value: (
        "Look at where it was; a new job may have more attemptTimeoutSeconds. Or run it once more"
    ),
}
